// B batch · T tokens · C = dModel channels · E embedding channels · F MLP width · V vocabulary

import { type Context, inLayer, type LayerContext, paddingMask, SelfAttention } from '../attention/index.ts';
import { type Activation, dropout, Embedding, LayerNorm, Linear, MLP } from '../nn/index.ts';
import { check, type Rng, type Tensor, tidy } from '../tensor/index.ts';

export interface BertConfig {
  vocabSize: number;
  /** Longest input, in tokens. */
  contextLength: number;
  nLayer: number;
  nHead: number;
  dModel: number;
  /** MLP width; 4·dModel when left out. */
  dFF?: number;
  /** Channels of the embeddings when they are not dModel: a matrix widens them (ELECTRA small). */
  embeddingSize?: number;
  /** Kinds of segment (sentence A, sentence B): 2 in BERT, 1 in RoBERTa, 0 in DistilBERT. */
  nSegment?: number;
  /** Row of the position table of the first token: 2 in RoBERTa, whose rows 0 and 1 belong to padding. */
  firstPosition?: number;
  /** tanh(W x₀ + b) of the first token, trained with next-sentence prediction. BERT has it. */
  pooler?: boolean;
  activation?: Activation;
  normEps?: number;
  /** Dropout of embeddings, attention weights and branches. */
  dropout?: number;
}

/** What reading needs beyond the ids. */
export interface EncoderContext extends Context {
  /** Real tokens in each row; those after them are padding, seen by nobody. All of them when left out. */
  lengths?: readonly number[];
  /** Segment of each token, 0 when left out. */
  segments?: Int32Array;
}

/** BERT's σ, for every matrix and embedding. Devlin et al. 2018, appendix A.2. */
export const BERT_STD = 0.02;

export const bertDefaults = (c: BertConfig) => ({
  dFF: 4 * c.dModel,
  embeddingSize: c.dModel,
  nSegment: 2,
  firstPosition: 0,
  pooler: true,
  activation: 'gelu' as Activation,
  normEps: 1e-12,
  dropout: 0,
  ...c,
});

/** Where the members of the family leave BERT's path. */
export const bertVariants = {
  bert: {},
  /** Liu et al. 2019: no next-sentence prediction, hence no segments and no pooler. */
  roberta: { nSegment: 1, firstPosition: 2, pooler: false, normEps: 1e-5 },
  /** Sanh et al. 2019: half the layers, no segments, no pooler. */
  distilbert: { nSegment: 0, pooler: false },
  /** Clark et al. 2020: trained to tell replaced tokens from real ones. */
  electra: { pooler: false },
} satisfies Record<string, Partial<BertConfig>>;
export type BertVariant = keyof typeof bertVariants;

/** Post-norm block: the norm stands after the sum, as in the original Transformer. */
class Block {
  readonly attn: SelfAttention;
  readonly attnNorm: LayerNorm;
  readonly mlp: MLP;
  readonly mlpNorm: LayerNorm;
  readonly #dropout: number;

  constructor({ dModel, nHead, dFF, activation, normEps: eps, dropout: p }: Required<BertConfig>, rng: Rng) {
    this.#dropout = p;
    const std = { std: BERT_STD, residualStd: BERT_STD, rng };
    this.attn = new SelfAttention({ dModel, nHead, bias: true, causal: false, dropout: p, ...std });
    this.attnNorm = new LayerNorm(dModel, { eps });
    this.mlp = new MLP({ dModel, dFF, bias: true, activation, ...std });
    this.mlpNorm = new LayerNorm(dModel, { eps });
  }
  forward(x: Tensor, ctx: LayerContext): Tensor {
    return tidy(() => {
      x = this.attnNorm.forward(x.add(this.attn.forward(x, ctx)));
      return this.mlpNorm.forward(x.add(dropout(this.mlp.forward(x), this.#dropout, ctx)));
    }, 'block');
  }
}

/** BERT: a stack of blocks in which every token sees every other, before and after it. Devlin et al. 2018. */
export class Bert {
  readonly config: Required<BertConfig>;
  readonly tokenEmbedding: Embedding;
  readonly positionEmbedding: Embedding;
  readonly segmentEmbedding?: Embedding;
  readonly embeddingNorm: LayerNorm;
  readonly embeddingProj?: Linear;
  readonly blocks: Block[];
  readonly pooler?: Linear;

  /** `embeddings`: tokens and places are those of another model, of the same embedding size. */
  constructor(config: BertConfig, rng: Rng, embeddings?: Pick<Bert, 'tokenEmbedding' | 'positionEmbedding'>) {
    this.config = bertDefaults(config);
    const { vocabSize, contextLength, nLayer, dModel, embeddingSize: E, nSegment, firstPosition, normEps: eps } = this.config;
    const std = BERT_STD;
    this.tokenEmbedding = embeddings?.tokenEmbedding ?? new Embedding(vocabSize, E, { std, rng });
    this.positionEmbedding = embeddings?.positionEmbedding ?? new Embedding(firstPosition + contextLength, E, { std, rng });
    if (nSegment > 0) this.segmentEmbedding = new Embedding(nSegment, E, { std, rng });
    this.embeddingNorm = new LayerNorm(E, { eps });
    if (E !== dModel) this.embeddingProj = new Linear(E, dModel, { std, rng });
    this.blocks = Array.from({ length: nLayer }, () => new Block(this.config, rng));
    if (this.config.pooler) this.pooler = new Linear(dModel, dModel, { std, rng });
  }

  /** ids: B rows of T token ids → hidden states (B, T, C) of the last block. Those of padding mean nothing. */
  hidden(ids: Int32Array, [B, T]: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    const { lengths } = ctx;
    check(!lengths || lengths.length === B, () => `Bert: ${lengths!.length} lengths for ${B} rows`);
    let x = this.#embed(ids, [B, T], ctx);
    ctx.record?.('embeddings', x.detach());
    const mask = lengths?.some((n) => n < T) ? paddingMask(lengths, T) : ctx.mask; // (B, 1, 1, T)
    for (const [i, block] of this.blocks.entries()) {
      const layer = inLayer({ ...ctx, mask }, i);
      x = block.forward(x, layer);
      layer.record?.('output', x.detach());
    }
    return x;
  }

  /** tanh(W x₀ + b): the whole input in one row, (B, T, C) → (B, C). */
  pooled(hidden: Tensor): Tensor {
    check(this.pooler !== undefined, 'Bert: this model was made without a pooler');
    return this.pooler!.forward(firstToken(hidden)).tanh();
  }

  #embed(ids: Int32Array, [B, T]: readonly [number, number], ctx: EncoderContext): Tensor {
    const { contextLength, firstPosition, dropout: p } = this.config;
    check(T <= contextLength, `${T} tokens, but contextLength is ${contextLength}: the position table has no row beyond it`);
    const places = Int32Array.from({ length: T }, (_, t) => firstPosition + t);
    let x = this.tokenEmbedding.forward(ids, [B, T]).add(this.positionEmbedding.forward(places, [T]));
    if (this.segmentEmbedding) x = x.add(this.segmentEmbedding.forward(ctx.segments ?? new Int32Array(B * T), [B, T]));
    x = dropout(this.embeddingNorm.forward(x), p, ctx);
    return this.embeddingProj?.forward(x) ?? x;
  }
}

/** (B, T, C) → (B, C) of the first token, [CLS] or <s>. */
export function firstToken(hidden: Tensor): Tensor {
  const { B, C } = hidden.dims('B T C');
  return hidden.slice(1, 0, 1).reshape([B, C]);
}
