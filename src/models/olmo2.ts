// B batch · T tokens · C = dModel channels · H heads · G key-value heads · D head channels · F MLP width · V vocabulary

import {
  attention,
  type AttentionCache,
  type Context,
  keysSeen,
  type LayerContext,
  nextPlace,
  Rotary,
} from '../attention/index.ts';
import { dropout, Embedding, Linear, RMSNorm, SwiGLU } from '../nn/index.ts';
import { check, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import { type Decoder, type DecoderConfig, layerCaches, throughBlocks, forward, loss, nextLogits, embedded } from './decoder.ts';

export interface Olmo2Config extends DecoderConfig {
  nKvHead?: number;
  dFF?: number;
  ropeBase?: number;
  normEps?: number;
  /** Output weights shared with the embedding. */
  tied?: boolean;
  dropout?: number;
}

export const olmo2Defaults = (c: Olmo2Config) => ({
  nKvHead: c.nHead,
  dFF: Math.ceil((8 * c.dModel) / 3 / 32) * 32,
  ropeBase: 500_000,
  normEps: 1e-6,
  tied: false,
  dropout: 0,
  ...c,
});
type Config = Required<Olmo2Config>;

const STD = 0.02;

/** Queries and keys are normed over all their heads together, before they are cut into heads. OLMo Team 2024, §3.3.2. */
class NormedAttention {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly outProj: Linear;
  readonly qNorm: RMSNorm;
  readonly kNorm: RMSNorm;
  readonly #config: Config;
  readonly #rotary: Rotary;

  constructor(config: Config, rotary: Rotary, rng: Rng) {
    const { dModel, nHead, nKvHead, normEps } = config;
    const dKv = (dModel / nHead) * nKvHead;
    const options = { bias: false, std: STD, rng };
    this.#config = config;
    this.#rotary = rotary;
    this.qProj = new Linear(dModel, dModel, options);
    this.kProj = new Linear(dModel, dKv, options);
    this.vProj = new Linear(dModel, dKv, options);
    this.outProj = new Linear(dModel, dModel, options);
    this.qNorm = new RMSNorm(dModel, normEps);
    this.kNorm = new RMSNorm(dKv, normEps);
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    const { nHead: H, nKvHead: G, dropout: p } = this.#config;
    const start = nextPlace(ctx.cache);
    const heads = (y: Tensor, n: number): Tensor => y.rearrange('B T (H D) -> B H T D', { H: n });
    const q = this.#rotary.apply(heads(this.qNorm.forward(this.qProj.forward(x)), H), start);
    let k = this.#rotary.apply(heads(this.kNorm.forward(this.kProj.forward(x)), G), start);
    let v = heads(this.vProj.forward(x), G);
    if (ctx.cache) [k, v] = ctx.cache.append(k, v);
    const y = attention(q, k, v, {
      causal: ctx.causal !== false,
      mask: ctx.mask,
      ...keysSeen(ctx.cache, k.shape[2]),
      record: ctx.record,
      dropout: ctx.rng && p > 0 ? { p, seed: ctx.rng.fork() } : undefined,
    });
    return this.outProj.forward(y.rearrange('B H T D -> B T (H D)'));
  }
}

/** x ← x + norm(f(x)): the branch reads the stream as it is, and is normed before it is added. OLMo Team 2024, §3.3.1; Liu et al. 2021. */
class Block {
  readonly attn: NormedAttention;
  readonly attnOutNorm: RMSNorm;
  readonly mlp: SwiGLU;
  readonly mlpOutNorm: RMSNorm;
  readonly #dropout: number;

  constructor(config: Config, rotary: Rotary, rng: Rng) {
    const { dModel, dFF, normEps, dropout: p } = config;
    this.#dropout = p;
    this.attn = new NormedAttention(config, rotary, rng);
    this.attnOutNorm = new RMSNorm(dModel, normEps);
    this.mlp = new SwiGLU({ dModel, dFF, bias: false, std: STD, residualStd: STD, rng });
    this.mlpOutNorm = new RMSNorm(dModel, normEps);
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    return tidy(() => {
      x = x.add(dropout(this.attnOutNorm.forward(this.attn.forward(x, ctx)), this.#dropout, ctx));
      return x.add(dropout(this.mlpOutNorm.forward(this.mlp.forward(x)), this.#dropout, ctx));
    }, 'block');
  }
}

/** OLMo 2: Llama's parts with the norms moved behind the branches and onto queries and keys. OLMo Team 2024. */
export class Olmo2 implements Decoder {
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

  constructor(config: Olmo2Config, rng: Rng) {
    this.config = olmo2Defaults(config);
    const { vocabSize, dModel, nHead, nLayer, ropeBase, normEps, tied } = this.config;
    check(
      dModel % (2 * nHead) === 0,
      `dModel (${dModel}) must be a multiple of 2·nHead (${2 * nHead}): rotary positions turn pairs`,
    );
    this.rotary = new Rotary(dModel / nHead / 2, ropeBase);
    this.tokenEmbedding = new Embedding(vocabSize, dModel, { std: STD, rng });
    this.blocks = Array.from({ length: nLayer }, () => new Block(this.config, this.rotary, rng));
    this.norm = new RMSNorm(dModel, normEps);
    if (!tied) this.lmHead = new Linear(dModel, vocabSize, { bias: false, std: STD, rng });
  }

  /** The last hidden states (B, T, C), normed. */
  hidden(ids: Int32Array, shape: readonly [number, number], ctx: Context = {}): Tensor {
    return this.norm.forward(throughBlocks(this.blocks, embedded(this, ids, shape, ctx), ctx));
  }
  newCaches(B: number, length = this.config.contextLength): AttentionCache[] {
    const { nLayer, nHead, nKvHead, dModel } = this.config;
    return layerCaches(B, length, { nLayer, nKvHead, headDim: dModel / nHead });
  }
}
