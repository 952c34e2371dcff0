// Text as encoders read it, with tokens hidden. B batch · T tokens of a window

import { IGNORE_INDEX } from '../../data/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { Rng } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import { maskTokens } from '../../train/index.ts';
import { specialId } from '../special-tokens.ts';
import { wordNumbers } from '../words.ts';

/** The seed of what is random in micro-batch m, whatever came before. */
export const seedOf = (seed: number, m: number): number => new Rng(seed + 0x3a5c * (m + 1)).fork();

export interface Hidden {
  inputs: Int32Array;
  /** −100: not asked. */
  targets: Int32Array;
  targetTokens: number;
}

/** Hides tokens of texts as the settings say: other ones for every rng, whole words where they ask for it. @throws E165 no [MASK] */
export function hiding({ maskRate: rate, wholeWords }: TrainConfig, vocabSize: number, tokenizer: Tokenizer) {
  const maskId = specialId(tokenizer, 'mask');
  const special = new Set(tokenizer.specialTokens.values());
  return (ids: Int32Array, rng: Rng): Hidden => {
    const words = wholeWords ? wordNumbers(tokenizer, ids) : undefined;
    const { inputs, targets } = maskTokens(ids, { vocabSize, maskId, rate, special, words, rng });
    let targetTokens = targets.reduce((n, id) => n + (id === IGNORE_INDEX ? 0 : 1), 0);
    if (targetTokens === 0) {
      // So few tokens that none was drawn: a loss must be asked something.
      targets[1] = ids[1];
      inputs[1] = maskId;
      targetTokens = 1;
    }
    return { inputs, targets, targetTokens };
  };
}

/** [CLS] … [SEP]: rows of T tokens become rows of T + 2. @throws E165 */
export function framing(tokenizer: Tokenizer) {
  const [first, last] = (['first', 'last'] as const).map((name) => specialId(tokenizer, name));
  return (windows: Int32Array, [B, T]: readonly [number, number]): Int32Array => {
    const rows = new Int32Array(B * (T + 2));
    for (let b = 0; b < B; b++) {
      rows[b * (T + 2)] = first;
      rows.set(windows.subarray(b * T, (b + 1) * T), b * (T + 2) + 1);
      rows[(b + 1) * (T + 2) - 1] = last;
    }
    return rows;
  };
}
