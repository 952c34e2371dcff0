// Beam search: the n most probable beginnings are continued side by side. n = beams · V vocabulary

import type { AttentionCache } from '../attention/index.ts';
import { noGrad, tidy } from '../tensor/index.ts';
import type { Writer } from './generate.ts';

export interface BeamOptions {
  /** Beginnings that are kept; 1 is greedy. */
  beams?: number;
  /** Ids to write at most, the one that ends a text counted; up to the end of the model's context when left out. */
  maxTokens?: number;
  /** α of the score log p / lengthᵅ: above 0 favours long texts, below 0 short ones. Wu et al. 2016, §7 use another form; this is transformers'. */
  lengthPenalty?: number;
  /**
   * When `beams` texts have ended: true stops at once; false when the best open beginning, scored at its present length, is no better than the worst
   * of them; 'never' only when it could not become better at any length allowed (exact for a penalty of 0).
   */
  earlyStopping?: boolean | 'never';
  /** Ids that end a text. */
  endIds?: readonly number[];
}

/** One text that the search found. */
export interface Hypothesis {
  /** What was written, without the id that ended it. */
  ids: number[];
  /** Σ log p / lengthᵅ, in nats, over all ids, the end counted. */
  score: number;
  /** Whether an end id was written, rather than maxTokens. */
  ended: boolean;
}

/** A beginning: its ids, Σ log p, and the sequence of the caches that holds it. */
interface Beginning {
  ids: number[];
  logProb: number;
  row: number;
}

/**
 * The best texts that continue `prompt`, at most `beams` of them, best first. Decoder-only models continue the prompt; for an encoder-decoder pass its
 * SourceWriter and the start id. Equal to `generate(num_beams, length_penalty, early_stopping)` of transformers.
 */
export async function beamSearch(model: Writer, prompt: readonly number[], options: BeamOptions = {}): Promise<Hypothesis[]> {
  const { contextLength, vocabSize: V } = model.config;
  const { beams: n = 4, lengthPenalty = 1, earlyStopping = false, endIds = [] } = options;
  const { maxTokens = contextLength - prompt.length + 1 } = options;
  checkRequest(prompt, n, maxTokens, contextLength);
  const caches = model.newCaches(n, Math.min(contextLength, prompt.length + maxTokens - 1));
  const scoreOf = (logProb: number, length: number): number => logProb / length ** lengthPenalty;
  let open: Beginning[] = Array.from({ length: n }, (_, row) => ({ ids: [], logProb: row === 0 ? 0 : -Infinity, row }));
  let ended: Hypothesis[] = [];
  try {
    for (let length = 1; ; length++) {
      const read = length === 1 ? [...prompt] : undefined;
      const logits = await nextLogits(model, caches, read ? open.map(() => read) : open.map((b) => [b.ids[length - 2]]));
      // n continuations may end for each end id; n more are enough to go on with.
      const best = bestContinuations(open, logits, V, n * Math.max(2, 1 + endIds.length));
      const ends = (ids: readonly number[]): boolean => endIds.includes(ids[length - 1]);

      const done = best.slice(0, n).filter(({ ids }) => length === maxTokens || ends(ids)); // the others are a reserve
      for (const { ids, logProb } of done)
        ended.push({ ids: ends(ids) ? ids.slice(0, -1) : ids, score: scoreOf(logProb, length), ended: ends(ids) });
      ended = ended.sort((a, b) => b.score - a.score).slice(0, n);

      open = best.filter(({ ids }) => !ends(ids)).slice(0, n);
      while (open.length < n) open.push({ ...open[0], logProb: -Infinity }); // a vocabulary smaller than the beam
      if (length === maxTokens || (ended.length === n && isSettled(open[0], ended, length))) return ended;
      for (const cache of caches) cache.select(open.map((b) => b.row));
    }
  } finally {
    for (const cache of caches) cache[Symbol.dispose]();
  }

  /** Whether no open beginning is expected to become better than the worst text that has ended. */
  function isSettled(first: Beginning, texts: readonly Hypothesis[], length: number): boolean {
    if (earlyStopping === true) return true;
    const longest = earlyStopping === 'never' && lengthPenalty > 0 ? maxTokens : length;
    return scoreOf(first.logProb, longest) <= texts[texts.length - 1].score;
  }
}

function checkRequest(prompt: readonly number[], beams: number, maxTokens: number, contextLength: number): void {
  if (!(Number.isInteger(beams) && beams >= 1)) throw new RangeError(`beamSearch: beams is ${beams}; give a whole number from 1`);
  if (prompt.length === 0)
    throw new RangeError(
      'beamSearch: the prompt is empty; give at least one id (an end-of-text token, or the start id of a decoder)',
    );
  if (!(maxTokens >= 1 && prompt.length + maxTokens - 1 <= contextLength))
    throw new RangeError(
      `beamSearch: a prompt of ${prompt.length} ids and ${maxTokens} more do not fit a context of ${contextLength}; give a shorter prompt or fewer maxTokens`,
    );
}

/** Logits (n, V) after the new ids of every row. */
async function nextLogits(model: Writer, caches: readonly AttentionCache[], rows: readonly number[][]): Promise<Float32Array> {
  const ids = Int32Array.from(rows.flat());
  const logits = tidy(() => noGrad(() => model.nextLogits(ids, [rows.length, rows[0].length], { caches })));
  const read = logits.read() as Promise<Float32Array>;
  logits.free();
  return read;
}

/** The `count` most probable of all beginnings continued by all ids, best first; `row` is where the beginning was. */
function bestContinuations(open: readonly Beginning[], logits: Float32Array, V: number, count: number): Beginning[] {
  const best: { logProb: number; row: number; id: number }[] = [];
  for (const [row, { logProb: before }] of open.entries()) {
    if (before === -Infinity) continue; // at the start all rows are the same text
    const scores = logits.subarray(row * V, (row + 1) * V);
    const lse = logSumExp(scores);
    for (let id = 0; id < V; id++) {
      const logProb = before + scores[id] - lse;
      if (best.length === count && logProb <= best[count - 1].logProb) continue;
      let at = best.length;
      while (at > 0 && best[at - 1].logProb < logProb) at--;
      best.splice(at, 0, { logProb, row, id });
      if (best.length > count) best.pop();
    }
  }
  return best.map(({ logProb, row, id }) => ({ ids: [...open[row].ids, id], logProb, row }));
}

/** ln Σ eˣ */
function logSumExp(x: Float32Array): number {
  let greatest = -Infinity;
  for (const v of x) greatest = Math.max(greatest, v);
  let sum = 0;
  for (const v of x) sum += Math.exp(v - greatest);
  return greatest + Math.log(sum);
}
