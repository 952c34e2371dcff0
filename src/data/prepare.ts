/**
 * From text on disk to token streams: reads the sources once, in bounded memory, and leaves a folder that the next run takes as it is.
 *
 *     outDir/manifest.json                      what was made from what; written last, by one rename: that is the commit
 *            3f2a9c1b-train-00000.tokens …      shards; the name begins with the key of sources, tokenizer and options
 *            rejects.jsonl                      one line for each row that was not used
 *
 * Nothing but the sources, the tokenizer and the options goes into the bytes of the shards: killed at any moment and run again, the folder ends up the same.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { QkvError } from '../errors.ts';
import { fsyncFolder, realFs, step, type WriteFs, writeAll, writeFileAtomic } from './disk.ts';
import {
  type Encoded,
  type Encoder,
  encodeHere,
  encodeOnThisThread,
  encodeOnThreads,
  type ThreadTokenizer,
  threadsFor,
} from './encode.ts';
import { emptyData, ioFailed } from './errors.ts';
import { type Licence, licenceOf } from './licence.ts';
import { type FileIdentity, fileChunks } from './lines.ts';
import { type NotedKind, type RefusedKind, type Reject, Rejects } from './rejects.ts';
import { idBytes, openShards, type Shard, ShardWriter, SHARD_TOKENS, syncFolder } from './shards.ts';
import {
  type DocumentsAre,
  documentsOf,
  listSources,
  STDIN,
  type Piece,
  type SourceFile,
  type SourceKind,
  type SourceOptions,
} from './sources.ts';
import { inValidation, type SplitKind, tailCut } from './split.ts';
import { type DataTokenizer, sliceStream, type TokenStream } from './tokens.ts';

export interface PrepareOptions extends Omit<SourceOptions, 'specialTokens'> {
  /** Files or folders. */
  path?: string;
  paths?: readonly string[];
  tokenizer: DataTokenizer;
  /** Names the tokenizer: 64 hex digits, such as the SHA-256 of its file. Default: a hash of vocabulary, special tokens and a probe text. */
  tokenizerHash?: string;
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
  | { kind: 'reading'; bytes: number; totalBytes: number; documents: number; tokens: number }
  | { kind: 'done'; manifest: Manifest };

/** One side of the split. */
export interface SetCounts {
  tokens: number;
  documents: number;
  /** UTF-8 bytes and characters (code points) of the text behind the tokens: bits per byte = loss in nats · tokens / (bytes · ln 2). */
  bytes: number;
  characters: number;
  /** False where a tail split fell into a text whose bytes could not be told apart exactly; then `bytes` is a proportion (of the last piece only). */
  bytesExact: boolean;
}

/** `manifest.json`. */
export interface Manifest {
  format: 1;
  /** First 16 hex digits of the SHA-256 of everything that decides the bytes of the shards. */
  key: string;
  tokenizer: { hash: string; vocabSize: number; endOfText: number | null };
  dtype: 'uint16' | 'uint32';
  options: Record<string, unknown>;
  sources: (FileIdentity & { name: string; kind: SourceKind; sha256: string })[];
  /** What the corpus says about its licence; null when it says nothing. It does not enter the key. */
  licence: Licence | null;
  split: { kind: 'hash' | 'tail'; valFraction: number; cut: number | null };
  train: SetCounts;
  val: SetCounts;
  shards: { set: 'train' | 'val' | 'all'; files: Shard[] }[];
  rows: { rows: number } & Record<RefusedKind | NotedKind, number>;
}

export interface Prepared {
  train: TokenStream;
  val: TokenStream;
  manifest: Manifest;
  /** Whether the folder was there already. */
  reused: boolean;
  close(): void;
}

const END_OF_TEXT = ['<|endoftext|>', '<|end_of_text|>', '</s>', '<eos>'];
const TEMPORARY = '.tmp-prepare-';
/** Folders being written by this process. */
const inProgress = new Set<string>();
let runs = 0;

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
interface Recipe {
  tokenizerHash: string;
  vocabSize: number;
  endOfText: number | null;
  options: Record<string, unknown> & {
    valFraction: number;
    split: SplitKind;
    documents: DocumentsAre;
    joinText: string;
    shardTokens: number;
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
    endOfText: o.endOfText ?? endOfTextOf(o.tokenizer) ?? null,
    options: {
      field: o.field ?? 'text',
      documents,
      separator: o.separator ?? '<|endoftext|>',
      encoding: o.encoding ?? 'utf-8',
      encodingErrors: o.encodingErrors ?? null,
      maxLineBytes: o.maxLineBytes ?? null,
      maxRejected: o.maxRejected ?? 0.01,
      joinText: o.joinText ?? (documents === 'line' ? '\n' : '\n\n'),
      valFraction: o.valFraction ?? 0.1,
      split: o.split ?? 'auto',
      shardTokens: o.shardTokens ?? SHARD_TOKENS,
    },
  };
}

/** The manifest; a reason when it cannot be used; undefined when there is none. */
function readManifest(outDir: string): Manifest | string | undefined {
  let text: string;
  try {
    text = readFileSync(join(outDir, 'manifest.json'), 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw ioFailed(join(outDir, 'manifest.json'), 'read', error);
  }
  try {
    const manifest = JSON.parse(text);
    if (manifest?.format !== 1) return 'manifest.json is of another format';
    return Array.isArray(manifest.sources) && Array.isArray(manifest.shards) && manifest.train && manifest.val
      ? manifest
      : 'manifest.json is damaged';
  } catch {
    return 'manifest.json is damaged';
  }
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
    removeLeftovers(outDir, fs);
    removeOldShards(outDir, manifest, fs);
    if (touched) writeManifest(outDir, manifest, fs);
  } catch {
    // only costs space, or a hash next time
  }
}

const writeManifest = (outDir: string, manifest: Manifest, fs: WriteFs) =>
  writeFileAtomic(join(outDir, 'manifest.json'), Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`), fs);

function open(outDir: string, manifest: Manifest, verify: boolean): Omit<Prepared, 'reused'> {
  const kind = { vocabSize: manifest.tokenizer.vocabSize, tokenizerHash: manifest.tokenizer.hash };
  const streams: TokenStream[] = [];
  const of = (set: string) => {
    const stream = openShards(
      outDir,
      manifest.shards.filter((s) => s.set === set).flatMap((s) => s.files),
      kind,
      { verify },
    );
    streams.push(stream);
    return stream;
  };
  const close = () => {
    for (const stream of streams) stream.close();
  };
  try {
    if (manifest.split.kind === 'tail') {
      const all = of('all');
      const cut = manifest.split.cut ?? all.length;
      return { train: sliceStream(all, 0, cut), val: sliceStream(all, cut, all.length), manifest, close };
    }
    return { train: of('train'), val: of('val'), manifest, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** One pass over the sources: tokens into a temporary folder, then into `outDir` under their names, then the manifest. */
async function build(files: SourceFile[], recipe: Recipe, options: PrepareOptions): Promise<Manifest> {
  const { outDir, tokenizer, onProgress, fs = realFs } = options;
  const { valFraction, split } = recipe.options;
  const temporary = join(outDir, `${TEMPORARY}${process.pid}-${++runs}`);
  inProgress.add(temporary);
  const rejectsPath = join(temporary, 'rejects.jsonl');
  let rejectsFile: RejectsFile | undefined;
  let sets: Record<'train' | 'val', SetWriter> | undefined;
  let encoder: Encoder<Piece & { set: SetWriter }> | undefined;
  try {
    step(outDir, () => {
      fs.mkdirSync(outDir, { recursive: true });
      removeLeftovers(outDir, fs);
      fs.mkdirSync(temporary);
    });
    const names = new Map(files.map((f) => [f.path, f.name]));
    rejectsFile = new RejectsFile(rejectsPath, names, fs);
    const rejects = new Rejects(options.maxRejected, (reject) => rejectsFile!.add(reject), join(outDir, 'rejects.jsonl'));
    const kind = { vocabSize: recipe.vocabSize, tokenizerHash: recipe.tokenizerHash };
    const make = (name: string) =>
      new SetWriter(new ShardWriter(temporary, name, kind, recipe.options.shardTokens, fs), tokenizer, recipe);
    sets = { train: make('train'), val: make('val') };

    const totalBytes = files.reduce((sum, f) => sum + f.size, 0);
    let bytes = 0;
    const report = () =>
      onProgress?.({
        kind: 'reading',
        bytes,
        totalBytes,
        documents: sets!.train.documents + sets!.val.documents,
        tokens: sets!.train.tokens + sets!.val.tokens,
      });
    const sources: Manifest['sources'] = [];
    const specialTokens = [...(tokenizer.specialTokens?.keys() ?? [])];
    const tailOnly = split === 'tail' || valFraction === 0;
    const { inThreads, threads = threadsFor(totalBytes) } = options;
    const write = (piece: Piece & { set: SetWriter }, encoded: Encoded) => piece.set.add(piece, encoded);
    encoder =
      inThreads && threads > 1
        ? encodeOnThreads({ threads, tokenizer, inThread: inThreads() }, write)
        : encodeOnThisThread(tokenizer, write);
    for (const file of files) {
      const hash = createHash('sha256');
      const bytesBefore = bytes;
      const onBytes = (n: number) => {
        options.signal?.throwIfAborted();
        bytes += n;
        report();
      };
      let set = sets.train;
      for await (const piece of documentsOf(file, { ...options, onlyText: true, rejects, hash, onBytes, specialTokens })) {
        if (piece.first) set = !tailOnly && inValidation(piece.text, valFraction) ? sets.val : sets.train;
        const added = encoder.add({ ...piece, set });
        if (added) await added;
      }
      const size = file.path === STDIN ? bytes - bytesBefore : file.size;
      sources.push({ name: file.name, kind: file.kind, size, mtimeMs: file.mtimeMs, sha256: hash.digest('hex') });
    }
    rejects.check();
    await encoder.drain();
    rejectsFile.close();
    const rows = rejects.summary();
    const named = options.paths?.join(', ') ?? options.path ?? '';
    if (sets.train.tokens + sets.val.tokens === 0)
      throw emptyData(named, {
        files: files.length,
        rows: rows.rows,
        rejected: { ...rejects.refused, empty: rejects.noted.empty },
      });

    const shards = { train: sets.train.finish(), val: sets.val.finish() };
    const key = createHash('sha256')
      .update(JSON.stringify([1, recipe, sources.map((s) => [s.name, s.kind, s.sha256])]))
      .digest('hex')
      .slice(0, 16);
    // `auto` where one side got nothing: all there is lies on the other one, in order, and is cut at the end instead.
    const tail = tailOnly || (split === 'auto' && (sets.train.tokens === 0 || sets.val.tokens === 0));
    const whole = sets.train.tokens > 0 ? 'train' : 'val';
    const published: Manifest['shards'] = tail
      ? [{ set: 'all', files: renamed(shards[whole], `${key.slice(0, 8)}-all`) }]
      : (['train', 'val'] as const).map((set) => ({ set, files: renamed(shards[set], `${key.slice(0, 8)}-${set}`) }));
    const counts = tail
      ? tailCounts(temporary, shards[whole], sets[whole], kind, tokenizer, recipe)
      : { cut: null, train: sets.train.counts(), val: sets.val.counts() };
    const manifest: Manifest = {
      format: 1,
      key,
      tokenizer: { hash: recipe.tokenizerHash, vocabSize: recipe.vocabSize, endOfText: recipe.endOfText },
      dtype: idBytes(recipe.vocabSize) === 2 ? 'uint16' : 'uint32',
      options: recipe.options,
      sources,
      licence: licenceOf(options.paths?.[0] ?? options.path ?? '') ?? null,
      split: { kind: tail ? 'tail' : 'hash', valFraction, cut: counts.cut },
      train: counts.train,
      val: counts.val,
      shards: published,
      rows,
    };
    publish(
      outDir,
      temporary,
      [...(tail ? [] : [shards.train, shards.val]), ...(tail ? [shards[whole]] : [])].flat(),
      published.flatMap((s) => s.files),
      manifest,
      rejectsFile.lines > 0,
      fs,
    );
    return manifest;
  } catch (error) {
    sets?.train.abandon();
    sets?.val.abandon();
    // The rows that stopped it are what the user needs to see.
    try {
      rejectsFile?.close();
      if (error instanceof QkvError && error.code === 'E136') fs.renameSync(rejectsPath, join(outDir, 'rejects.jsonl'));
      fs.rmSync(temporary, { recursive: true, force: true });
    } catch {
      // the first error is the one to report; leftovers go at the next run
    }
    throw error;
  } finally {
    await encoder?.close();
    inProgress.delete(temporary);
  }
}

const renamed = (shards: Shard[], name: string): Shard[] =>
  shards.map((s, i) => ({ ...s, file: `${name}-${String(i).padStart(5, '0')}.tokens` }));

/** Shards under their names, durable; then the manifest, which makes them the data; then those of the manifest before it go. */
function publish(
  outDir: string,
  temporary: string,
  from: Shard[],
  to: Shard[],
  manifest: Manifest,
  hasRejects: boolean,
  fs: WriteFs,
): void {
  step(outDir, () => {
    syncFolder(temporary, fs);
    for (const [i, shard] of from.entries()) fs.renameSync(join(temporary, shard.file), join(outDir, to[i].file));
    if (hasRejects) fs.renameSync(join(temporary, 'rejects.jsonl'), join(outDir, 'rejects.jsonl'));
    else fs.rmSync(join(outDir, 'rejects.jsonl'), { force: true });
    fsyncFolder(fs, outDir);
    writeManifest(outDir, manifest, fs);
    fs.rmSync(temporary, { recursive: true, force: true });
    removeOldShards(outDir, manifest, fs);
  });
}

/** Shards of an earlier manifest. Only names that we make are touched. */
function removeOldShards(outDir: string, manifest: Manifest, fs: WriteFs): void {
  const kept = new Set(manifest.shards.flatMap((s) => s.files.map((f) => f.file)));
  for (const name of readdirSync(outDir)) {
    if (/^[0-9a-f]{8}-(train|val|all)-\d{5}\.tokens$/.test(name) && !kept.has(name))
      fs.rmSync(join(outDir, name), { force: true });
  }
}

/** Temporary folders of processes that are gone. Only names that we make are touched. */
function removeLeftovers(outDir: string, fs: WriteFs): void {
  for (const name of readdirSync(outDir)) {
    const pid = name.startsWith(TEMPORARY)
      ? Number.parseInt(name.slice(TEMPORARY.length), 10)
      : /^manifest\.json\.tmp-(\d+)$/.test(name)
        ? Number(name.split('-')[1])
        : 0;
    if (!(pid > 0)) continue;
    const ours = pid === process.pid;
    if (ours ? !inProgress.has(join(outDir, name)) : !isAlive(pid))
      fs.rmSync(join(outDir, name), { recursive: true, force: true });
  }
}

/** Whether a process of this number runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Tokens of one side of the split, with what was counted on the way. */
class SetWriter {
  documents = 0;
  bytes = 0;
  characters = 0;
  /** Counts at piece ends, at least 64 Ki tokens apart: where a tail split looks up its bytes. */
  readonly marks: { tokens: number; bytes: number; characters: number }[] = [{ tokens: 0, bytes: 0, characters: 0 }];
  #join: Encoded | undefined; // the text between two documents
  #ended = false; // a document is complete, and what divides it from the next is not written yet

  constructor(
    readonly writer: ShardWriter,
    readonly tokenizer: DataTokenizer,
    readonly recipe: Recipe,
  ) {}

  get tokens(): number {
    return this.writer.tokens;
  }

  add({ first, last }: Piece, encoded: Encoded): void {
    if (first) {
      if (this.#ended) this.#divide();
      this.writer.beginDocument();
      this.documents++;
    }
    this.#write(encoded);
    this.#ended = last;
    if (this.tokens - this.marks.at(-1)!.tokens >= 1 << 16) this.#mark();
  }

  finish(): Shard[] {
    if (this.#ended && this.documents > 1 && this.recipe.endOfText !== null) this.#divide();
    this.#mark();
    return this.writer.finish();
  }

  abandon(): void {
    this.writer.abandon();
  }

  counts(): SetCounts {
    return { tokens: this.tokens, documents: this.documents, bytes: this.bytes, characters: this.characters, bytesExact: true };
  }

  #mark(): void {
    this.marks.push({ tokens: this.tokens, bytes: this.bytes, characters: this.characters });
  }

  #divide(): void {
    if (this.recipe.endOfText !== null) this.writer.append(Int32Array.of(this.recipe.endOfText));
    else if (this.recipe.options.joinText !== '')
      this.#write((this.#join ??= encodeHere(this.tokenizer, this.recipe.options.joinText)));
  }

  #write({ ids, bytes, characters }: Encoded): void {
    this.writer.append(ids);
    this.bytes += bytes;
    this.characters += characters;
  }
}

/** Counts on both sides of a tail split. The bytes of the tokens around the cut come from the tokenizer, where it can tell them and they add up. */
function tailCounts(
  folder: string,
  shards: Shard[],
  set: SetWriter,
  kind: { vocabSize: number; tokenizerHash: string },
  tokenizer: DataTokenizer,
  recipe: Recipe,
) {
  const cut = tailCut(set.tokens, recipe.options.valFraction);
  const all = openShards(folder, shards, kind);
  try {
    const after = set.marks.findIndex((m) => m.tokens >= cut);
    const right = set.marks[after];
    const left = set.marks[Math.max(0, after - 1)];
    const span = right.tokens - left.tokens;
    let bytes = left.bytes;
    let characters = left.characters;
    let bytesExact = true;
    if (cut === right.tokens) {
      bytes = right.bytes;
      characters = right.characters;
    } else {
      const counted = { bytes: [0, 0], characters: [0, 0] };
      const ids = all.read(left.tokens, span);
      for (let i = 0; tokenizer.tokenBytes && i < span; i++) {
        if (ids[i] === recipe.endOfText) continue;
        const side = left.tokens + i < cut ? 0 : 1;
        for (const byte of tokenizer.tokenBytes(ids[i])) {
          counted.bytes[side]++;
          if ((byte & 0xc0) !== 0x80) counted.characters[side]++;
        }
      }
      bytesExact = counted.bytes[0] + counted.bytes[1] === right.bytes - left.bytes;
      const share = (cut - left.tokens) / span;
      bytes += bytesExact ? counted.bytes[0] : Math.round(share * (right.bytes - left.bytes));
      characters += bytesExact ? counted.characters[0] : Math.round(share * (right.characters - left.characters));
    }
    const { documents: trainDocuments } = sliceStream(all, 0, cut);
    const { documents: valDocuments } = sliceStream(all, cut, all.length);
    return {
      cut,
      train: { tokens: cut, documents: trainDocuments, bytes, characters, bytesExact },
      val: {
        tokens: set.tokens - cut,
        documents: valDocuments,
        bytes: set.bytes - bytes,
        characters: set.characters - characters,
        bytesExact,
      },
    };
  } finally {
    all.close();
  }
}

/** `rejects.jsonl`, written as it comes. */
class RejectsFile {
  lines = 0;
  #fd = -1;
  #waiting: string[] = [];

  constructor(
    readonly path: string,
    readonly names: ReadonlyMap<string, string>,
    readonly fs: WriteFs,
  ) {}

  add(reject: Reject): void {
    if (this.#fd < 0) this.#fd = step(this.path, () => this.fs.openSync(this.path, 'w'));
    this.#waiting.push(`${JSON.stringify({ ...reject, source: this.names.get(reject.source) ?? reject.source })}\n`);
    this.lines++;
    if (this.#waiting.length >= 1000) this.#flush();
  }

  close(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#flush();
    this.#fd = -1;
    step(this.path, () => {
      this.fs.fsyncSync(fd);
      this.fs.closeSync(fd);
    });
  }

  #flush(): void {
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    step(this.path, () => writeAll(this.fs, this.#fd, bytes));
  }
}
