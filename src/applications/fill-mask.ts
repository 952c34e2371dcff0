import type { MaskedLM } from '../models/index.ts';
import { noGrad, tidy } from '../tensor/index.ts';

export interface FilledMask {
  /** Its place in the ids. */
  at: number;
  /** The likeliest tokens, best first. */
  guesses: { id: number; probability: number }[];
}

/** What may stand under each mask of `ids`: the `k` likeliest tokens, all masks being seen at once. */
export async function fillMasks(model: MaskedLM, ids: Int32Array, maskId: number, k = 5): Promise<FilledMask[]> {
  const places = Int32Array.from(ids.keys()).filter((i) => ids[i] === maskId);
  if (places.length === 0) return [];
  const { vocabSize } = model.bert.config;
  const { values, indices } = tidy(() =>
    noGrad(() => {
      const logits = model.forward(ids, [1, ids.length]).reshape([ids.length, vocabSize]).rows(places); // (M, V)
      return logits.softmax().topK(Math.min(k, vocabSize));
    }),
  );
  const [p, best] = [(await values.read()) as Float32Array, (await indices.read()) as Int32Array];
  values.free();
  indices.free();
  const width = best.length / places.length;
  return Array.from(places, (at, m) => ({
    at,
    guesses: Array.from({ length: width }, (_, i) => ({ id: best[m * width + i], probability: p[m * width + i] })),
  }));
}
