// B batch · T tokens · C = dModel channels · H heads · D head channels · V vocabulary

import { attention, type AttentionCache, type Context, keysSeen, type LayerContext, nextPlace } from '../attention/index.ts';
import { dropout, Embedding, LayerNorm, Linear, MLP } from '../nn/index.ts';
import { check, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import { type Decoder, type DecoderConfig, layerCaches, throughBlocks, forward, loss, nextLogits } from './decoder.ts';

export interface GPT2Config extends DecoderConfig {
  /** Dropout of the embeddings, the attention weights and what each block adds. */
  dropout?: number;
  normEps?: number;
}

/** GPT-2's σ for every matrix and embedding; Radford et al. 2019 keep GPT-1's 0.02. */
const STD = 0.02;
/** Each of the 2·nLayer branches adds to the residual stream; 1/√(2·nLayer) keeps its variance from growing with depth. Radford et al. 2019, §2.3. */
const residualStd = (nLayer: number): number => STD / Math.sqrt(2 * nLayer);

/** Causal multi-head self-attention with one projection for queries, keys and values. */
class CausalSelfAttention {
  readonly qkvProj: Linear;
  readonly outProj: Linear;
  readonly #config: GPT2Config;

  constructor(config: GPT2Config, rng: Rng) {
    const { dModel, nHead, nLayer } = config;
    check(dModel % nHead === 0, `dModel (${dModel}) must be a multiple of nHead (${nHead})`);
    this.#config = config;
    this.qkvProj = new Linear(dModel, 3 * dModel, { std: STD, rng });
    this.outProj = new Linear(dModel, dModel, { std: residualStd(nLayer), rng });
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    const { nHead: H, dropout: p = 0 } = this.#config;
    let [q, k, v] = this.qkvProj
      .forward(x)
      .split(3)
      .map((y) => y.rearrange('B T (H D) -> B H T D', { H }));
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

/** Pre-norm block: tokens talk to each other (attention), then each thinks alone (MLP). */
class Block {
  readonly attnNorm: LayerNorm;
  readonly attn: CausalSelfAttention;
  readonly mlpNorm: LayerNorm;
  readonly mlp: MLP;
  readonly #dropout: number;

  constructor(config: GPT2Config, rng: Rng) {
    const { dModel, nLayer, dropout: p = 0, normEps: eps } = config;
    this.#dropout = p;
    this.attnNorm = new LayerNorm(dModel, { eps });
    this.attn = new CausalSelfAttention(config, rng);
    this.mlpNorm = new LayerNorm(dModel, { eps });
    this.mlp = new MLP({ dModel, dFF: 4 * dModel, bias: true, std: STD, residualStd: residualStd(nLayer), rng });
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    return tidy(() => {
      x = tidy(() => x.add(this.attn.forward(this.attnNorm.forward(x), ctx)), 'attention');
      return x.add(dropout(this.mlp.forward(this.mlpNorm.forward(x)), this.#dropout, ctx));
    }, 'block');
  }
}

/** GPT-2: learned positions, pre-norm blocks, GELU, and output weights tied to the embedding. Radford et al. 2019. */
export class GPT2 implements Decoder {
  readonly tokenEmbedding: Embedding;
  readonly positionEmbedding: Embedding;
  readonly blocks: Block[];
  readonly norm: LayerNorm;
  readonly unevenRows = true;
  readonly forward = forward(this);
  readonly nextLogits = nextLogits(this);
  readonly loss = loss(this);

  constructor(
    readonly config: GPT2Config,
    rng: Rng,
  ) {
    const { vocabSize, contextLength, dModel, nLayer, normEps: eps } = config;
    this.tokenEmbedding = new Embedding(vocabSize, dModel, { std: STD, rng });
    this.positionEmbedding = new Embedding(contextLength, dModel, { std: STD, rng });
    this.blocks = Array.from({ length: nLayer }, () => new Block(config, rng));
    this.norm = new LayerNorm(dModel, { eps });
  }

  /** The last hidden states (B, T, C), normed. */
  hidden(ids: Int32Array, [B, T]: readonly [number, number], ctx: Context = {}): Tensor {
    const { contextLength, dropout: p = 0 } = this.config;
    const start = ctx.caches?.[0]?.length ?? 0;
    check(
      start + T <= contextLength,
      `${start + T} tokens, but contextLength is ${contextLength}: the position table has no row beyond it`,
    );
    const next = nextPlace(ctx.caches?.[0]); // one, or one a row
    const rows = ctx.positions ?? (typeof next === 'number' ? undefined : next);
    const places = rows ?? Int32Array.from({ length: T }, (_, t) => start + t);
    const x = tidy(() => {
      const positions = this.positionEmbedding.forward(places, rows ? [B, T] : [T]);
      return dropout(this.tokenEmbedding.forward(ids, [B, T]).add(positions), p, ctx);
    }, 'embedding');
    return this.norm.forward(throughBlocks(this.blocks, x, ctx));
  }
  newCaches(B: number, length = this.config.contextLength): AttentionCache[] {
    const { nLayer, nHead, dModel } = this.config;
    return layerCaches(B, length, { nLayer, nKvHead: nHead, headDim: dModel / nHead });
  }
}
