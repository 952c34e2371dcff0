/**
 * What is at this path? The facts that `qkv data inspect` prints: kind, sizes, fields, lengths, scripts, examples, and what to look at before training.
 * It looks where training would stop: faults are counted and shown, not thrown (only E130, E133, E134 and E139 are).
 */
import { createHash } from 'node:crypto';
import { QkvError } from '../errors.ts';
import { emptyData } from './errors.ts';
import { type Encoding, guessEncoding } from './encoding.ts';
import { fieldFor, type FieldReport, fieldsOf, start } from './inspect-fields.ts';
import { languageOf, loadLanguages } from './language.ts';
import { type LengthBin, Lengths, type LengthSummary } from './lengths.ts';
import { fileChunks } from './lines.ts';
import { type NotedKind, type RefusedKind, type Reject, Rejects } from './rejects.ts';
import { Scripts } from './scripts.ts';
import { documentsOf, listSources, type SourceFile, type SourceKind, type SourceOptions } from './sources.ts';
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

const LANGUAGE_DOCUMENTS = 5000;
const DUPLICATE_DOCUMENTS = 1_000_000;

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

/** The encoding that a file with bad bytes seems to be in: judged from the first stretch that has any. */
async function guessFile(file: SourceFile): Promise<Encoding | 'unknown'> {
  for await (const chunk of fileChunks(file.path)) {
    const first = chunk.findIndex((byte) => byte >= 0x80);
    if (first >= 0) return guessEncoding(chunk.subarray(first, first + 16_384));
  }
  return 'unknown';
}
