// B batch · T tokens · C = dModel channels · H heads · G key-value heads · D head channels · F MLP width · V vocabulary

import {
  type AttentionCache,
  type Context,
  type LayerContext,
  type RopeScaling,
  Rotary,
  SelfAttention,
} from '../attention/index.ts';
import { dropout, Embedding, GeGLU, RMSNorm } from '../nn/index.ts';
import { check, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import { type Decoder, type DecoderConfig, layerCaches, throughBlocks, forward, loss, nextLogits, embedded } from './decoder.ts';

export interface GemmaConfig extends DecoderConfig {
  nKvHead?: number;
  /** Channels a head; not bound to dModel/nHead. */
  headDim?: number;
  dFF?: number;
  /** Scores are divided by √queryScale; headDim when left out. */
  queryScale?: number;
  /** Places to the left that the local layers see. */
  window: number;
  /** Layer i is global when (i + 1) is a multiple of it: 2 in Gemma 2, 6 in Gemma 3. */
  globalEvery?: number;
  /** The base of the angles, of the global layers and of the local ones (Gemma 3: 10⁶ and 10⁴); one for both when the second is left out. */
  ropeBase?: number;
  localRopeBase?: number;
  /** Of the global layers. */
  ropeScaling?: RopeScaling;
  /** c·tanh(x/c) on the scores and on the logits; Gemma 2: 50 and 30. */
  attnSoftcap?: number;
  logitSoftcap?: number;
  /** RMS norm of queries and keys (Gemma 3, where it takes the place of the caps). */
  qkNorm?: boolean;
  normEps?: number;
  dropout?: number;
}

export const gemmaDefaults = (c: GemmaConfig) => ({
  nKvHead: c.nHead,
  headDim: c.dModel / c.nHead,
  dFF: 4 * c.dModel,
  queryScale: c.headDim ?? c.dModel / c.nHead,
  globalEvery: 2,
  ropeBase: 10_000,
  localRopeBase: c.ropeBase ?? 10_000,
  qkNorm: false,
  normEps: 1e-6,
  dropout: 0,
  ...c,
});
type Config = ReturnType<typeof gemmaDefaults>;

/** What Gemma's norms add to their weights, which begin at 0. */
const OFFSET = 1;
const STD = 0.02;

/** Sandwich norm: each branch is normed before it reads and before it is added. */
class Block {
  readonly attnNorm: RMSNorm;
  readonly attn: SelfAttention;
  readonly attnOutNorm: RMSNorm;
  readonly mlpNorm: RMSNorm;
  readonly mlp: GeGLU;
  readonly mlpOutNorm: RMSNorm;
  readonly #dropout: number;

  constructor(c: Config, rotary: Rotary, window: number | undefined, rng: Rng) {
    const { dModel, nHead, nKvHead, headDim, dFF, queryScale, attnSoftcap: softcap, qkNorm, normEps, dropout: p } = c;
    const std = { std: STD, residualStd: STD, rng };
    const norm = (): RMSNorm => new RMSNorm(dModel, normEps, OFFSET);
    this.#dropout = p;
    this.attnNorm = norm();
    this.attn = new SelfAttention({
      ...{ dModel, nHead, nKvHead, headDim, rotary, window, softcap, dropout: p, ...std },
      ...{ scale: queryScale ** -0.5, qkNorm, normEps, normOffset: OFFSET },
    });
    this.attnOutNorm = norm();
    this.mlpNorm = norm();
    this.mlp = new GeGLU({ dModel, dFF, bias: false, ...std });
    this.mlpOutNorm = norm();
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    return tidy(() => {
      x = tidy(() => x.add(this.attnOutNorm.forward(this.attn.forward(this.attnNorm.forward(x), ctx))), 'attention');
      return x.add(dropout(this.mlpOutNorm.forward(this.mlp.forward(this.mlpNorm.forward(x))), this.#dropout, ctx));
    }, 'block');
  }
}

/** Gemma 2 and 3: local and global layers in turns, norms on both sides of a branch, GELU gates, tied weights. Gemma Team 2024, 2025. */
export class Gemma implements Decoder {
  readonly config: Config;
  readonly rotary: Rotary;
  readonly localRotary: Rotary;
  readonly tokenEmbedding: Embedding;
  readonly blocks: Block[];
  readonly norm: RMSNorm;
  readonly unevenRows = true;
  readonly forward = forward(this);
  readonly nextLogits = nextLogits(this);
  readonly loss = loss(this);

  constructor(config: GemmaConfig, rng: Rng) {
    this.config = gemmaDefaults(config);
    const { vocabSize, dModel, headDim, nLayer, window, ropeBase, localRopeBase, ropeScaling, normEps } = this.config;
    check(headDim % 2 === 0, `headDim (${headDim}) must be even: rotary positions turn pairs of channels`);
    this.rotary = new Rotary(headDim / 2, ropeBase, false, ropeScaling);
    this.localRotary = new Rotary(headDim / 2, localRopeBase);
    this.tokenEmbedding = new Embedding(vocabSize, dModel, { std: STD, rng });
    this.blocks = Array.from({ length: nLayer }, (_, i) =>
      this.#isGlobal(i)
        ? new Block(this.config, this.rotary, undefined, rng)
        : new Block(this.config, this.localRotary, window, rng),
    );
    this.norm = new RMSNorm(dModel, normEps, OFFSET);
  }

  #isGlobal(layer: number): boolean {
    return (layer + 1) % this.config.globalEvery === 0;
  }
  /** The last hidden states (B, T, C), normed. */
  hidden(ids: Int32Array, shape: readonly [number, number], ctx: Context = {}): Tensor {
    const x = embedded(this, ids, shape, ctx, Math.sqrt(this.config.dModel)); // √C: one matrix serves input and output
    return this.norm.forward(throughBlocks(this.blocks, x, ctx));
  }
  newCaches(B: number, length = this.config.contextLength): AttentionCache[] {
    return layerCaches(B, length, this.config, (i) => (this.#isGlobal(i) ? undefined : this.config.window));
  }
}
