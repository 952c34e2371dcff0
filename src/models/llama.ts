// B batch · T tokens · C = dModel channels · H heads · G key-value heads · D head channels · F MLP width · V vocabulary

import {
  type AttentionCache,
  type Context,
  type LayerContext,
  type RopeScaling,
  Rotary,
  SelfAttention,
} from '../attention/index.ts';
import { dropout, Embedding, Linear, RMSNorm, SwiGLU } from '../nn/index.ts';
import { check, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import { type Decoder, type DecoderConfig, layerCaches, throughBlocks, forward, loss, nextLogits, embedded } from './decoder.ts';

export interface LlamaConfig extends DecoderConfig {
  /** Key-value heads; nHead when left out. */
  nKvHead?: number;
  /** MLP width; 8/3·dModel rounded up to a multiple of 32 when left out, so that three matrices cost what GPT's two do. Shazeer 2020. */
  dFF?: number;
  /** Channels a head; dModel/nHead when left out. */
  headDim?: number;
  ropeBase?: number;
  /** Stretches the angles for texts longer than those of the training (Llama 3.1: llama3). */
  ropeScaling?: RopeScaling;
  /** Channels of a head that turn; all of them when left out (Phi-4 mini: three quarters). */
  rotaryDim?: number;
  /** Every n-th layer has no positions at all (SmolLM 3: 4). Kazemnejad et al. 2023. */
  noRopeEvery?: number;
  /** Places to the left that a token sees (Mistral 7B v0.1: 4095). */
  window?: number;
  /** Biases on queries, keys and values (Qwen 2). */
  qkvBias?: boolean;
  normEps?: number;
  /** RMS norm of queries and keys (Qwen 3). */
  qkNorm?: boolean;
  /** Output weights shared with the embedding. */
  tied?: boolean;
  dropout?: number;
}

/** Llama's σ. */
export const STD = 0.02;
/** As in GPT-2: 2·nLayer branches add to the residual stream. */
export const residualStd = (nLayer: number): number => STD / Math.sqrt(2 * nLayer);

export const llamaDefaults = (c: LlamaConfig) => ({
  nKvHead: c.nHead,
  headDim: c.dModel / c.nHead,
  rotaryDim: c.headDim ?? c.dModel / c.nHead,
  qkvBias: false,
  dFF: Math.ceil((8 * c.dModel) / 3 / 32) * 32,
  ropeBase: 10_000,
  normEps: 1e-6,
  qkNorm: false,
  tied: true,
  dropout: 0,
  ...c,
});
type Config = ReturnType<typeof llamaDefaults>;

/** Grouped-query attention with rotary positions, as all models with Llama's attention have it. */
export function llamaAttention(c: Config, rotary: Rotary | undefined, rng: Rng): SelfAttention {
  const { dModel, nHead, nKvHead, headDim, nLayer, normEps, qkNorm, qkvBias, window, dropout: p } = c;
  const heads = { dModel, nHead, nKvHead, headDim, bias: qkvBias, outBias: false, qkNorm, normEps };
  return new SelfAttention({ ...heads, rotary, window, dropout: p, std: STD, residualStd: residualStd(nLayer), rng });
}

/** Pre-norm block: grouped-query attention with rotary positions, then a gated MLP. */
class Block {
  readonly attnNorm: RMSNorm;
  readonly attn: SelfAttention;
  readonly mlpNorm: RMSNorm;
  readonly mlp: SwiGLU;
  readonly #dropout: number;

  constructor(config: Config, rotary: Rotary | undefined, rng: Rng) {
    const { dModel, nLayer, dFF, normEps, dropout: p } = config;
    this.#dropout = p;
    this.attnNorm = new RMSNorm(dModel, normEps);
    this.attn = llamaAttention(config, rotary, rng);
    this.mlpNorm = new RMSNorm(dModel, normEps);
    this.mlp = new SwiGLU({ dModel, dFF, bias: false, std: STD, residualStd: residualStd(nLayer), rng });
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    return tidy(() => {
      x = tidy(() => x.add(this.attn.forward(this.attnNorm.forward(x), ctx)), 'attention');
      return x.add(dropout(this.mlp.forward(this.mlpNorm.forward(x)), this.#dropout, ctx));
    }, 'block');
  }
}

/**
 * Llama: rotary positions, RMSNorm, SwiGLU, grouped-query attention, no biases. Touvron et al. 2023. By its settings also Mistral (window),
 * Qwen 2 (biases), Qwen 3 (QK-norm), SmolLM 3 (layers without positions) and Phi-3.
 */
export class Llama implements Decoder {
  readonly config: Config;
  readonly rotary: Rotary;
  readonly tokenEmbedding: Embedding;
  readonly blocks: Block[];
  readonly norm: RMSNorm;
  readonly lmHead?: Linear;
  readonly unevenRows = true;
  readonly forward = forward(this);
  readonly nextLogits = nextLogits(this);
  readonly loss = loss(this);

  constructor(config: LlamaConfig, rng: Rng) {
    this.config = llamaDefaults(config);
    const { vocabSize, dModel, nHead, headDim, rotaryDim, nLayer, ropeBase, ropeScaling, noRopeEvery, normEps, tied } =
      this.config;
    check(
      config.headDim !== undefined || dModel % (2 * nHead) === 0,
      `dModel (${dModel}) must be a multiple of 2·nHead (${2 * nHead}): rotary positions turn pairs of channels`,
    );
    check(
      rotaryDim % 2 === 0 && rotaryDim <= headDim,
      `rotaryDim (${rotaryDim}) must be even and at most headDim (${headDim}): rotary positions turn pairs of channels`,
    );
    this.rotary = new Rotary(rotaryDim / 2, ropeBase, false, ropeScaling);
    const turns = (i: number): boolean => !noRopeEvery || (i + 1) % noRopeEvery !== 0;
    this.tokenEmbedding = new Embedding(vocabSize, dModel, { std: STD, rng });
    this.blocks = Array.from({ length: nLayer }, (_, i) => new Block(this.config, turns(i) ? this.rotary : undefined, rng));
    this.norm = new RMSNorm(dModel, normEps);
    if (!tied) this.lmHead = new Linear(dModel, vocabSize, { bias: false, std: STD, rng });
  }

  /** The last hidden states (B, T, C), normed. */
  hidden(ids: Int32Array, shape: readonly [number, number], ctx: Context = {}): Tensor {
    return this.norm.forward(throughBlocks(this.blocks, embedded(this, ids, shape, ctx), ctx));
  }
  newCaches(B: number, length = this.config.contextLength): AttentionCache[] {
    return layerCaches(B, length, this.config, () => this.config.window);
  }
}
