/**
 * What is at this path? The facts that `qkv data inspect` prints: kind, sizes, fields, lengths, scripts, examples, and what to look at before training.
 * It looks where training would stop: faults are counted and shown, not thrown (only E130, E133, E134 and E139 are).
 */
import { createHash } from 'node:crypto';
import { QkvError } from '../errors.ts';
import { emptyData } from './errors.ts';
import { type Encoding, guessEncoding } from './encoding.ts';
import { languageOf, loadLanguages } from './language.ts';
import { type LengthBin, Lengths, type LengthSummary } from './lengths.ts';
import { fileChunks } from './lines.ts';
import { type NotedKind, type RefusedKind, type Reject, Rejects } from './rejects.ts';
import { documentsOf, listSources, rowsOf, type SourceFile, type SourceKind, type SourceOptions } from './sources.ts';
import type { DataTokenizer } from './tokens.ts';

export interface InspectOptions extends SourceOptions {
  /** Also measures tokens. */
  tokenizer?: DataTokenizer;
  /** Warns when the data is too short for it. */
  contextLength?: number;
  /** Examples shown. */
  examples?: number;
  onProgress?: (progress: { bytes: number; totalBytes: number; documents: number }) => void;
}

/** A field of the rows that were looked at. */
export interface FieldReport {
  name: string;
  /** Share of rows that have it. */
  share: number;
  /** How often it held what: string, number, null, list, object, boolean. */
  types: Record<string, number>;
  /** Mean length of its strings, characters. */
  meanLength: number;
  example: string;
}

export interface Advice {
  /** W230 … W239, or the code of the error that training would end in. */
  code: string;
  message: string;
  values: Record<string, unknown>;
}

export interface Inspection {
  path: string;
  kind: SourceKind | 'mixed';
  files: number;
  bytes: number;
  documents: number;
  /** Code points. */
  characters: number;
  /** The text field that was read (rows). */
  field?: string;
  fields?: FieldReport[];
  /** Characters of a document. Quantiles are exact to 2 %, the extremes and the mean exact. */
  lengths: LengthSummary;
  /** Documents with from ≤ characters < to; the bounds are powers of two. */
  histogram: LengthBin[];
  /** Scripts by share of letters, the most frequent first. */
  scripts: { script: string; share: number }[];
  /** A rough guess from scripts and a few words. */
  language: string;
  /** Documents by language (language.ts; ISO 639-1, `und` where it cannot be told), of the first 5,000, the most frequent first. */
  languages: { language: string; documents: number }[];
  /** Different characters: what a character tokenizer's vocabulary would be. */
  differentCharacters: number;
  tokens?: number;
  charactersPerToken?: number;
  /** Tokens of a document, with a tokenizer. */
  tokenLengths?: LengthSummary;
  tokenHistogram?: LengthBin[];
  examples: { source: string; line: number; text: string }[];
  rows: { rows: number } & Record<RefusedKind | NotedKind, number>;
  /** The first rows that were refused. */
  rejects: Reject[];
  /** Documents that are copies of an earlier one, among the first 1,000,000. */
  duplicates: number;
  warnings: Advice[];
}

const FIELD_ROWS = 1000;
const SCRIPT_CHARS = 4_000_000;
const LANGUAGE_DOCUMENTS = 5000;
const DUPLICATE_DOCUMENTS = 1_000_000;
const EXAMPLE_CHARS = 200;

/** Looks through everything at `path`. */
export async function inspectData(path: string | readonly string[], options: InspectOptions = {}): Promise<Inspection> {
  const files = await listSources(path);
  const shown = typeof path === 'string' ? path : path.join(', ');
  const warnings: Advice[] = [];
  const warn = (code: string, message: string, values: Record<string, unknown>) => warnings.push({ code, message, values });
  const ofRows = files.filter((f) => f.kind !== 'text');
  const fields = ofRows.length > 0 ? await fieldsOf(ofRows, options) : undefined;
  const field = fieldFor(options.field, fields, ofRows[0]?.path ?? '', warn);

  const rejected: Reject[] = [];
  const rejects = new Rejects(1, (r) => rejected.length < 5 && r.kind !== 'empty' && rejected.push(r));
  const lengths = new Lengths();
  const tokenLengths = new Lengths();
  const languages = new Map<string, number>();
  await loadLanguages();
  const scripts = new Scripts();
  const seen = new Set<number>();
  const totalBytes = files.reduce((sum, f) => sum + f.size, 0);
  const examples: Inspection['examples'] = [];
  let bytes = 0;
  let duplicates = 0;
  let tokens = 0;
  let crlf = 0;
  let replacement = 0;
  let badFile: { file: SourceFile; guess: Encoding | 'unknown' } | undefined;

  for (const file of files) {
    const onBytes = (n: number) => {
      bytes += n;
      options.onProgress?.({ bytes, totalBytes, documents: lengths.documents });
    };
    const badBefore = rejects.refused.bad_utf8;
    const read = {
      ...options,
      field,
      encodingErrors: options.encodingErrors ?? ('skip' as const),
      rejects,
      onBytes,
      specialTokens: options.specialTokens ?? ['<|endoftext|>'],
    };
    let hash = createHash('sha256');
    let characters = 0;
    let documentTokens = 0;
    try {
      for await (const { text, line, first, last } of documentsOf(file, read)) {
        if (first) {
          hash = createHash('sha256');
          characters = 0;
          documentTokens = 0;
          if (lengths.documents < LANGUAGE_DOCUMENTS) {
            const language = languageOf(text);
            languages.set(language, (languages.get(language) ?? 0) + 1);
          }
          if (examples.length < (options.examples ?? 3)) examples.push({ source: file.name, line, text: start(text) });
        }
        hash.update(text);
        characters += scripts.add(text);
        if (text.includes('\r\n')) crlf++;
        if (text.includes('\ufffd')) replacement++;
        if (options.tokenizer) documentTokens += options.tokenizer.encode(text).length;
        if (!last) continue;
        if (options.tokenizer) tokenLengths.add(documentTokens);
        tokens += documentTokens;
        lengths.add(characters);
        const key = hash.digest().readUIntBE(0, 6);
        if (seen.has(key)) duplicates++;
        else if (seen.size < DUPLICATE_DOCUMENTS) seen.add(key);
      }
    } catch (error) {
      // What would stop training is what inspect is asked about: it becomes a warning, and the next file is looked at.
      if (!(error instanceof QkvError) || !['E131', 'E132'].includes(error.code)) throw error;
      warn(error.code, error.message, error.values);
    }
    if (rejects.refused.bad_utf8 > badBefore) badFile ??= { file, guess: await guessFile(file) };
  }

  if (lengths.documents === 0 && warnings.length === 0 && !badFile) {
    throw emptyData(shown, {
      files: files.length,
      rows: rejects.rows,
      rejected: { ...rejects.refused, empty: rejects.noted.empty },
    });
  }
  const { rows } = rejects;
  if (badFile) {
    const { file, guess } = badFile;
    const where = rejected.find((r) => r.kind === 'bad_utf8');
    warn(
      'E132',
      `${rejects.refused.bad_utf8} line(s) are not UTF-8${guess === 'unknown' ? '' : ` (${file.name} looks like ${guess})`}`,
      { path: file.path, line: where?.line, byte: where?.byte, guess, lines: rejects.refused.bad_utf8 },
    );
  }
  if (rejects.rejected > 0.01 * rows)
    warn('E136', `${rejects.rejected} of ${rows} rows would be refused; training stops above 1 %`, {
      rejected: rejects.rejected,
      rows,
      limit: 0.01,
      kinds: { ...rejects.refused },
      first: rejected[0],
      rejectsFile: undefined,
    });
  if (duplicates > 0)
    warn('W231', `${duplicates} of ${lengths.documents} documents are copies of an earlier one`, {
      duplicates,
      documents: lengths.documents,
    });
  if (crlf > 0)
    warn('W232', `line ends are \\r\\n in ${crlf} document(s); \\r becomes part of the vocabulary`, { documents: crlf });
  if (replacement > 0)
    warn('W233', `U+FFFD (�) in ${replacement} document(s): the text was damaged by an earlier conversion`, {
      documents: replacement,
    });
  if (rejects.noted.special_in_text > 0)
    warn('W234', `${rejects.noted.special_in_text} document(s) spell a special token; it is encoded as ordinary text`, {
      documents: rejects.noted.special_in_text,
    });
  const { contextLength = 0 } = options;
  const units = options.tokenizer ? tokens : scripts.characters;
  if (units < contextLength + 1)
    warn('E135', `${units} ${options.tokenizer ? 'tokens' : 'characters'} are too few for a context of ${contextLength}`, {
      tokens: units,
      contextLength,
      largest: Math.max(0, units - 1),
    });
  else if (contextLength > 0 && lengths.documents > 1 && lengths.quantile(0.9) < contextLength / 4) {
    warn(
      'W235',
      `nine of ten documents are shorter than a quarter of the context (${lengths.quantile(0.9)} of ${contextLength} characters): a shorter context is as good and faster`,
      { p90: lengths.quantile(0.9), contextLength },
    );
  }
  if (units > 0 && units < 20_000)
    warn('W236', `only ${units} ${options.tokenizer ? 'tokens' : 'characters'}: a model will learn them by heart`, { units });

  return {
    path: shown,
    kind: files.every((f) => f.kind === files[0].kind) ? files[0].kind : 'mixed',
    files: files.length,
    bytes: totalBytes,
    documents: lengths.documents,
    characters: scripts.characters,
    ...(fields ? { field, fields } : {}),
    lengths: lengths.summary(),
    histogram: lengths.histogram(),
    scripts: scripts.shares(),
    language: scripts.language(),
    languages: [...languages].map(([language, documents]) => ({ language, documents })).sort((a, b) => b.documents - a.documents),
    differentCharacters: scripts.different,
    ...(options.tokenizer
      ? {
          tokens,
          charactersPerToken: tokens > 0 ? scripts.characters / tokens : 0,
          tokenLengths: tokenLengths.summary(),
          tokenHistogram: tokenLengths.histogram(),
        }
      : {}),
    examples,
    rows: rejects.summary(),
    rejects: rejected,
    duplicates,
    warnings,
  };
}

/** The first characters, on one line. */
const start = (text: string): string =>
  [...text.slice(0, 2 * EXAMPLE_CHARS)].slice(0, EXAMPLE_CHARS).join('').replace(/\s+/g, ' ').trim();

/** The text field to read: the one asked for, else `text`, else the one with the longest texts, with a warning. */
function fieldFor(
  asked: string | undefined,
  fields: FieldReport[] | undefined,
  path: string,
  warn: (code: string, message: string, values: Record<string, unknown>) => void,
): string {
  const wanted = asked ?? 'text';
  if (!fields || fields.length === 0 || fields.some((f) => f.name === wanted)) return wanted;
  const longest = fields.find((f) => f.types['string'] > 0);
  const names = fields.map((f) => f.name);
  warn('E131', `no field "${wanted}"${longest ? `; "${longest.name}" was looked at instead (data.field=${longest.name})` : ''}`, {
    path,
    line: 1,
    field: wanted,
    fields: names,
  });
  return longest?.name ?? wanted;
}

/** Fields of the first rows of each file, the one with most text first. */
async function fieldsOf(files: readonly SourceFile[], options: SourceOptions): Promise<FieldReport[]> {
  const found = new Map<string, FieldReport & { characters: number; count: number }>();
  let rows = 0;
  for (const file of files) {
    let left = FIELD_ROWS;
    const read = { encoding: options.encoding, encodingErrors: 'skip' as const, rejects: new Rejects(1) }; // faults are counted where the documents are read
    for await (const { values } of rowsOf(file, read)) {
      rows++;
      for (const [name, value] of Object.entries(values)) {
        let field = found.get(name);
        if (!field) found.set(name, (field = { name, share: 0, types: {}, meanLength: 0, example: '', characters: 0, count: 0 }));
        const type = value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value;
        field.types[type] = (field.types[type] ?? 0) + 1;
        field.count++;
        if (type === 'string') field.characters += (value as string).length;
        if (field.example === '') field.example = start(type === 'string' ? (value as string) : JSON.stringify(value));
      }
      if (--left <= 0) break;
    }
  }
  return [...found.values()]
    .sort((a, b) => b.characters - a.characters)
    .map(({ characters, count, ...field }) => ({
      ...field,
      share: count / rows,
      meanLength: field.types['string'] ? characters / field.types['string'] : 0,
    }));
}

/** The encoding that a file with bad bytes seems to be in: judged from the first stretch that has any. */
async function guessFile(file: SourceFile): Promise<Encoding | 'unknown'> {
  for await (const chunk of fileChunks(file.path)) {
    const first = chunk.findIndex((byte) => byte >= 0x80);
    if (first >= 0) return guessEncoding(chunk.subarray(first, first + 16_384));
  }
  return 'unknown';
}

/** First and last code point of blocks that tell scripts apart (Unicode blocks; rare extensions left out). */
const SCRIPTS: [script: string, ranges: [number, number][]][] = [
  [
    'Latin',
    [
      [0x41, 0x5a],
      [0x61, 0x7a],
      [0xc0, 0x24f],
      [0x1e00, 0x1eff],
    ],
  ],
  [
    'Han',
    [
      [0x3400, 0x4dbf],
      [0x4e00, 0x9fff],
      [0xf900, 0xfaff],
      [0x20000, 0x323af],
    ],
  ],
  ['Kana', [[0x3041, 0x30ff]]],
  [
    'Hangul',
    [
      [0xac00, 0xd7a3],
      [0x1100, 0x11ff],
    ],
  ],
  ['Cyrillic', [[0x400, 0x52f]]],
  ['Greek', [[0x370, 0x3ff]]],
  [
    'Arabic',
    [
      [0x600, 0x6ff],
      [0x750, 0x77f],
    ],
  ],
  ['Hebrew', [[0x590, 0x5ff]]],
  ['Devanagari', [[0x900, 0x97f]]],
  ['Thai', [[0xe00, 0xe7f]]],
];

/** A few of the commonest words, enough to tell what a Latin text is most likely written in. */
const WORDS: Record<string, string[]> = {
  English: ['the', 'and', 'of', 'to', 'in', 'that', 'was', 'is'],
  French: ['le', 'les', 'et', 'des', 'que', 'dans', 'une', 'est'],
  German: ['der', 'die', 'und', 'das', 'nicht', 'ist', 'ein', 'mit'],
  Spanish: ['el', 'los', 'que', 'de', 'y', 'una', 'por', 'con'],
};

class Scripts {
  /** Code points in all. */
  characters = 0;
  /** Different ones. */
  different = 0;
  readonly #seen = new Uint8Array(0x110000);
  readonly #counts = new Map<string, number>();
  readonly #words = new Map<string, number>();
  #looked = 0;

  /** Counts a text; returns its code points. */
  add(text: string): number {
    let count = 0;
    const look = this.#looked < SCRIPT_CHARS;
    for (let i = 0; i < text.length; i++, count++) {
      const point = text.codePointAt(i)!;
      if (point > 0xffff) i++;
      this.different += 1 - this.#seen[point];
      this.#seen[point] = 1;
      if (look) {
        const script = scriptOf(point);
        if (script) this.#counts.set(script, (this.#counts.get(script) ?? 0) + 1);
      }
    }
    if (look)
      for (const word of text
        .slice(0, 10_000)
        .toLowerCase()
        .split(/[^\p{L}]+/u))
        this.#words.set(word, (this.#words.get(word) ?? 0) + 1);
    if (this.#words.size > 200_000) this.#words.clear();
    this.#looked += count;
    this.characters += count;
    return count;
  }

  shares(): Inspection['scripts'] {
    const letters = [...this.#counts.values()].reduce((a, b) => a + b, 0);
    return [...this.#counts].map(([script, n]) => ({ script, share: n / letters })).sort((a, b) => b.share - a.share);
  }

  language(): string {
    const shares = this.shares();
    if (shares.length === 0) return 'unknown';
    const share = (script: string) => shares.find((s) => s.script === script)?.share ?? 0;
    if (share('Kana') > 0.1) return 'Japanese';
    if (share('Hangul') > 0.3) return 'Korean';
    if (share('Han') > 0.3) return share('Latin') > 0.3 ? 'Chinese and Latin script' : 'Chinese';
    if (share('Latin') < 0.5) return `${shares[0].script} script`;
    const scores = Object.entries(WORDS).map(([language, words]) => ({
      language,
      score: words.reduce((sum, w) => sum + (this.#words.get(w) ?? 0), 0),
    }));
    const best = scores.reduce((a, b) => (b.score > a.score ? b : a));
    const total = [...this.#words.values()].reduce((a, b) => a + b, 0);
    return best.score > 0.05 * total ? best.language : 'Latin script';
  }
}

function scriptOf(point: number): string | undefined {
  if (point < 0x41) return undefined;
  for (const [script, ranges] of SCRIPTS) for (const [from, to] of ranges) if (point >= from && point <= to) return script;
  return undefined;
}
