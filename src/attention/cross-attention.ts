// B batch · T tokens · S source tokens · C = dModel channels · M = dMemory source channels · H heads · G key-value heads · D head channels

import { dropout, Linear } from '../nn/index.ts';
import { check, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import type { LayerContext } from './context.ts';
import { attention } from './scaled-dot-product.ts';

export interface CrossAttentionOptions {
  dModel: number;
  nHead: number;
  nKvHead?: number;
  headDim?: number;
  /** Width of what is looked at; dModel when left out. */
  dMemory?: number;
  bias?: boolean;
  /** Multiplies q·k; 1/√D when left out, 1 in T5. */
  scale?: number;
  dropout?: number;
  std: number;
  residualStd: number;
  rng: Rng;
}

/** The second attention of an encoder-decoder: queries come from the decoder, keys and values from the encoder's output. Vaswani et al. 2017, §3.2.3. */
export class CrossAttention {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly outProj: Linear;
  readonly #o: CrossAttentionOptions;

  constructor(o: CrossAttentionOptions) {
    const { dModel, nHead, nKvHead = nHead, headDim = dModel / nHead, dMemory = dModel, bias = false, std, residualStd, rng } = o;
    check(Number.isInteger(headDim), `dModel (${dModel}) must be a multiple of nHead (${nHead})`);
    check(nHead % nKvHead === 0, `nHead (${nHead}) must be a multiple of nKvHead (${nKvHead})`);
    this.#o = o;
    this.qProj = new Linear(dModel, nHead * headDim, { bias, std, rng });
    this.kProj = new Linear(dMemory, nKvHead * headDim, { bias, std, rng });
    this.vProj = new Linear(dMemory, nKvHead * headDim, { bias, std, rng });
    this.outProj = new Linear(nHead * headDim, dModel, { bias, std: residualStd, rng });
  }

  /**
   * x (B, T, C), memory (B, S, M) → (B, T, C). `mask` hides padding of the memory. With a `cache` the memory is projected once, at the first call.
   */
  forward(x: Tensor, memory: Tensor, { mask, cache, ...ctx }: CrossContext = {}): Tensor {
    const { dModel, nHead: H, nKvHead: G = H, scale, dropout: p = 0 } = this.#o;
    x.dims('B T C', { C: dModel });
    const q = this.qProj.forward(x).rearrange('B T (H D) -> B H T D', { H });
    const project = (): [Tensor, Tensor] => [
      this.kProj.forward(memory).rearrange('B S (G D) -> B G S D', { G }),
      this.vProj.forward(memory).rearrange('B S (G D) -> B G S D', { G }),
    ];
    const [k, v] = cache ? cache.once(project) : project();
    const y = attention(q, k, v, {
      scale,
      mask,
      record: ctx.record && ((name, weights) => ctx.record!(`cross.${name}`, weights)),
      dropout: ctx.rng && p > 0 ? { p, seed: ctx.rng.fork() } : undefined,
    });
    return dropout(this.outProj.forward(y.rearrange('B H T D -> B T (H D)')), p, ctx);
  }
}

export interface CrossContext extends Pick<LayerContext, 'record' | 'rng'> {
  mask?: Tensor;
  cache?: CrossCache;
}

/** Keys and values of the encoder's output: the same for every token that the decoder writes, so they are computed once. Not for training. */
export class CrossCache implements Disposable {
  #held: [Tensor, Tensor] | undefined;

  once(project: () => [Tensor, Tensor]): [Tensor, Tensor] {
    if (!this.#held) {
      const [k, v] = tidy(project);
      this.#held = [k.contiguousCopy().asParameter().freeze(), v.contiguousCopy().asParameter().freeze()];
    }
    return this.#held;
  }
  /** Forgets the memory: the next call projects another one. */
  clear(): void {
    for (const t of this.#held ?? []) t.free('its cross cache was cleared');
    this.#held = undefined;
  }
  get bytes(): number {
    return (this.#held ?? []).reduce((n, t) => n + 4 * t.size, 0);
  }
  [Symbol.dispose](): void {
    this.clear();
  }
}
