// B batch · T tokens · S tokens seen · C = dModel channels · H heads · G key-value heads · D head channels

import { dropout, Linear, RMSNorm } from '../nn/index.ts';
import { check, type Rng, Tensor } from '../tensor/index.ts';
import type { LayerContext } from './context.ts';
import type { PositionBias } from './relative-bias.ts';
import type { Rotary } from './rotary.ts';
import { attention } from './scaled-dot-product.ts';
import { keysSeen, nextPlace } from './uneven-rows.ts';

export interface SelfAttentionOptions {
  dModel: number;
  nHead: number;
  /** Key-value heads, each shared by nHead/nKvHead query heads: nHead is multi-head, 1 is multi-query. Ainslie et al. 2023. */
  nKvHead?: number;
  headDim?: number;
  bias?: boolean;
  /** Of the output projection; `bias` when left out. Qwen 2 has biases on queries, keys and values alone. */
  outBias?: boolean;
  /** Normalises queries and keys before their product. Henry et al. 2020. */
  qkNorm?: boolean;
  normEps?: number;
  /** 1 in Gemma, whose norms multiply by 1 + w. */
  normOffset?: number;
  rotary?: Pick<Rotary, 'apply'>;
  /** ALiBi, or T5's relative positions: added to the scores. Not owned: one may serve all layers. */
  positionBias?: PositionBias;
  causal?: boolean;
  /** Places to the left that a token sees; all of them when left out. */
  window?: number;
  /** Multiplies q·k; 1/√D when left out. */
  scale?: number;
  /** scores ← c·tanh(scores/c). Gemma 2 */
  softcap?: number;
  /** A learned score a head that takes weight and gives nothing, so that a head may look nowhere. Xiao et al. 2023; gpt-oss */
  sinks?: boolean;
  /** Each channel of the heads' output times sigmoid(x W_g). Qiu et al. 2025 */
  gated?: boolean;
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
  readonly sinks?: Tensor;
  readonly gateProj?: Linear;
  readonly #o: SelfAttentionOptions;

  constructor(o: SelfAttentionOptions) {
    const { dModel, nHead, nKvHead = nHead, headDim = dModel / nHead, bias = false, std, residualStd, rng } = o;
    check(Number.isInteger(headDim), `dModel (${dModel}) must be a multiple of nHead (${nHead})`);
    check(nHead % nKvHead === 0, `nHead (${nHead}) must be a multiple of nKvHead (${nKvHead})`);
    this.#o = o;
    this.qProj = new Linear(dModel, nHead * headDim, { bias, std, rng });
    this.kProj = new Linear(dModel, nKvHead * headDim, { bias, std, rng });
    this.vProj = new Linear(dModel, nKvHead * headDim, { bias, std, rng });
    this.outProj = new Linear(nHead * headDim, dModel, { bias: o.outBias ?? bias, std: residualStd, rng });
    if (o.qkNorm) {
      this.qNorm = new RMSNorm(headDim, o.normEps, o.normOffset);
      this.kNorm = new RMSNorm(headDim, o.normEps, o.normOffset);
    }
    if (o.sinks) this.sinks = Tensor.zeros([nHead]).asParameter();
    if (o.gated) this.gateProj = new Linear(dModel, nHead * headDim, { bias: false, std, rng });
  }

  /** x (B, T, C) → (B, T, C) */
  forward(x: Tensor, ctx: LayerContext = {}): Tensor {
    const {
      dModel,
      nHead: H,
      nKvHead: G = H,
      rotary,
      positionBias,
      causal = true,
      window,
      scale,
      softcap,
      dropout: p = 0,
    } = this.#o;
    x.dims('B T C', { C: dModel });
    let q = this.qProj.forward(x).rearrange('B T (H D) -> B H T D', { H });
    let k = this.kProj.forward(x).rearrange('B T (G D) -> B G T D', { G });
    let v = this.vProj.forward(x).rearrange('B T (G D) -> B G T D', { G });
    if (this.qNorm && this.kNorm) {
      q = this.qNorm.forward(q);
      k = this.kNorm.forward(k);
    }
    const start = nextPlace(ctx.cache);
    if (rotary) {
      q = rotary.apply(q, start);
      k = rotary.apply(k, start);
    }
    if (ctx.cache) [k, v] = ctx.cache.append(k, v); // (B, G, S, D)

    const y = attention(q, k, v, {
      causal: causal && ctx.causal !== false,
      scale,
      softcap,
      sinks: this.sinks,
      bias: positionBias?.bias(q.shape[2], k.shape[2]),
      mask: ctx.mask,
      ...keysSeen(ctx.cache, k.shape[2], window),
      record: ctx.record,
      dropout: ctx.rng && p > 0 ? { p, seed: ctx.rng.fork() } : undefined,
    });
    let heads = y.rearrange('B H T D -> B T (H D)');
    if (this.gateProj) heads = heads.mul(this.gateProj.forward(x).sigmoid());
    return dropout(this.outProj.forward(heads), p, ctx);
  }
}
