// B batch · S source tokens · T target tokens · C = dModel channels · H heads · F MLP width · V vocabulary

import {
  type Context,
  CrossAttention,
  inLayer,
  KVCache,
  type LayerContext,
  paddingMask,
  SelfAttention,
  sinusoidalPositions,
} from '../attention/index.ts';
import { dropout, Embedding, LayerNorm, MLP } from '../nn/index.ts';
import { linear, linearCrossEntropy, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import type { EncoderContext } from './bert.ts';
import { type DecodeContext, type EncoderDecoder, type PairBatch, targetStates } from './encoder-decoder.ts';

export interface TransformerConfig {
  /** One vocabulary for source and target, one matrix for both embeddings and the output. Vaswani et al. 2017, §3.4. */
  vocabSize: number;
  /** Room of the caches while writing; sinusoidal positions have no limit. */
  contextLength?: number;
  /** Blocks of the encoder, and of the decoder. */
  nLayer: number;
  nHead: number;
  dModel: number;
  dFF?: number;
  /** Norm before each branch instead of after each sum: it trains without warm-up. Xiong et al. 2020. */
  preNorm?: boolean;
  /** Of the embeddings and of what each branch adds. */
  dropout?: number;
  /** ε: the target gets 1 − ε of the probability. 0.1 in the paper. */
  labelSmoothing?: number;
  normEps?: number;
}

export const transformerDefaults = (c: TransformerConfig) => ({
  contextLength: 512,
  dFF: 4 * c.dModel,
  preNorm: false,
  dropout: 0,
  labelSmoothing: 0,
  normEps: 1e-5,
  ...c,
});
type Config = Required<TransformerConfig>;

/**
 * σ·√C of the embedding, which is the output matrix, too. With 1, as in the authors' own program, tokens are as loud as the sines that are added to them, and
 * the first loss is half a nat above ln V; with 0.3 it is ln V ± 0.1, and tokens are heard from the first step.
 */
const EMBEDDING_STD = 0.3;

/** Xavier's σ = √(2/(dIn + dOut)): the signal keeps its size forwards and backwards. Glorot & Bengio 2010, eq. 12. */
const xavier = (dIn: number, dOut: number): number => Math.sqrt(2 / (dIn + dOut));

/** Self-attention, in a decoder cross-attention, then the MLP. Post-norm: x ← norm(x + f(x)); pre-norm: x ← x + f(norm(x)). */
class Block {
  readonly attn: SelfAttention;
  readonly attnNorm: LayerNorm;
  readonly cross?: CrossAttention;
  readonly crossNorm?: LayerNorm;
  readonly mlp: MLP;
  readonly mlpNorm: LayerNorm;
  readonly #config: Config;

  constructor(c: Config, kind: 'encoder' | 'decoder', rng: Rng) {
    const { dModel, nHead, dFF, dropout: p, normEps: eps } = c;
    this.#config = c;
    const std = xavier(dModel, dModel);
    const site = { dModel, nHead, bias: true, dropout: p, std, residualStd: std, rng };
    this.attn = new SelfAttention({ ...site, causal: kind === 'decoder' });
    this.attnNorm = new LayerNorm(dModel, { eps });
    if (kind === 'decoder') {
      this.cross = new CrossAttention(site);
      this.crossNorm = new LayerNorm(dModel, { eps });
    }
    const mlpStd = xavier(dModel, dFF);
    this.mlp = new MLP({ dModel, dFF, bias: true, activation: 'relu', std: mlpStd, residualStd: mlpStd, rng });
    this.mlpNorm = new LayerNorm(dModel, { eps });
  }
  forward(x: Tensor, ctx: LayerContext, look?: (x: Tensor, cross: CrossAttention) => Tensor): Tensor {
    const { preNorm, dropout: p } = this.#config;
    const branch = (f: (x: Tensor) => Tensor, norm: LayerNorm): void => {
      x = preNorm ? x.add(f(norm.forward(x))) : norm.forward(x.add(f(x)));
    };
    return tidy(() => {
      branch((y) => this.attn.forward(y, ctx), this.attnNorm);
      if (look) branch((y) => look(y, this.cross!), this.crossNorm!);
      branch((y) => dropout(this.mlp.forward(y), p, ctx), this.mlpNorm);
      return x;
    }, 'block');
  }
}

/** N blocks; with pre-norm a last norm, since nothing else bounds the sum. */
class Stack {
  readonly blocks: Block[];
  readonly norm?: LayerNorm;

  constructor(c: Config, kind: 'encoder' | 'decoder', rng: Rng) {
    this.blocks = Array.from({ length: c.nLayer }, () => new Block(c, kind, rng));
    if (c.preNorm) this.norm = new LayerNorm(c.dModel, { eps: c.normEps });
  }
  /** x (B, T, C) → (B, T, C). A decoder's blocks look at `memory` (B, S, C). */
  forward(x: Tensor, ctx: DecodeContext, mask?: Tensor, memory?: Tensor): Tensor {
    for (const [i, block] of this.blocks.entries()) {
      const layer = inLayer(memory ? ctx : { ...ctx, mask }, i);
      const cache = ctx.crossCaches?.[i];
      x = block.forward(x, layer, memory && ((y, cross) => cross.forward(y, memory, { ...layer, mask, cache })));
      layer.record?.('output', x.detach());
    }
    return this.norm?.forward(x) ?? x;
  }
}

/** The Transformer: an encoder that reads all at once, a decoder that writes from left to right and looks at what was read. Vaswani et al. 2017. */
export class Transformer implements EncoderDecoder {
  readonly config: Config;
  readonly tokenEmbedding: Embedding;
  readonly encoder: Stack;
  readonly decoder: Stack;

  constructor(config: TransformerConfig, rng: Rng) {
    this.config = transformerDefaults(config);
    const { vocabSize, dModel } = this.config;
    this.tokenEmbedding = new Embedding(vocabSize, dModel, { std: EMBEDDING_STD / Math.sqrt(dModel), rng });
    this.encoder = new Stack(this.config, 'encoder', rng);
    this.decoder = new Stack(this.config, 'decoder', rng);
  }

  encode(ids: Int32Array, [B, S]: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    return this.encoder.forward(this.#embed(ids, [B, S], 0, ctx), ctx, ctx.lengths && paddingMask(ctx.lengths, S));
  }
  decode(ids: Int32Array, shape: readonly [number, number], memory: Tensor, ctx: DecodeContext = {}): Tensor {
    const { S } = memory.dims('B S C');
    const x = this.#embed(ids, shape, ctx.caches?.[0]?.length ?? 0, ctx);
    return this.decoder.forward(x, ctx, ctx.lengths && paddingMask(ctx.lengths, S), memory);
  }
  /** √C · E[id] + PE(place). §3.4, §3.5 */
  #embed(ids: Int32Array, [B, T]: readonly [number, number], start: number, ctx: Context): Tensor {
    const { dModel: C, dropout: p } = this.config;
    const tokens = this.tokenEmbedding.forward(ids, [B, T]).mul(Math.sqrt(C));
    const x = dropout(tokens.add(sinusoidalPositions(T, C, { start })), p, ctx);
    ctx.record?.('embeddings', x.detach());
    return x;
  }
  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.tokenEmbedding.weight);
  }
  loss(batch: PairBatch, ctx: Context = {}): Tensor {
    const labelSmoothing = ctx.rng ? this.config.labelSmoothing : 0; // a measure while evaluating, a teacher while training
    return linearCrossEntropy(targetStates(this, batch, ctx), this.tokenEmbedding.weight, batch.targets, { labelSmoothing });
  }
  newCaches(B: number, length = this.config.contextLength): KVCache[] {
    const { nLayer, nHead, dModel } = this.config;
    return Array.from({ length: nLayer }, () => new KVCache(B, nHead, length, dModel / nHead));
  }
}
