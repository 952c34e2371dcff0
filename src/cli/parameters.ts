/**
 * The parameters of a model of any family, counted from its shape. A test holds this to the models themselves.
 *
 * C = dModel · L = nLayer · T = contextLength · V = vocabulary · F = dFF · G kv heads · D = head channels · K = taps
 */
import { familyOf } from '../settings/families.ts';
import type { TrainConfig } from '../settings/config.ts';

/** Parameters by part. In an encoder-decoder one block is one of the encoder and one of the decoder. */
export interface Parameters {
  tokenEmbedding: number;
  /** Tables of places, of segments and of distances. */
  positionEmbedding: number;
  /** One block. */
  attention: number;
  /** One block: its MLP, or what stands there (experts, cells, convolutions). */
  mlp: number;
  norms: number;
  /** The norms outside of the blocks. */
  norm: number;
  /** The output head, 0 where it is the token embedding. */
  lmHead: number;
  total: number;
}

export type Shape = Pick<
  TrainConfig,
  | 'model'
  | 'nLayer'
  | 'nHead'
  | 'nKvHead'
  | 'dModel'
  | 'dFF'
  | 'contextLength'
  | 'tied'
  | 'qkNorm'
  | 'preNorm'
  | 'nExpert'
  | 'nExpertPerToken'
  | 'cell'
  | 'attention'
  | 'width'
> &
  Partial<Pick<TrainConfig, 'objective'>>;

type Parts = Omit<Parameters, 'tokenEmbedding' | 'total'>;

/** A product and its bias. */
const linear = (dIn: number, dOut: number): number => dIn * dOut + dOut;

/** One block of BERT. */
const stack = (C: number, F: number) => ({ attention: 4 * linear(C, C), mlp: linear(C, F) + linear(F, C), norms: 4 * C });

/** Relative positions of T5: buckets a head, in each stack. Raffel et al. 2019, §2.1. */
const BUCKETS = 32;

const partsOf: Record<TrainConfig['model'], (s: Shape, V: number) => Parts> = {
  gpt2: ({ dModel: C, dFF: F, contextLength: T }) => ({
    positionEmbedding: T * C,
    attention: linear(C, 3 * C) + linear(C, C),
    mlp: linear(C, F) + linear(F, C),
    norms: 4 * C,
    norm: 2 * C,
    lmHead: 0,
  }),
  llama: (s, V) => rotary(s, V),
  olmo2: (s, V) => {
    const { attention, ...rest } = rotary({ ...s, qkNorm: false }, V);
    return { ...rest, attention: attention + s.dModel + (s.dModel / s.nHead) * s.nKvHead }; // its norms of queries and keys span all heads
  },
  gemma: (s, V) => ({ ...rotary({ ...s, tied: true }, V), norms: 4 * s.dModel }),
  mixtral: (s, V) => ({ ...rotary(s, V), mlp: s.nExpert * 3 * s.dModel * s.dFF + s.dModel * s.nExpert }),
  neox: ({ dModel: C, dFF: F, tied }, V) => ({
    positionEmbedding: 0,
    attention: linear(C, 3 * C) + linear(C, C),
    mlp: linear(C, F) + linear(F, C),
    norms: 4 * C,
    norm: 2 * C,
    lmHead: tied ? 0 : V * C,
  }),
  tcn: ({ dModel: C, width: K }) => ({
    positionEmbedding: 0,
    attention: 0,
    mlp: 2 * linear(K * C, C),
    norms: 2 * C,
    norm: 2 * C,
    lmHead: 0,
  }),
  bert: ({ dModel: C, dFF: F, contextLength: T, objective }, V) => ({
    ...stack(C, F),
    positionEmbedding: (T + 2) * C,
    norm: 2 * C,
    lmHead:
      objective === 'contrastive'
        ? 0
        : linear(C, C) + 2 * C + V + (objective === 'nextSentence' ? linear(C, C) + linear(C, 2) : 0),
  }),
  electra: ({ dModel: C, dFF: F, nHead, contextLength: T }, V) => {
    const G = (C / nHead) * Math.max(1, Math.round(nHead / 4)); // the generator's width
    const [detector, generator] = [stack(C, F), stack(G, 4 * G)];
    return {
      attention: detector.attention + generator.attention,
      mlp: detector.mlp + generator.mlp,
      norms: detector.norms + generator.norms,
      positionEmbedding: (T + 4) * C, // places are shared, segments are not
      norm: 4 * C + (G === C ? 0 : linear(C, G)),
      lmHead: linear(C, C) + linear(C, 1) + linear(G, C) + 2 * C + V,
    };
  },
  t5: ({ dModel: C, dFF: F, nHead, tied }, V) => ({
    positionEmbedding: 2 * BUCKETS * nHead,
    attention: 3 * 4 * C * C,
    mlp: 2 * 2 * C * F,
    norms: 5 * C,
    norm: 2 * C,
    lmHead: tied ? 0 : V * C,
  }),
  transformer: ({ dModel: C, dFF: F, preNorm }) => ({
    positionEmbedding: 0,
    attention: 3 * 4 * linear(C, C),
    mlp: 2 * (linear(C, F) + linear(F, C)),
    norms: 5 * 2 * C,
    norm: preNorm ? 4 * C : 0,
    lmHead: 0,
  }),
  rnn: ({ dModel: C, cell, attention: look }) => {
    const gates = { rnn: 1, gru: 3, lstm: 4 }[cell];
    const cellOf = (I: number, H: number): number => gates * (linear(I, H) + linear(H, H));
    const score = { none: 0, additive: 2 * C * C + C, general: C * C }[look];
    const encoder = 2 * cellOf(C, C / 2);
    const decoder = linear(C, C) + cellOf(look === 'additive' ? 2 * C : C, C) + linear(look === 'none' ? C : 2 * C, C);
    return { positionEmbedding: 0, attention: score, mlp: encoder + decoder, norms: 0, norm: 0, lmHead: 0 };
  },
  conv: ({ dModel: C, contextLength: T, width: K }) => ({
    positionEmbedding: T * C,
    attention: 2 * linear(C, C),
    mlp: 2 * linear(K * C, 2 * C),
    norms: 0,
    norm: 0,
    lmHead: 0,
  }),
};

/** Llama's parts: projections without bias, three matrices in the MLP, norms with one vector. */
function rotary({ nHead, nKvHead, dModel: C, dFF: F, tied, qkNorm }: Shape, V: number): Parts {
  const D = C / nHead;
  return {
    positionEmbedding: 0,
    attention: 2 * C * C + 2 * C * nKvHead * D + (qkNorm ? 2 * D : 0),
    mlp: 3 * C * F,
    norms: 2 * C,
    norm: C,
    lmHead: tied ? 0 : V * C,
  };
}

/** Parameters of a model, by part. */
export function parametersOf(shape: Shape, vocabSize: number): Parameters {
  const parts = partsOf[shape.model](shape, vocabSize);
  const tokenEmbedding = vocabSize * shape.dModel;
  const { positionEmbedding, attention, mlp, norms, norm, lmHead } = parts;
  const total = tokenEmbedding + positionEmbedding + shape.nLayer * (attention + mlp + norms) + norm + lmHead;
  return { tokenEmbedding, ...parts, total };
}

/** Share of the blocks that one token goes through: a source passes the encoder, a target the decoder. */
export const shareOfBlocks = ({ model }: Pick<Shape, 'model'>): number => (familyOf(model).kind === 'encoder-decoder' ? 0.5 : 1);
