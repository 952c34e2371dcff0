/**
 * From text on disk to token streams: reads the sources once, in bounded memory, and leaves a folder that the next run takes as it is.
 *
 *     outDir/manifest.json                      what was made from what; written last, by one rename: that is the commit
 *            3f2a9c1b-train-00000.tokens …      shards; the name begins with the key of sources, tokenizer and options
 *            rejects.jsonl                      one line for each row that was not used
 *
 * Nothing but the sources, the tokenizer and the options goes into the bytes of the shards: killed at any moment and run again, the folder ends up the same.
 * How the folder is made: build.ts. What a killed run leaves to the next: unfinished.ts.
 */
import { createHash } from 'node:crypto';
import { QkvError } from '../errors.ts';
import { build, removeOldShards, removeUnfinished } from './build.ts';
import { realFs, type WriteFs } from './disk.ts';
import type { Message } from './dialogues.ts';
import type { ThreadTokenizer } from './encode.ts';
import { fileChunks } from './lines.ts';
import { type ChatWords, type Manifest, readManifest, type ShardSet, writeManifest } from './manifest.ts';
import { openShards, SHARD_TOKENS } from './shards.ts';
import { type DocumentsAre, listSources, STDIN, type SourceFile, type SourceOptions } from './sources.ts';
import type { SplitKind } from './split.ts';
import { type DataTokenizer, sliceStream, type TokenStream } from './tokens.ts';
import type { Lost } from './unfinished.ts';

export interface PrepareOptions extends Omit<SourceOptions, 'specialTokens'> {
  /** Files or folders. */
  path?: string;
  paths?: readonly string[];
  tokenizer: DataTokenizer;
  /** Names the tokenizer: 64 hex digits, such as the SHA-256 of its file. Default: a hash of vocabulary, special tokens and a probe text. */
  tokenizerHash?: string;
  /** Rows are dialogues, and this writes them: token ids, with a 1 for each token of an answer. They are encoded on this thread, and nothing is put after them. */
  dialogues?: DialogueEncoder;
  /** Id put after each document. Default: the special token `<|endoftext|>`, `<|end_of_text|>`, `</s>` or `<eos>`, if there is one. A corpus of one document gets none. */
  endOfText?: number;
  /** Without `endOfText`: text put between two documents. Default: `\n` when lines are documents, else `\n\n`. */
  joinText?: string;
  /** The prepared folder; made when absent. */
  outDir: string;
  /** Share for validation, 0 ≤ f < 1. */
  valFraction?: number;
  split?: SplitKind;
  /** Share of rows that may be refused. */
  maxRejected?: number;
  /** Also compare hashes of sources and shards when the folder is reused, not only size and time. */
  verify?: boolean;
  shardTokens?: number;
  /** How threads make the tokenizer; without it, this thread encodes alone. Called only when threads are used. */
  inThreads?: () => ThreadTokenizer;
  /** Threads that encode. Default: one a core for 32 MiB or more. The shards are the same, byte for byte, whatever the number. */
  threads?: number;
  onProgress?: (progress: Progress) => void;
  /** Stops between two reads of 1 MiB; nothing is left behind, and the signal's reason is thrown. */
  signal?: AbortSignal;
  /** For tests: the file system that is written to. */
  fs?: WriteFs;
}

export type Progress =
  | { kind: 'reused'; outDir: string }
  /** A prepared folder was there, but does not fit any more. */
  | { kind: 'rebuild'; reason: string }
  /** A run that was killed has left shards that are complete: their tokens are not encoded again. */
  | { kind: 'resumed'; shards: number; tokens: number }
  /** A run that was killed has left shards, but of other sources or options: they are gone. */
  | ({ kind: 'lost' } & Lost)
  | { kind: 'reading'; bytes: number; totalBytes: number; documents: number; tokens: number }
  | { kind: 'done'; manifest: Manifest };

/** Dialogues by a chat template: what text and what ids they become. */
export interface DialogueEncoder {
  encode(messages: readonly Message[]): { text: string; ids: Int32Array; answers: Uint8Array };
  readonly words: ChatWords;
}

export interface Prepared {
  train: TokenStream;
  val: TokenStream;
  /** Of dialogues: 1 for each token that is part of an answer, else 0. */
  answers?: { train: TokenStream; val: TokenStream };
  manifest: Manifest;
  /** Whether the folder was there already. */
  reused: boolean;
  close(): void;
}

const END_OF_TEXT = ['<|endoftext|>', '<|end_of_text|>', '</s>', '<eos>'];

/**
 * Token streams of the text at `path` or `paths`, for training and validation. Reuses `outDir` when sources, tokenizer and options are what they were.
 * Throws E130–E139 (errors.ts); what `outDir` held before stays valid then.
 */
export async function prepareData(options: PrepareOptions): Promise<Prepared> {
  const { outDir, onProgress, verify = false, valFraction = 0.1 } = options;
  if (!(valFraction >= 0 && valFraction < 1))
    throw new RangeError(`prepareData: valFraction=${valFraction} must be at least 0 and below 1`);
  const files = await listSources(options.paths ?? options.path ?? []);
  const recipe = recipeOf(options);

  const existing = readManifest(outDir);
  if (existing) {
    const reason = typeof existing === 'string' ? existing : await whyNot(existing, files, recipe, verify);
    if (reason === undefined) {
      try {
        const prepared = open(outDir, existing as Manifest, verify);
        tidy(outDir, existing as Manifest, files, options.fs);
        onProgress?.({ kind: 'reused', outDir });
        return { ...prepared, reused: true };
      } catch (error) {
        if (!(error instanceof QkvError && error.code === 'E138')) throw error;
        onProgress?.({ kind: 'rebuild', reason: error.message });
      }
    } else onProgress?.({ kind: 'rebuild', reason });
  }
  const manifest = await build(files, recipe, options);
  onProgress?.({ kind: 'done', manifest });
  return { ...open(outDir, manifest, false), reused: false };
}

/** Opens a prepared folder without looking at its sources. E138 when there is none or it is damaged or of another tokenizer. */
export function openPrepared(
  outDir: string,
  { tokenizerHash, verify = false }: { tokenizerHash?: string; verify?: boolean } = {},
): Prepared {
  const manifest = readManifest(outDir);
  if (manifest === undefined || typeof manifest === 'string') {
    throw new QkvError(
      'E138',
      `${outDir}: ${manifest ?? 'no prepared data here (manifest.json is missing)'}. Prepare it from the text`,
      { path: outDir, reason: manifest ?? 'missing' },
    );
  }
  if (tokenizerHash !== undefined && tokenizerHash !== manifest.tokenizer.hash) {
    throw new QkvError(
      'E138',
      `${outDir}: made with another tokenizer (${manifest.tokenizer.hash.slice(0, 8)}, now ${tokenizerHash.slice(0, 8)}). Prepare it again from the text`,
      { path: outDir, reason: 'another tokenizer' },
    );
  }
  return { ...open(outDir, manifest, verify), reused: true };
}

/** The token id after each document, by the names that published vocabularies use. */
export function endOfTextOf(tokenizer: DataTokenizer): number | undefined {
  for (const name of END_OF_TEXT) if (tokenizer.specialTokens?.has(name)) return tokenizer.specialTokens.get(name);
  return undefined;
}

/** A hash of what a tokenizer does: every token's spelling, its special tokens, and its ids for a probe text. */
export function tokenizerFingerprint(tokenizer: DataTokenizer): string {
  const hash = createHash('sha256').update(`${tokenizer.vocabSize}\n`);
  for (let id = 0; tokenizer.idToToken && id < tokenizer.vocabSize; id++)
    hash.update(JSON.stringify(tokenizer.idToToken(id) ?? null));
  hash.update(JSON.stringify([...(tokenizer.specialTokens ?? [])]));
  // Two tokenizers may share a vocabulary and differ in what they do; a text that one refuses is part of that.
  for (const probe of ['the quick brown fox, 1234567890! Nevertheless…', '学而时习之，不亦说乎？', ' \t\n', 'àéîõü 🙂']) {
    try {
      hash.update(JSON.stringify([...tokenizer.encode(probe)]));
    } catch {
      hash.update('refused');
    }
  }
  return hash.digest('hex');
}

/** Everything besides the sources that decides the bytes of the shards. */
export interface Recipe {
  tokenizerHash: string;
  vocabSize: number;
  endOfText: number | null;
  options: Record<string, unknown> & {
    valFraction: number;
    split: SplitKind;
    documents: DocumentsAre;
    joinText: string;
    shardTokens: number;
    /** Of the chat template, where rows are dialogues: a SHA-256. */
    dialogues: string | undefined;
  };
}

function recipeOf(o: PrepareOptions): Recipe {
  const documents = o.documents ?? 'file';
  const tokenizerHash = o.tokenizerHash ?? tokenizerFingerprint(o.tokenizer);
  if (!/^[0-9a-f]{64}$/.test(tokenizerHash))
    throw new RangeError(`prepareData: tokenizerHash "${tokenizerHash}" must be 64 hex digits`);
  return {
    tokenizerHash,
    vocabSize: o.tokenizer.vocabSize,
    endOfText: o.dialogues ? null : (o.endOfText ?? endOfTextOf(o.tokenizer) ?? null),
    options: {
      field: o.field ?? 'text',
      documents,
      separator: o.separator ?? '<|endoftext|>',
      encoding: o.encoding ?? 'utf-8',
      encodingErrors: o.encodingErrors ?? null,
      maxLineBytes: o.maxLineBytes ?? null,
      maxRejected: o.maxRejected ?? 0.01,
      joinText: o.dialogues ? '' : (o.joinText ?? (documents === 'line' ? '\n' : '\n\n')),
      valFraction: o.valFraction ?? 0.1,
      split: o.split ?? 'auto',
      shardTokens: o.shardTokens ?? SHARD_TOKENS,
      dialogues: o.dialogues && createHash('sha256').update(JSON.stringify(o.dialogues.words)).digest('hex'),
    },
  };
}

/** Why a prepared folder cannot be reused; undefined when it can. */
async function whyNot(manifest: Manifest, files: SourceFile[], recipe: Recipe, verify: boolean): Promise<string | undefined> {
  if (
    manifest.tokenizer.hash !== recipe.tokenizerHash ||
    manifest.tokenizer.vocabSize !== recipe.vocabSize ||
    manifest.tokenizer.endOfText !== recipe.endOfText
  ) {
    return 'the tokenizer is another one';
  }
  const names = Object.keys(recipe.options).filter(
    (k) => JSON.stringify(manifest.options[k]) !== JSON.stringify(recipe.options[k]),
  );
  if (names.length > 0) return `another value of ${names.join(', ')}`;
  if (
    manifest.sources.length !== files.length ||
    manifest.sources.some((s, i) => s.name !== files[i].name || s.kind !== files[i].kind)
  )
    return 'files were added, removed or renamed';
  if (files.some((f) => f.path === STDIN)) return 'standard input cannot be compared with what it was';
  for (const [i, was] of manifest.sources.entries()) {
    if (was.size !== files[i].size) return `${files[i].name} changed (${was.size} → ${files[i].size} bytes)`;
    if ((verify || was.mtimeMs !== files[i].mtimeMs) && (await sha256Of(files[i].path)) !== was.sha256)
      return `${files[i].name} changed`;
  }
  return undefined;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of fileChunks(path)) hash.update(chunk);
  return hash.digest('hex');
}

/**
 * What a run that was killed left behind goes; sources with the same bytes under newer times are noted, so that the next run need not hash.
 * A folder that cannot be written is used as it is.
 */
function tidy(outDir: string, manifest: Manifest, files: SourceFile[], fs: WriteFs = realFs): void {
  const touched = manifest.sources.some((s, i) => s.mtimeMs !== files[i].mtimeMs);
  for (const [i, source] of manifest.sources.entries()) source.mtimeMs = files[i].mtimeMs;
  try {
    removeUnfinished(outDir, fs);
    removeOldShards(outDir, manifest, fs);
    if (touched) writeManifest(outDir, manifest, fs);
  } catch {
    // only costs space, or a hash next time
  }
}

/** The streams of a prepared folder. */
function open(outDir: string, manifest: Manifest, verify: boolean): Omit<Prepared, 'reused'> {
  const { vocabSize, hash: tokenizerHash } = manifest.tokenizer;
  const streams: TokenStream[] = [];
  const of = (set: ShardSet) => {
    const files = manifest.shards.filter((s) => s.set === set).flatMap((s) => s.files);
    const stream = openShards(outDir, files, { vocabSize: set.endsWith('-answers') ? 2 : vocabSize, tokenizerHash }, { verify });
    streams.push(stream);
    return stream;
  };
  const sides = (ending: '' | '-answers'): { train: TokenStream; val: TokenStream } => {
    if (manifest.split.kind === 'hash') return { train: of(`train${ending}`), val: of(`val${ending}`) };
    const all = of(`all${ending}`);
    const cut = manifest.split.cut ?? all.length;
    return { train: sliceStream(all, 0, cut), val: sliceStream(all, cut, all.length) };
  };
  const close = () => {
    for (const stream of streams) stream.close();
  };
  try {
    return { ...sides(''), ...(manifest.dialogues ? { answers: sides('-answers') } : {}), manifest, close };
  } catch (error) {
    close();
    throw error;
  }
}
