/** One pass over the sources: tokens into a temporary folder, then into the prepared folder under their names, then the manifest. */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { QkvError } from '../errors.ts';
import { dialoguesIn } from './dialogues.ts';
import { fsyncFolder, realFs, step, type WriteFs } from './disk.ts';
import { countText, type Encoded, type Encoder, encodeOnThisThread, encodeOnThreads, threadsFor } from './encode.ts';
import { emptyData } from './errors.ts';
import { licenceOf } from './licence.ts';
import { type Manifest, type ShardSet, writeManifest } from './manifest.ts';
import type { PrepareOptions, Recipe } from './prepare.ts';
import { Rejects } from './rejects.ts';
import { RejectsFile } from './rejects-file.ts';
import { type SetState, SetWriter, tailCounts } from './set-writer.ts';
import { idBytes, openShards, type Shard, type ShardKind, ShardWriter, syncFolder } from './shards.ts';
import { documentsOf, type Piece, type SourceFile, STDIN } from './sources.ts';
import { inValidation } from './split.ts';
import { claimFolder, logDone, releaseFolder, removeLeftovers, whatLine } from './unfinished.ts';

/** A piece on its way to the tokens of its side. */
type Numbered = Pick<Piece, 'text' | 'first' | 'last'> & { set: SetWriter; number: number };
type Sets = Record<'train' | 'val', SetWriter>;

/** A shard that is complete; of dialogues with the one of its answers. The state of its set to go on from behind it. */
interface Done {
  set: 'train' | 'val';
  shards: Shard[];
  state: SetState;
}

/** What a run that makes `outDir` writes to. */
const temporaryIn = (outDir: string): string => join(outDir, '.tmp-prepare-');

/** What processes that are gone have left in a prepared folder goes. */
export function removeUnfinished(outDir: string, fs: WriteFs): void {
  for (const prefix of [temporaryIn(outDir), join(outDir, 'manifest.json.tmp-')]) removeLeftovers(prefix, fs);
}

/** Makes the prepared folder. Throws what reading and writing throw; what `outDir` held before stays valid then. */
export async function build(files: SourceFile[], recipe: Recipe, options: PrepareOptions): Promise<Manifest> {
  const { outDir, onProgress, fs = realFs } = options;
  const kinds = [recipe.vocabSize, 2].map((vocabSize) => ({ vocabSize, tokenizerHash: recipe.tokenizerHash }));
  let temporary: string | undefined;
  let rejectsFile: RejectsFile | undefined;
  let sets: Sets | undefined;
  try {
    const { folder, done, lost } = step(outDir, () => {
      fs.mkdirSync(outDir, { recursive: true });
      const what = whatOf(files, recipe);
      const sound = (where: string, all: readonly Done[]) => soundShards(where, all, kinds);
      const keeps = (all: readonly Done[]) => new Set(all.flatMap((d) => d.shards.map((s) => s.file)));
      return claimFolder<Done>(temporaryIn(outDir), { what, fs, sound, keeps });
    });
    temporary = folder;
    removeUnfinished(outDir, fs);
    if (lost) onProgress?.({ kind: 'lost', ...lost });
    const names = new Map(files.map((f) => [f.path, f.name]));
    rejectsFile = new RejectsFile(join(folder, 'rejects.jsonl'), names, fs);
    const rejects = new Rejects(options.maxRejected, (reject) => rejectsFile!.add(reject), join(outDir, 'rejects.jsonl'));
    const make = (set: 'train' | 'val') => setWriter(set, folder, kinds, done, recipe, options);
    sets = { train: make('train'), val: make('val') };
    if (done.length > 0) onProgress?.({ kind: 'resumed', shards: done.length, tokens: sets.train.tokens + sets.val.tokens });
    const sources = await readInto(sets, files, rejects, recipe, options);
    rejectsFile.close();
    const rows = rejects.summary();
    if (sets.train.tokens + sets.val.tokens === 0)
      throw emptyData(options.paths?.join(', ') ?? options.path ?? '', {
        files: files.length,
        rows: rows.rows,
        rejected: { ...rejects.refused, empty: rejects.noted.empty },
      });
    sets.train.finish();
    sets.val.finish();
    const { manifest, from } = described(folder, sets, kinds[0], sources, rows, recipe, options);
    publish(
      outDir,
      folder,
      from,
      manifest.shards.flatMap((s) => s.files),
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
      if (error instanceof QkvError && error.code === 'E136' && rejectsFile)
        fs.renameSync(rejectsFile.path, join(outDir, 'rejects.jsonl'));
      if (temporary) fs.rmSync(temporary, { recursive: true, force: true });
    } catch {
      // the first error is the one to report; leftovers go at the next run
    }
    throw error;
  } finally {
    if (temporary) releaseFolder(temporary);
  }
}

/** What a run makes from what. Nothing can go on from standard input. */
const whatOf = (files: readonly SourceFile[], { options, ...tokenizer }: Recipe): string | undefined =>
  files.some((f) => f.path === STDIN) ? undefined : whatLine({ tokenizer, ...options }, files);

/** How many of these have all their bytes. */
function soundShards(folder: string, done: readonly Done[], kinds: readonly ShardKind[]): number {
  for (const [i, { shards }] of done.entries()) {
    try {
      for (const [k, shard] of shards.entries()) openShards(folder, [shard], kinds[k], { verify: true }).close();
    } catch (error) {
      if (error instanceof QkvError) return i;
      throw error;
    }
  }
  return done.length;
}

/** One side of the split, behind the shards of it that are there. */
function setWriter(
  set: 'train' | 'val',
  folder: string,
  kinds: readonly ShardKind[],
  done: readonly Done[],
  recipe: Recipe,
  { tokenizer, dialogues, fs = realFs }: PrepareOptions,
): SetWriter {
  const shards = (name: string, kind: ShardKind) => new ShardWriter(folder, name, kind, recipe.options.shardTokens, fs);
  const answers = dialogues && shards(`${set}-answers`, kinds[1]);
  const writer = new SetWriter(shards(set, kinds[0]), tokenizer, recipe, answers);
  const ours = done.filter((d) => d.set === set);
  if (ours.length > 0)
    writer.goOn(
      ours.map((d) => d.shards[0]),
      ours.flatMap((d) => d.shards.slice(1)),
      ours.map((d) => d.state),
    );
  writer.onShard((shards, state) => logDone<Done>(folder, { set, shards, state }, fs));
  return writer;
}

/** Reads all sources once, and puts the tokens of each document on its side. */
async function readInto(
  sets: Sets,
  files: readonly SourceFile[],
  rejects: Rejects,
  recipe: Recipe,
  options: PrepareOptions,
): Promise<Manifest['sources']> {
  const { tokenizer, dialogues, onProgress } = options;
  const { valFraction, split } = recipe.options;
  const totalBytes = files.reduce((sum, f) => sum + f.size, 0);
  let bytes = 0;
  const onBytes = (n: number) => {
    options.signal?.throwIfAborted();
    bytes += n;
    const [documents, tokens] = (['documents', 'tokens'] as const).map((k) => sets.train[k] + sets.val[k]);
    onProgress?.({ kind: 'reading', bytes, totalBytes, documents, tokens });
  };
  const sideOf = (text: string) =>
    split !== 'tail' && valFraction > 0 && inValidation(text, valFraction) ? sets.val : sets.train;
  const specialTokens = [...(tokenizer.specialTokens?.keys() ?? [])];
  const { inThreads, threads = threadsFor(totalBytes) } = options;
  const write = (piece: Numbered, encoded: Encoded) => piece.set.add(piece, encoded);
  const encoder: Encoder<Numbered> =
    inThreads && threads > 1 && !dialogues
      ? encodeOnThreads({ threads, tokenizer, inThread: inThreads() }, write)
      : encodeOnThisThread(tokenizer, write);
  const sources: Manifest['sources'] = [];
  let number = 0;
  try {
    for (const file of files) {
      const hash = createHash('sha256');
      const bytesBefore = bytes;
      const reading = { ...options, rejects, hash, onBytes };
      if (dialogues)
        for await (const { messages } of dialoguesIn(file, reading)) {
          // The question decides the side: other answers to it are on the same one.
          const asked = messages.slice(
            0,
            messages.findIndex((m) => m.role === 'assistant'),
          );
          const set = sideOf(JSON.stringify(asked));
          if (!set.has(number)) {
            const { text, ids, answers } = dialogues.encode(messages);
            set.add({ first: true, last: true, number }, { ids, answers, ...countText(text) });
          }
          number++;
        }
      else {
        let set = sets.train;
        for await (const { text, first, last } of documentsOf(file, { ...reading, onlyText: true, specialTokens })) {
          if (first) set = sideOf(text);
          const added = set.has(number) ? undefined : encoder.add({ text, first, last, set, number });
          if (added) await added;
          number++;
        }
      }
      const size = file.path === STDIN ? bytes - bytesBefore : file.size;
      sources.push({ name: file.name, kind: file.kind, size, mtimeMs: file.mtimeMs, sha256: hash.digest('hex') });
    }
    rejects.check();
    await encoder.drain();
    return sources;
  } finally {
    await encoder.close();
  }
}

/** The manifest of finished sets, and the shards that it lists under the names that they have in the temporary folder. */
function described(
  folder: string,
  sets: Sets,
  kind: ShardKind,
  sources: Manifest['sources'],
  rows: Manifest['rows'],
  recipe: Recipe,
  options: PrepareOptions,
): { manifest: Manifest; from: Shard[] } {
  const { valFraction, split } = recipe.options;
  const key = createHash('sha256')
    .update(JSON.stringify([1, recipe, sources.map((s) => [s.name, s.kind, s.sha256])]))
    .digest('hex')
    .slice(0, 16);
  // `auto` where one side got nothing: all there is lies on the other one, in order, and is cut at the end instead.
  const empty = sets.train.tokens === 0 || sets.val.tokens === 0;
  const tail = split === 'tail' || valFraction === 0 || (split === 'auto' && empty);
  const whole = sets.train.tokens > 0 ? 'train' : 'val';
  const sides: ('train' | 'val')[] = tail ? [whole] : ['train', 'val'];
  const parts = sides.flatMap((set) => {
    const as = tail ? 'all' : set;
    const { writer, answers } = sets[set];
    const ids: { as: ShardSet; from: Shard[] } = { as, from: writer.shards };
    return answers ? [ids, { as: `${as}-answers` as const, from: answers.shards }] : [ids];
  });
  const counts = tail
    ? tailCounts(folder, sets[whole].writer.shards, sets[whole], kind, options.tokenizer, recipe)
    : { cut: null, train: sets.train.counts(), val: sets.val.counts() };
  const manifest: Manifest = {
    format: 1,
    key,
    tokenizer: { hash: recipe.tokenizerHash, vocabSize: recipe.vocabSize, endOfText: recipe.endOfText },
    dtype: idBytes(recipe.vocabSize) === 4 ? 'uint32' : 'uint16',
    options: recipe.options,
    sources,
    licence: licenceOf(options.paths?.[0] ?? options.path ?? '') ?? null,
    split: { kind: tail ? 'tail' : 'hash', valFraction, cut: counts.cut },
    train: counts.train,
    val: counts.val,
    shards: parts.map(({ as, from }) => ({ set: as, files: renamed(from, `${key.slice(0, 8)}-${as}`) })),
    ...(options.dialogues ? { dialogues: options.dialogues.words } : {}),
    rows,
  };
  return { manifest, from: parts.flatMap((p) => p.from) };
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

/** Names that we give to shards. */
export const isShardName = (name: string): boolean => /^[0-9a-f]{8}-(train|val|all)(-answers)?-\d{5}\.tokens$/.test(name);

/** Shards of an earlier manifest. Only names that we make are touched. */
export function removeOldShards(outDir: string, manifest: Manifest, fs: WriteFs): void {
  const kept = new Set(manifest.shards.flatMap((s) => s.files.map((f) => f.file)));
  for (const name of readdirSync(outDir)) {
    if (isShardName(name) && !kept.has(name)) fs.rmSync(join(outDir, name), { force: true });
  }
}
