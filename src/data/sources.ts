/**
 * Documents from what lies on disk: text, JSONL, a JSON array, CSV or TSV, plain, gzip or Zstandard; Parquet and Arrow; a folder of all of them, a data set
 * folder of Hugging Face (its `state.json` names the files); or standard input, as `-`.
 *
 * Where a document ends
 * - `file` (the default): a text file is one document; a line that is only `<|endoftext|>` starts the next one.
 * - `blank-line`: paragraphs between empty lines are documents.  `line`: every line is one (a list of names).
 * - In JSONL, JSON arrays, CSV, TSV, Parquet and Arrow, always: one row, one document; the field or column `text` unless another is named.
 *
 * Documents longer than 1 Mi characters arrive in pieces, so that memory is bounded whatever the input. A piece ends, where it can, after a
 * line end between two characters that are not white space: there the split patterns of the published tokenizers end a word in any case, and the
 * pieces' ids are the document's.
 */
import type { Hash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { expanded } from './compressed.ts';
import { type Encoding, firstInvalidUtf8, guessEncoding, looksBinary, looksLikeUtf16, toUtf8 } from './encoding.ts';
import { emptyData, ioFailed, noTextField, notFound, notText, notUtf8 } from './errors.ts';
import { type FileIdentity, fileChunks, type LineBatch, lineBatches, MAX_LINE_BYTES, peeked } from './lines.ts';
import { dataSetFiles } from './data-set-folder.ts';
import { describesData } from './licence.ts';
import { arrayElements, beginsArray } from './json-array.ts';
import { Rejects } from './rejects.ts';
import { allUtf8, cutInCharacter, dropBom, guessFrom, type Row, type RowKind, rowReader } from './rows.ts';
import { tableBatches, type TableKind } from './table.ts';

export type SourceKind = 'text' | RowKind | TableKind;

/** Standard input, as a path. */
export const STDIN = '-';

/** A file that documents come from. */
export interface SourceFile extends FileIdentity {
  /** As it can be opened. */
  path: string;
  /** Relative to the folder that was named, with `/`; the file's own name when a file was named. */
  name: string;
  kind: SourceKind;
}

/** A document, or a piece of a long one. */
export interface Piece {
  text: string;
  /** Path of the file. */
  source: string;
  /** Line where the document begins, from 1. */
  line: number;
  /** Whether the document begins, and whether it ends, with this piece. A document in one piece has both. */
  first: boolean;
  last: boolean;
  /** The whole row, with the first piece of a document that came in one. */
  row?: Readonly<Record<string, unknown>>;
}

export type DocumentsAre = 'file' | 'blank-line' | 'line';

export interface SourceOptions {
  /** Name of the text field of rows. */
  field?: string;
  /** What a document is in a text file. */
  documents?: DocumentsAre;
  /** A line that is only this divides documents in a text file. */
  separator?: string;
  /** Encoding of the files; anything but UTF-8 is converted on the way. `auto`: each file by its first mebibyte. */
  encoding?: Encoding | 'auto';
  /** Bytes that are not UTF-8: `stop` (E132), `skip` the row and count it, `replace` them by U+FFFD. Default: `skip` in JSONL; `stop` in text, where a hole in a book would go unseen. */
  encodingErrors?: 'stop' | 'skip' | 'replace';
  maxLineBytes?: number;
  /** Read no other columns of Parquet and Arrow files than the text: documents then come without their rows. */
  onlyText?: boolean;
  /** Texts of special tokens, counted when a document spells one. */
  specialTokens?: readonly string[];
}

/** File name endings that a folder is searched for. A file that is named itself is read whatever its ending. */
export const TEXT_ENDINGS: Readonly<Record<string, SourceKind>> = {
  '.txt': 'text',
  '.text': 'text',
  '.md': 'text',
  '.markdown': 'text',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.parquet': 'parquet',
  '.arrow': 'arrow',
  '.feather': 'arrow',
};

/** Pieces are cut between this many UTF-16 units and twice as many. */
export const PIECE_CHARS = 512 * 1024;
/** Rows that may lack the field before it is said to be absent (E131). */
const ROWS_BEFORE_NO_FIELD = 100;

/** The files at `paths` (files or folders, folders recursively), sorted by name within each. E130 when a path is absent, E134 when no file is left. */
export async function listSources(paths: string | readonly string[]): Promise<SourceFile[]> {
  const found: SourceFile[] = [];
  for (const path of typeof paths === 'string' ? [paths] : paths) {
    if (path === STDIN) {
      found.push({ path, name: 'stdin', kind: 'text', size: 0, mtimeMs: 0 });
      continue;
    }
    const info = await stat(path).catch((e) => {
      throw e.code === 'ENOENT' || e.code === 'ENOTDIR' ? notFound(path) : ioFailed(path, 'read', e);
    });
    if (info.isDirectory()) await walk(path, '', found);
    else if (info.isFile())
      found.push({ path, name: basename(path), kind: kindOf(path) ?? 'text', size: info.size, mtimeMs: info.mtimeMs });
    else throw notText(path, 'a device, pipe or socket');
  }
  if (found.length === 0)
    throw emptyData(typeof paths === 'string' ? paths : paths.join(', '), { files: 0, rows: 0, rejected: {} });
  return found;
}

/** `.csv` of `rows.csv.gz`, `rows.csv.zst`. */
const endingOf = (path: string): string => extname(path.toLowerCase().replace(/\.(gz|zst)$/, ''));
const kindOf = (path: string): SourceKind | undefined => (endingOf(path) === '.json' ? 'jsonl' : TEXT_ENDINGS[endingOf(path)]);

async function walk(root: string, inside: string, found: SourceFile[]): Promise<void> {
  const folder = join(root, inside);
  const listed = await dataSetFiles(folder);
  if (listed) {
    for (const name of listed) {
      const path = join(folder, name);
      const info = await stat(path).catch(() => {
        throw notFound(path);
      });
      found.push({ path, name: inside ? `${inside}/${name}` : name, kind: 'arrow', size: info.size, mtimeMs: info.mtimeMs });
    }
    return;
  }
  const entries = await readdir(folder, { withFileTypes: true }).catch((e) => {
    throw ioFailed(folder, 'read', e);
  });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1)); // by code unit: the same on every machine, whatever its language
  for (const entry of entries) {
    if (entry.name.startsWith('.') || (inside === '' && describesData(root, entry.name))) continue;
    const name = inside ? `${inside}/${entry.name}` : entry.name;
    const path = join(root, name);
    if (entry.isDirectory())
      await walk(root, name, found); // a link to a folder is no directory here: no cycles
    else if (TEXT_ENDINGS[endingOf(entry.name)]) {
      const info = await stat(path).catch(() => undefined); // a dangling link
      if (info?.isFile()) found.push({ path, name, kind: kindOf(path)!, size: info.size, mtimeMs: info.mtimeMs });
    }
  }
}

export interface ReadOptions extends SourceOptions {
  /** Where rows that cannot be used are counted. */
  rejects?: Rejects;
  /** Fed with the file's bytes as they lie on disk. */
  hash?: Hash;
  /** Called with the number of bytes read since the last call. */
  onBytes?: (bytes: number) => void;
}

/** The documents of several files, one after the other, in pieces. Throws at the end when too many rows were refused. */
export async function* documents(files: readonly SourceFile[], options: ReadOptions = {}): AsyncGenerator<Piece> {
  const rejects = options.rejects ?? new Rejects();
  for (const file of files) yield* documentsOf(file, { ...options, rejects });
  rejects.check();
}

/** The documents of one file. */
export async function* documentsOf(file: SourceFile, options: ReadOptions & { rejects: Rejects }): AsyncGenerator<Piece> {
  const out = new DocumentBuilder(file.path, options.rejects, options.specialTokens ?? []);
  const { field = 'text', onlyText = false } = options;
  if (file.kind === 'parquet' || file.kind === 'arrow') {
    yield* rowDocuments(file, tableRows(file, file.kind, options, onlyText ? [field] : undefined), out, options);
    return;
  }
  const { kind, batches } = await linesOf(file, options);
  if (kind === 'text') yield* textDocuments(file, batches, out, options);
  else yield* rowDocuments({ ...file, kind }, lineRows(file, kind, batches, options), out, options);
}

/** Rows of lines. Batch by batch: a row costs no turn of the event loop. */
async function* lineRows(
  file: SourceFile,
  kind: RowKind,
  batches: AsyncIterable<LineBatch>,
  { rejects, encodingErrors = 'skip' }: ReadOptions & { rejects: Rejects },
): AsyncGenerator<Iterable<Row>> {
  const reader = rowReader({ path: file.path, kind, rejects, encodingErrors });
  for await (const batch of batches) yield reader.rows(batch);
  yield reader.end();
}

/** Rows of a Parquet or Arrow file. */
async function* tableRows(
  file: SourceFile,
  kind: TableKind,
  { rejects, hash, onBytes, field = 'text', encodingErrors = 'skip' }: ReadOptions & { rejects: Rejects },
  columns: readonly string[] | undefined,
): AsyncGenerator<Iterable<Row>> {
  // Their parts are read in an order of their own: the bytes are hashed in theirs first.
  if (hash) for await (const chunk of fileChunks(file.path, { expected: file })) hash.update(chunk);
  let counted = 0;
  let line = 0;
  for await (const { columns: all, rows, share } of tableBatches(file.path, kind, { columns })) {
    if (columns?.some((c) => !all.includes(c))) throw noTextField(file.path, 1, field, all);
    yield (function* () {
      for (const values of rows) {
        line++;
        rejects.rows++;
        const bad = Object.keys(values).filter((name) => values[name] instanceof Uint8Array);
        for (const name of bad) {
          const bytes = values[name] as Uint8Array;
          const at = { path: file.path, line, byte: firstInvalidUtf8(bytes) + 1, offset: 0 };
          const guess = () => guessEncoding(bytes.subarray(0, 16 * 1024));
          if (name !== field) values[name] = Buffer.from(bytes).toString('base64');
          else if (encodingErrors === 'stop') throw notUtf8(file.path, { ...at, guess: guess() });
          else if (encodingErrors === 'replace') {
            rejects.note('replaced');
            values[name] = Buffer.from(bytes).toString('utf8');
          } else {
            rejects.refuseBytes(at, guess);
            values[name] = undefined;
          }
        }
        if (bad.includes(field) && values[field] === undefined) continue;
        yield { line, values, escaped: false };
      }
    })();
    const bytes = Math.floor(share * file.size);
    onBytes?.(bytes - counted);
    counted = bytes;
  }
  onBytes?.(file.size - counted);
}

/** The file's lines: unpacked, checked, converted to UTF-8, an array's elements one a line. What standard input is, its first bytes say. */
async function linesOf(
  file: SourceFile,
  options: ReadOptions,
): Promise<{ kind: 'text' | RowKind; batches: AsyncGenerator<LineBatch> }> {
  if (file.kind === 'parquet' || file.kind === 'arrow') throw new Error(`${file.path}: a table has no lines`);
  const { first, all, close } = await peeked(expanded(diskChunks(file, options), file.path));
  let chunks = all;
  const binary = looksBinary(first);
  const utf16 = looksLikeUtf16(first);
  if (binary || (utf16 && !options.encoding)) {
    await close();
    throw binary ? notText(file.path, binary) : notUtf8(file.path, { line: 1, byte: 1, offset: 0, guess: utf16! });
  }
  const encoding = options.encoding === 'auto' ? encodingOf(first) : (options.encoding ?? 'utf-8');
  if (encoding !== 'utf-8') chunks = converted(chunks, file.path, encoding);
  let kind = file.kind;
  if (kind === 'jsonl' || file.path === STDIN) {
    const { first: text, all: again } = await peeked(chunks);
    if (file.path === STDIN) kind = beginsArray(text) || beginsObject(text) ? 'jsonl' : 'text';
    chunks = kind === 'jsonl' && beginsArray(text) ? arrayElements(again, file.path) : again;
  }
  return { kind, batches: lineBatches(chunks, { maxLineBytes: options.maxLineBytes ?? MAX_LINE_BYTES }) };
}

/** The encoding of a file that begins with these bytes; UTF-8 where nothing better is known, so that the first bad byte is named. */
function encodingOf(head: Uint8Array): Encoding {
  const utf16 = looksLikeUtf16(head);
  if (utf16) return utf16;
  const bad = firstInvalidUtf8(head);
  if (bad < 0 || bad > head.length - 4) return 'utf-8'; // the chunk may end inside a character
  const guess = guessEncoding(head.subarray(bad, bad + (64 << 10)));
  return guess === 'unknown' ? 'utf-8' : guess;
}

/** Whether text begins with `{` and its first line, as far as it is there, is JSON. */
function beginsObject(head: Uint8Array): boolean {
  const text = Buffer.from(head.subarray(0, 1 << 20))
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart();
  if (text[0] !== '{') return false;
  const end = text.indexOf('\n');
  if (end < 0) return /^\{\s*("|\})/.test(text);
  try {
    return typeof JSON.parse(text.slice(0, end)) === 'object';
  } catch {
    return false;
  }
}

/** The bytes as they lie on disk, hashed and counted. */
async function* diskChunks(file: SourceFile, { hash, onBytes }: ReadOptions): AsyncGenerator<Uint8Array> {
  for await (const chunk of fileChunks(file.path, { expected: file })) {
    hash?.update(chunk);
    onBytes?.(chunk.length);
    yield chunk;
  }
}

async function* converted(chunks: AsyncIterable<Uint8Array>, path: string, encoding: Encoding): AsyncGenerator<Uint8Array> {
  try {
    yield* toUtf8(chunks, encoding);
  } catch (error) {
    if (error instanceof TypeError) throw notUtf8(path, { line: 0, byte: 0, offset: 0, guess: 'unknown' });
    throw error;
  }
}

async function* textDocuments(
  file: SourceFile,
  batches: AsyncIterable<LineBatch>,
  out: DocumentBuilder,
  { rejects, documents: kind = 'file', separator = '<|endoftext|>', encodingErrors = 'stop' }: ReadOptions & { rejects: Rejects },
): AsyncGenerator<Piece> {
  const separatorBytes = Buffer.from(separator);
  for await (const batch of batches) {
    const { buffer, lines } = batch;
    dropBom(batch, rejects);
    const clean = allUtf8(batch);
    let from = -1; // a run of lines that belong together, decoded at once
    let to = -1;
    const flush = () => {
      if (from >= 0) out.add(buffer.toString('utf8', from, to));
      from = -1;
    };
    for (const line of lines) {
      rejects.rows++;
      if (line.tooLong > 0) {
        flush();
        rejects.refuse({ source: file.path, line: line.number, kind: 'too_long', reason: `${line.tooLong} bytes in one line` });
        continue;
      }
      let lineEnd = line.end;
      if (!clean) {
        const bytes = buffer.subarray(line.start, line.end);
        const bad = firstInvalidUtf8(bytes);
        if (bad >= 0) {
          flush();
          if (cutInCharacter(bytes, bad, line.eol)) {
            rejects.note('cut_end');
            lineEnd = line.start + bad;
          } else {
            const at = { path: file.path, line: line.number, byte: bad + 1, offset: line.offset + bad };
            const guess = () => guessFrom(batch, line.start + bad);
            if (encodingErrors === 'stop') throw notUtf8(file.path, { ...at, guess: guess() });
            if (encodingErrors === 'skip') {
              rejects.refuseBytes(at, guess);
              continue;
            }
            rejects.note('replaced');
            out.begin(line.number);
            out.add(buffer.toString('utf8', line.start, line.end + line.eol)); // U+FFFD for the bad bytes
            if (kind === 'line') out.end(true);
            continue;
          }
        }
      }
      if (kind === 'line') {
        if (isBlank(buffer, line.start, lineEnd)) rejects.empty(file.path, line.number, 'no text in the line');
        else {
          out.begin(line.number);
          out.add(buffer.toString('utf8', line.start, lineEnd));
          out.end(false);
        }
        continue;
      }
      const divides =
        (lineEnd - line.start === separatorBytes.length && separatorBytes.equals(buffer.subarray(line.start, lineEnd))) ||
        (kind === 'blank-line' && isBlank(buffer, line.start, lineEnd));
      if (divides) {
        flush();
        out.end(true);
        continue;
      }
      out.begin(line.number);
      if (from < 0) from = line.start;
      to = lineEnd === line.end ? line.end + line.eol : lineEnd;
    }
    flush();
    yield* out.take();
  }
  out.end(kind !== 'file');
  yield* out.take();
}

function isBlank(buffer: Buffer, start: number, end: number): boolean {
  if (end === start) return true;
  if (buffer[start] > 0x20 && buffer[start] < 0x80) return false;
  return buffer.toString('utf8', start, end).trim() === '';
}

/** Rows whose field is the document. */
async function* rowDocuments(
  file: SourceFile,
  batches: AsyncIterable<Iterable<Row>>,
  out: DocumentBuilder,
  { rejects, field = 'text' }: ReadOptions & { rejects: Rejects },
): AsyncGenerator<Piece> {
  let withField = 0;
  let without = 0;
  let firstWithout = 0; // line number
  const fields = new Map<string, number>(); // name → characters of text under it

  const take = ({ line, values, escaped }: Row) => {
    const at = { source: file.path, line };
    if (!Object.hasOwn(values, field)) {
      if (without++ === 0) firstWithout = line;
      for (const [name, v] of Object.entries(values))
        fields.set(name, (fields.get(name) ?? 0) + (typeof v === 'string' ? v.length : 0));
      if (withField === 0 && (without >= ROWS_BEFORE_NO_FIELD || file.kind !== 'jsonl'))
        throw noTextField(file.path, firstWithout, field, longestFirst(fields));
      rejects.refuse({ ...at, kind: 'bad_field', reason: `no field "${field}"` });
      return;
    }
    withField++;
    const text = values[field];
    if (text === null) rejects.empty(file.path, line, `"${field}" is null`);
    else if (typeof text !== 'string')
      rejects.refuse({
        ...at,
        kind: 'bad_field',
        reason: `"${field}" is ${Array.isArray(text) ? 'a list' : typeof text === 'object' ? 'an object' : `a ${typeof text}`}, not text`,
      });
    else if (text.trim() === '') rejects.empty(file.path, line, `"${field}" has no text`);
    else {
      out.begin(line, values);
      out.add(escaped ? wellFormed(text, rejects) : text);
      out.end(false);
    }
  };
  for await (const rows of batches) {
    for (const row of rows) take(row);
    yield* out.take();
  }
  if (withField === 0 && without > 0) throw noTextField(file.path, firstWithout, field, longestFirst(fields));
}

/** All rows of a file of rows, checked as JSON or CSV and no further: what the typed readers (pairs, dialogues) stand on. */
export async function* rowsOf(
  file: SourceFile,
  options: ReadOptions & { rejects: Rejects },
): AsyncGenerator<{ line: number; values: Readonly<Record<string, unknown>> }> {
  if (file.kind === 'parquet' || file.kind === 'arrow') {
    for await (const rows of tableRows(file, file.kind, options, undefined)) yield* rows;
    return;
  }
  const { kind, batches } = await linesOf(file, options);
  if (kind === 'text') throw notText(file.path, 'plain text; rows come in .jsonl, .json, .csv, .tsv, .parquet or .arrow');
  for await (const rows of lineRows(file, kind, batches, options)) yield* rows;
}

const longestFirst = (fields: Map<string, number>): string[] => [...fields].sort((a, b) => b[1] - a[1]).map(([name]) => name);

/** Lone surrogates, which `JSON.parse` lets through ("\ud800"), become U+FFFD. */
function wellFormed(text: string, rejects: Rejects): string {
  if (!/\p{Surrogate}/u.test(text)) return text;
  rejects.note('surrogates');
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

/** Collects the text of one document after the other and cuts long ones into pieces. Where it cuts depends on nothing but the document's text. */
class DocumentBuilder {
  #ready: Piece[] = [];
  #parts: string[] = [];
  #length = 0;
  #line = 0;
  #open = false;
  #first = true;
  #special = false;
  #row: Piece['row'];

  constructor(
    readonly source: string,
    readonly rejects: Rejects,
    readonly specialTokens: readonly string[],
  ) {}

  /** A document begins at this line, unless one is already open. */
  begin(line: number, row?: Piece['row']): void {
    if (this.#open) return;
    this.#open = true;
    this.#line = line;
    this.#row = row;
  }

  add(text: string): void {
    this.#parts.push(text);
    this.#length += text.length;
    if (this.#length <= 2 * PIECE_CHARS) return;
    let rest = this.#joined();
    while (rest.length > 2 * PIECE_CHARS) {
      const at = cutPlace(rest);
      this.#emit(rest.slice(0, at), false);
      rest = rest.slice(at);
    }
    this.#parts = [rest];
    this.#length = rest.length;
  }

  /** The open document ends. `dropLineEnd`: the last line end belongs to what divides documents. */
  end(dropLineEnd: boolean): void {
    if (!this.#open) return;
    let text = this.#joined();
    if (dropLineEnd) text = text.replace(/\r?\n$/, '');
    if (this.#first && text.trim() === '') this.rejects.empty(this.source, this.#line, 'no text in the document');
    else {
      if (!this.#first) this.rejects.note('split');
      this.#emit(text, true);
      if (this.#special) this.rejects.note('special_in_text');
    }
    this.#parts = [];
    this.#length = 0;
    this.#open = this.#special = false;
    this.#first = true;
  }

  /** The finished pieces, once. */
  take(): Piece[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  #joined(): string {
    return this.#parts.length === 1 ? this.#parts[0] : this.#parts.join('');
  }

  #emit(text: string, last: boolean): void {
    this.#special ||= this.specialTokens.some((token) => text.includes(token));
    this.#ready.push({
      text,
      source: this.source,
      line: this.#line,
      first: this.#first,
      last,
      ...(this.#first && this.#row ? { row: this.#row } : {}),
    });
    this.#first = false;
  }
}

/** Where to cut a text longer than 2 · PIECE_CHARS: the best line end in its second half, else between two characters at the very end of it. */
function cutPlace(text: string): number {
  const window = text.slice(PIECE_CHARS, 2 * PIECE_CHARS);
  const between = window.search(/\S\n\S/);
  if (between >= 0) return PIECE_CHARS + between + 2;
  const newline = window.indexOf('\n');
  if (newline >= 0) return PIECE_CHARS + newline + 1;
  const at = 2 * PIECE_CHARS;
  const before = text.charCodeAt(at - 1);
  return before >= 0xd800 && before <= 0xdbff ? at - 1 : at; // never between the halves of a surrogate pair
}
