/**
 * Documents from what lies on disk: text, JSONL, a JSON array, CSV or TSV, plain, gzip or Zstandard; Parquet and Arrow; a folder of all of them, a data set
 * folder of Hugging Face (its `state.json` names the files); or standard input, as `-`.
 *
 * Where a document ends
 * - `file` (the default): a text file is one document; a line that is only `<|endoftext|>` starts the next one.
 * - `blank-line`: paragraphs between empty lines are documents.  `line`: every line is one (a list of names).
 * - In JSONL, JSON arrays, CSV, TSV, Parquet and Arrow, always: one row, one document; the field or column `text` unless another is named.
 *
 * Long documents arrive in pieces (pieces.ts).
 */
import type { Hash } from 'node:crypto';
import { expanded } from './compressed.ts';
import { type Encoding, firstInvalidUtf8, guessEncoding, looksBinary, looksLikeUtf16, toUtf8 } from './encoding.ts';
import { noTextField, notText, notUtf8 } from './errors.ts';
import { fileChunks, type LineBatch, lineBatches, MAX_LINE_BYTES, peeked } from './lines.ts';
import { arrayElements, beginsArray } from './json-array.ts';
import { DocumentBuilder, type Piece } from './pieces.ts';
import { Rejects } from './rejects.ts';
import { type Row, type RowKind, rowReader } from './rows.ts';
import { type SourceFile, STDIN } from './source-files.ts';
import { tableBatches, type TableKind } from './table.ts';
import { textDocuments } from './text-documents.ts';

export { PIECE_CHARS, type Piece } from './pieces.ts';
export { listSources, type SourceFile, type SourceKind, STDIN } from './source-files.ts';

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

/** Rows that may lack the field before it is said to be absent (E131). */
const ROWS_BEFORE_NO_FIELD = 100;

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
