import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beamSearch, type Writer } from '../../src/generate/index.ts';
import { openSafetensors } from '../../src/io/index.ts';

/** What an oracle computed: name → shape and values. */
export type Golden = Map<string, { shape: readonly number[]; values: Int32Array | Float32Array }>;

export function readGolden(path: string): Golden {
  const file = openSafetensors(path);
  const tensors: Golden = new Map();
  for (const [key, { dtype, shape }] of file.tensors) {
    const { buffer } = file.read(key).slice();
    tensors.set(key, { shape, values: dtype === 'I32' ? new Int32Array(buffer) : new Float32Array(buffer) });
  }
  file.close();
  return tensors;
}
export const goldenRoot = (folder: string): string => fileURLToPath(new URL(folder, import.meta.url));
/** What beam search of the oracle found, for each of some settings: texts with their end id, best first. */
export interface GoldenBeams {
  end: number;
  maxTokens: number;
  found: { beams: number; lengthPenalty: number; earlyStopping: boolean | 'never'; texts: number[][]; scores: number[] }[];
}
export const oracleOf = (folder: string): { torch: string; transformers: string; parameters?: number; beams?: GoldenBeams } =>
  JSON.parse(readFileSync(`${folder}/oracle.json`, 'utf8'));

/** Whether beam search finds the very texts of the oracle, in its order, with its scores. */
export async function sameBeams(
  model: Writer,
  prompt: readonly number[],
  { end, maxTokens, found }: GoldenBeams,
): Promise<boolean> {
  for (const { beams, lengthPenalty, earlyStopping, texts, scores } of found) {
    const ours = await beamSearch(model, prompt, { beams, maxTokens, lengthPenalty, earlyStopping, endIds: [end] });
    const written = ours.map(({ ids, ended }) => (ended ? [...ids, end] : ids));
    const near = ours.every(({ score }, i) => Math.abs(score - scores[i]) <= 1e-4 * Math.max(1, Math.abs(scores[i])));
    if (JSON.stringify(written) !== JSON.stringify(texts) || !near) return false;
  }
  return true;
}

/** max |a − b|. */
export function largest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} numbers beside ${b.length}`);
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    worst = d > worst || Number.isNaN(d) ? d : worst;
  }
  return worst;
}
/** max |a − b| / max |b|, with 10⁻³ for a smaller max |b|: the gradient of a bias on the keys is 0 but for rounding. */
export function largestRelative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let size = 1e-3;
  for (let i = 0; i < b.length; i++) size = Math.max(size, Math.abs(b[i]));
  return largest(a, b) / size;
}

/** One line of `npm run parity`: a configuration, what it was compared with, and how far apart the two are at most. */
export interface ParityRow {
  family: string;
  configuration: string;
  oracle: string;
  parameters: number;
  /** Largest differences; gradients relative to the largest of each tensor. */
  hidden: number;
  logits: number;
  loss: number;
  gradients: number;
  /** undefined: the model does not write. */
  greedy?: boolean;
  /** Every text of every beam search, and its score within 1e-4; undefined: not compared. */
  beams?: boolean;
}
/** The bounds of issue 5. */
export const bounds = { hidden: 1e-4, logits: 1e-4, loss: 1e-5, gradients: 1e-3 };
