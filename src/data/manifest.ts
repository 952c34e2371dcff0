/** `manifest.json` of a prepared folder: what was made from what. Written last, by one rename: that is the commit. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type WriteFs, writeFileAtomic } from './disk.ts';
import { ioFailed } from './errors.ts';
import type { Licence } from './licence.ts';
import type { FileIdentity } from './lines.ts';
import type { NotedKind, RefusedKind } from './rejects.ts';
import type { Shard } from './shards.ts';
import type { SourceKind } from './sources.ts';

export type ShardSet = 'train' | 'val' | 'all' | 'train-answers' | 'val-answers' | 'all-answers';

/** A chat template as text, with the special tokens that it calls by name (`bos_token` …). */
export interface ChatWords {
  template: string;
  specialTokens: Readonly<Record<string, string>>;
}

/** One side of the split. */
export interface SetCounts {
  tokens: number;
  documents: number;
  /** UTF-8 bytes and characters (code points) of the text behind the tokens: bits per byte = loss in nats · tokens / (bytes · ln 2). */
  bytes: number;
  characters: number;
  /** False where a tail split fell into a text whose bytes could not be told apart exactly; then `bytes` is a proportion (of the last piece only). */
  bytesExact: boolean;
  /** Of dialogues: tokens of answers, on which alone there is a loss. */
  answerTokens?: number;
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
  /** Token ids; of dialogues also, under `…-answers`, a 1 for each token of an answer and a 0 for each other one. */
  shards: { set: ShardSet; files: Shard[] }[];
  /** Of dialogues: the chat template that they were written by. */
  dialogues?: ChatWords;
  rows: { rows: number } & Record<RefusedKind | NotedKind, number>;
}

/** The manifest; a reason when it cannot be used; undefined when there is none. */
export function readManifest(outDir: string): Manifest | string | undefined {
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

export const writeManifest = (outDir: string, manifest: Manifest, fs: WriteFs) =>
  writeFileAtomic(join(outDir, 'manifest.json'), Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`), fs);
