// One vector a text, so that texts which belong together lie together. B batch · T tokens · C = dModel channels

import type { Tensor } from '../tensor/index.ts';
import type { Bert, EncoderContext } from './bert.ts';
import { meanPool } from './bert-heads.ts';

/** Rows of texts, the rest padding. */
export interface Texts {
  ids: Int32Array;
  shape: readonly [B: number, T: number];
  lengths: readonly number[];
}

/** BERT, and the mean over its real tokens. Reimers & Gurevych 2019, §3. What it learns by: InfoNCE over the batch (train/objectives.ts). */
export class SentenceEncoder {
  constructor(readonly bert: Bert) {}
  /** → (B, C), each of length 1: the product of two is the cosine of their angle. */
  forward({ ids, shape, lengths }: Texts, ctx: EncoderContext = {}): Tensor {
    return meanPool(this.bert.hidden(ids, shape, { ...ctx, lengths }), lengths);
  }
}
