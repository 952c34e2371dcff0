// B batch · T tokens · S tokens seen · C = dModel channels · H heads · G key-value heads · D head channels

import { dropout, Linear, RMSNorm } from '../nn/index.ts';
import { check, type Rng, type Tensor } from '../tensor/index.ts';
import type { LayerContext } from './context.ts';
import type { Rotary } from './positions.ts';
import { attention } from './scaled-dot-product.ts';

export interface SelfAttentionOptions {
  dModel: number;
  nHead: number;
  /** Key-value heads, each shared by nHead/nKvHead query heads: nHead is multi-head, 1 is multi-query. Ainslie et al. 2023. */
  nKvHead?: number;
  headDim?: number;
  bias?: boolean;
  /** Normalises queries and keys before their product. Henry et al. 2020. */
  qkNorm?: boolean;
  rotary?: Rotary;
  causal?: boolean;
  /** Places to the left that a token sees; all of them when left out. */
  window?: number;
  /** Dropout of the attention weights. */
  dropout?: number;
  std: number;
  residualStd: number;
  rng: Rng;
}

/** Multi-head self-attention: concat(head₁ … head_H) Wₒ, headᵢ = Attention(x W_qᵢ, x W_kᵢ, x W_vᵢ). Vaswani et al. 2017, §3.2.2. */
export class SelfAttention {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly outProj: Linear;
  readonly qNorm?: RMSNorm;
  readonly kNorm?: RMSNorm;
  readonly #o: SelfAttentionOptions;

  constructor(o: SelfAttentionOptions) {
    const { dModel, nHead, nKvHead = nHead, headDim = dModel / nHead, bias = false, std, residualStd, rng } = o;
    check(Number.isInteger(headDim), `dModel (${dModel}) must be a multiple of nHead (${nHead})`);
    check(nHead % nKvHead === 0, `nHead (${nHead}) must be a multiple of nKvHead (${nKvHead})`);
    this.#o = o;
    this.qProj = new Linear(dModel, nHead * headDim, { bias, std, rng });
    this.kProj = new Linear(dModel, nKvHead * headDim, { bias, std, rng });
    this.vProj = new Linear(dModel, nKvHead * headDim, { bias, std, rng });
    this.outProj = new Linear(nHead * headDim, dModel, { bias, std: residualStd, rng });
    if (o.qkNorm) {
      this.qNorm = new RMSNorm(headDim);
      this.kNorm = new RMSNorm(headDim);
    }
  }

  /** x (B, T, C) → (B, T, C) */
  forward(x: Tensor, ctx: LayerContext = {}): Tensor {
    const { dModel, nHead: H, nKvHead: G = H, rotary, causal = true, window, dropout: p = 0 } = this.#o;
    x.dims('B T C', { C: dModel });
    let q = this.qProj.forward(x).rearrange('B T (H D) -> B H T D', { H });
    let k = this.kProj.forward(x).rearrange('B T (G D) -> B G T D', { G });
    let v = this.vProj.forward(x).rearrange('B T (G D) -> B G T D', { G });
    if (this.qNorm && this.kNorm) {
      q = this.qNorm.forward(q);
      k = this.kNorm.forward(k);
    }
    const start = ctx.cache?.length ?? 0; // tokens the cache already holds
    if (rotary) {
      q = rotary.apply(q, start);
      k = rotary.apply(k, start);
    }
    if (ctx.cache) [k, v] = ctx.cache.append(k, v); // (B, G, S, D)

    const y = attention(q, k, v, {
      causal,
      window,
      record: ctx.record,
      dropout: ctx.rng && p > 0 ? { p, seed: ctx.rng.fork() } : undefined,
    });
    return dropout(this.outProj.forward(y.rearrange('B H T D -> B T (H D)')), p, ctx);
  }
}
