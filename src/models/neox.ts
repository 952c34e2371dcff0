// B batch · T tokens · C = dModel channels · H heads · D head channels · F MLP width · V vocabulary

import {
  attention,
  type AttentionCache,
  type Context,
  keysSeen,
  type LayerContext,
  nextPlace,
  Rotary,
} from '../attention/index.ts';
import { dropout, Embedding, LayerNorm, Linear, MLP } from '../nn/index.ts';
import { check, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import { type Decoder, type DecoderConfig, layerCaches, throughBlocks, forward, loss, nextLogits, embedded } from './decoder.ts';

export interface NeoXConfig extends DecoderConfig {
  dFF?: number;
  /** Channels of a head that turn; a quarter of them when left out. */
  rotaryDim?: number;
  ropeBase?: number;
  /** x + attn(norm₁ x) + mlp(norm₂ x) instead of one branch after the other. Wang & Komatsuzaki 2021. */
  parallel?: boolean;
  normEps?: number;
  /** Output weights shared with the embedding. */
  tied?: boolean;
  dropout?: number;
}

export const neoxDefaults = (c: NeoXConfig) => ({
  dFF: 4 * c.dModel,
  rotaryDim: c.dModel / c.nHead / 4,
  ropeBase: 10_000,
  parallel: true,
  normEps: 1e-5,
  tied: false,
  dropout: 0,
  ...c,
});
type Config = Required<NeoXConfig>;

/** √(2/(5C)): "small init", Nguyen & Salazar 2019; and 2/(N√C) for what writes into the stream. Black et al. 2022, §2.1. */
const stds = ({ dModel, nLayer }: Config) => ({
  std: Math.sqrt(2 / (5 * dModel)),
  residualStd: 2 / (nLayer * Math.sqrt(dModel)),
});

/** Causal attention whose one projection gives each head its query, key and value side by side; some channels turn, the rest only compare. */
class FusedAttention {
  readonly qkvProj: Linear;
  readonly outProj: Linear;
  readonly #config: Config;
  readonly #rotary: Rotary;

  constructor(config: Config, rotary: Rotary, rng: Rng) {
    const { dModel } = config;
    const { std, residualStd } = stds(config);
    this.#config = config;
    this.#rotary = rotary;
    this.qkvProj = new Linear(dModel, 3 * dModel, { std, rng });
    this.outProj = new Linear(dModel, dModel, { std: residualStd, rng });
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    const { nHead: H, dropout: p } = this.#config;
    const heads = this.qkvProj.forward(x).rearrange('B T (H D) -> B H T D', { H }); // D = 3 · head channels
    let [q, k, v] = heads.split(3);
    const start = nextPlace(ctx.cache);
    q = this.#rotary.apply(q, start);
    k = this.#rotary.apply(k, start);
    if (ctx.cache) [k, v] = ctx.cache.append(k, v);
    const y = attention(q, k, v, {
      causal: ctx.causal !== false,
      mask: ctx.mask,
      ...keysSeen(ctx.cache, k.shape[2]),
      record: ctx.record,
      dropout: ctx.rng && p > 0 ? { p, seed: ctx.rng.fork() } : undefined,
    });
    return dropout(this.outProj.forward(y.rearrange('B H T D -> B T (H D)')), p, ctx);
  }
}

/** Attention and MLP read the same x, each through its own norm, and are added together: they can be computed at once. */
class Block {
  readonly attnNorm: LayerNorm;
  readonly attn: FusedAttention;
  readonly mlpNorm: LayerNorm;
  readonly mlp: MLP;
  readonly #config: Config;

  constructor(config: Config, rotary: Rotary, rng: Rng) {
    const { dModel, dFF, normEps: eps } = config;
    this.#config = config;
    this.attnNorm = new LayerNorm(dModel, { eps });
    this.attn = new FusedAttention(config, rotary, rng);
    this.mlpNorm = new LayerNorm(dModel, { eps });
    this.mlp = new MLP({ dModel, dFF, bias: true, activation: 'gelu', ...stds(config), rng });
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    const { parallel, dropout: p } = this.#config;
    return tidy(() => {
      const afterAttention = tidy(() => x.add(this.attn.forward(this.attnNorm.forward(x), ctx)), 'attention');
      const read = parallel ? x : afterAttention;
      return afterAttention.add(dropout(this.mlp.forward(this.mlpNorm.forward(read)), p, ctx));
    }, 'block');
  }
}

/** GPT-NeoX, and Pythia: parallel branches, partial rotary positions, LayerNorm, GELU, an output matrix of its own. Black et al. 2022; Biderman et al. 2023. */
export class NeoX implements Decoder {
  readonly config: Config;
  readonly rotary: Rotary;
  readonly tokenEmbedding: Embedding;
  readonly blocks: Block[];
  readonly norm: LayerNorm;
  readonly lmHead?: Linear;
  readonly unevenRows = true;
  readonly forward = forward(this);
  readonly nextLogits = nextLogits(this);
  readonly loss = loss(this);

  constructor(config: NeoXConfig, rng: Rng) {
    this.config = neoxDefaults(config);
    const { vocabSize, dModel, nHead, nLayer, rotaryDim, ropeBase, normEps: eps, tied } = this.config;
    check(dModel % nHead === 0, `dModel (${dModel}) must be a multiple of nHead (${nHead})`);
    check(rotaryDim % 2 === 0, `rotaryDim (${rotaryDim}) must be even: rotary positions turn pairs of channels`);
    this.rotary = new Rotary(rotaryDim / 2, ropeBase);
    this.tokenEmbedding = new Embedding(vocabSize, dModel, { std: 0.02, rng });
    this.blocks = Array.from({ length: nLayer }, () => new Block(this.config, this.rotary, rng));
    this.norm = new LayerNorm(dModel, { eps });
    if (!tied) this.lmHead = new Linear(dModel, vocabSize, { bias: false, std: 0.02, rng });
  }

  /** The last hidden states (B, T, C), normed. */
  hidden(ids: Int32Array, shape: readonly [number, number], ctx: Context = {}): Tensor {
    return this.norm.forward(throughBlocks(this.blocks, embedded(this, ids, shape, ctx), ctx));
  }
  newCaches(B: number, length = this.config.contextLength): AttentionCache[] {
    const { nLayer, nHead, dModel } = this.config;
    return layerCaches(B, length, { nLayer, nKvHead: nHead, headDim: dModel / nHead });
  }
}
