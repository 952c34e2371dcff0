// What BERT is asked: each head turns hidden states (B, T, C) into logits, and knows its loss. K labels · M places that are asked

import { type Activation, activations, dropout, LayerNorm, Linear } from '../nn/index.ts';
import { check, crossEntropy, linear, linearCrossEntropy, type Rng, Tensor } from '../tensor/index.ts';
import { type Bert, BERT_STD, type EncoderContext, firstToken } from './bert.ts';

/** B rows of T ids, with what they should give. */
export interface LabelledBatch {
  inputs: Int32Array;
  shape: readonly [B: number, T: number];
  /** One a row, or one a token (−100: not asked). */
  labels: Int32Array;
}

/** B rows of T ids with masks, and what stood under them (−100: not asked). */
export interface MaskedBatch {
  inputs: Int32Array;
  targets: Int32Array;
  shape: readonly [B: number, T: number];
}
/** Two segments a row, too, and whether they belong together. */
export interface SegmentedBatch extends MaskedBatch, LabelledBatch {
  segments: Int32Array;
}

/** Which tokens stood under the masks: logits = GELU-LayerNorm(x W + b) Eᵀ + c, with E the token embedding. Devlin et al. 2018, §3.1. */
export class MaskedLM {
  readonly transform: Linear;
  readonly norm: LayerNorm;
  readonly bias: Tensor;

  constructor(
    readonly bert: Bert,
    rng: Rng,
  ) {
    const { dModel, embeddingSize, normEps: eps, vocabSize } = bert.config;
    this.transform = new Linear(dModel, embeddingSize, { std: BERT_STD, rng });
    this.norm = new LayerNorm(embeddingSize, { eps });
    this.bias = Tensor.zeros([vocabSize]).asParameter();
  }
  #features(hidden: Tensor): Tensor {
    return this.norm.forward(activations[this.bert.config.activation](this.transform.forward(hidden)));
  }
  /** → (B, T, V) */
  forward(ids: Int32Array, shape: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    return linear(this.#features(this.bert.hidden(ids, shape, ctx)), this.bert.tokenEmbedding.weight, this.bias);
  }
  /** → (M, V), of the places `asked` of B·T. */
  logitsAt(ids: Int32Array, shape: readonly [number, number], asked: Int32Array, ctx: EncoderContext = {}): Tensor {
    const hidden = this.bert.hidden(ids, shape, ctx).rearrange('B T C -> (B T) C').rows(asked);
    return linear(this.#features(hidden), this.bert.tokenEmbedding.weight, this.bias);
  }
  /** Mean cross-entropy in nats over the places whose target is not −100. */
  loss({ inputs, targets, shape }: MaskedBatch, ctx: EncoderContext = {}): Tensor {
    return this.lossOf(this.bert.hidden(inputs, shape, ctx), targets);
  }
  /** The same of hidden states (B, T, C); only the places that are asked pass through the head. */
  lossOf(hidden: Tensor, targets: Int32Array): Tensor {
    const asked = Int32Array.from(targets.keys()).filter((i) => targets[i] !== -100);
    check(asked.length > 0, 'MaskedLM: no place of the batch is asked (all targets are −100)');
    const features = this.#features(hidden.rearrange('B T C -> (B T) C').rows(asked)); // (M, E)
    const wanted = asked.map((i) => targets[i]);
    return linearCrossEntropy(features, this.bert.tokenEmbedding.weight, wanted, { bias: this.bias });
  }
}

/** BERT as it was trained: masked tokens, and whether the second segment follows the first. Devlin et al. 2018, §3.1. */
export class BertPretraining {
  readonly bert: Bert;
  readonly lm: MaskedLM;
  readonly next: Linear;

  constructor(lm: MaskedLM, rng: Rng) {
    this.bert = lm.bert;
    this.lm = lm;
    this.next = new Linear(this.bert.config.dModel, 2, { std: BERT_STD, rng });
  }
  /** → (B, 2): it follows, it does not. */
  follows(hidden: Tensor): Tensor {
    return this.next.forward(this.bert.pooled(hidden));
  }
  /** The sum of both losses. `labels`, one a row: 0 follows, 1 does not. */
  loss({ inputs, targets, segments, labels, shape }: SegmentedBatch, ctx: EncoderContext = {}): Tensor {
    const hidden = this.bert.hidden(inputs, shape, { ...ctx, segments });
    return this.lm.lossOf(hidden, targets).add(crossEntropy(this.follows(hidden), labels));
  }
}

/** One of K labels for the whole input, from its first token. */
export class SequenceClassifier {
  /** Stands where BERT has its pooler. */
  readonly dense?: Linear;
  readonly output: Linear;
  readonly #activation: Activation;

  constructor(
    readonly bert: Bert,
    K: number,
    rng: Rng,
    { activation = 'tanh' }: { activation?: Activation } = {},
  ) {
    const { dModel, pooler } = bert.config;
    this.#activation = activation;
    if (!pooler) this.dense = new Linear(dModel, dModel, { std: BERT_STD, rng });
    this.output = new Linear(dModel, K, { std: BERT_STD, rng });
  }
  /** → (B, K) */
  forward(ids: Int32Array, shape: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    const { dropout: p } = this.bert.config;
    const hidden = this.bert.hidden(ids, shape, ctx);
    const x = this.dense
      ? activations[this.#activation](this.dense.forward(dropout(firstToken(hidden), p, ctx)))
      : this.bert.pooled(hidden);
    return this.output.forward(dropout(x, p, ctx));
  }
  loss({ inputs, labels, shape }: LabelledBatch, ctx: EncoderContext = {}): Tensor {
    return crossEntropy(this.forward(inputs, shape, ctx), labels);
  }
}

/** One of K labels for each token: names, parts of speech. */
export class TokenClassifier {
  readonly output: Linear;

  constructor(
    readonly bert: Bert,
    K: number,
    rng: Rng,
  ) {
    this.output = new Linear(bert.config.dModel, K, { std: BERT_STD, rng });
  }
  /** → (B, T, K) */
  forward(ids: Int32Array, shape: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    return this.output.forward(dropout(this.bert.hidden(ids, shape, ctx), this.bert.config.dropout, ctx));
  }
  loss({ inputs, labels, shape }: LabelledBatch, ctx: EncoderContext = {}): Tensor {
    return crossEntropy(this.forward(inputs, shape, ctx), labels);
  }
}

/** Where the answer begins and where it ends, within the input. Devlin et al. 2018, §4.2. */
export class SpanReader {
  readonly output: Linear;

  constructor(
    readonly bert: Bert,
    rng: Rng,
  ) {
    this.output = new Linear(bert.config.dModel, 2, { std: BERT_STD, rng });
  }
  /** → logits over the T places, (B, T) of the first token of the answer and (B, T) of the last. */
  forward(ids: Int32Array, shape: readonly [number, number], ctx: EncoderContext = {}): [start: Tensor, end: Tensor] {
    const y = this.output.forward(this.bert.hidden(ids, shape, ctx)); // (B, T, 2)
    const [start, end] = y.split(2).map((part) => part.reshape(shape));
    return [start, end];
  }
  /** Mean of the two cross-entropies; starts and ends: one place a row. */
  loss(
    batch: { inputs: Int32Array; shape: readonly [number, number]; starts: Int32Array; ends: Int32Array },
    ctx: EncoderContext = {},
  ): Tensor {
    const [start, end] = this.forward(batch.inputs, batch.shape, ctx);
    return crossEntropy(start, batch.starts).add(crossEntropy(end, batch.ends)).mul(0.5);
  }
}

/** Was this token replaced? One logit a token: w·GELU(x W + b) + c. Clark et al. 2020, §2. */
export class ReplacedTokenDetector {
  readonly dense: Linear;
  readonly output: Linear;

  constructor(
    readonly bert: Bert,
    rng: Rng,
  ) {
    const { dModel } = bert.config;
    this.dense = new Linear(dModel, dModel, { std: BERT_STD, rng });
    this.output = new Linear(dModel, 1, { std: BERT_STD, rng });
  }
  /** → (B, T), above 0: replaced */
  forward(ids: Int32Array, shape: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    const { activation } = this.bert.config;
    return this.output.forward(activations[activation](this.dense.forward(this.bert.hidden(ids, shape, ctx)))).reshape(shape);
  }
  /** Mean binary cross-entropy, max(z, 0) − z·y + log(1 + e^−|z|), over the tokens whose label (0, 1) is not −100. */
  loss({ inputs, labels, shape }: LabelledBatch, ctx: EncoderContext = {}): Tensor {
    const asked = Tensor.from(
      Float32Array.from(labels, (y) => (y === -100 ? 0 : 1)),
      shape,
    );
    const n = labels.reduce((count, y) => count + (y === -100 ? 0 : 1), 0);
    check(n > 0, 'ReplacedTokenDetector: no token of the batch has a label');
    const y = Tensor.from(
      Float32Array.from(labels, (label) => Math.max(0, label)),
      shape,
    );
    const z = this.forward(inputs, shape, ctx);
    const each = z.relu().sub(z.mul(y)).add(z.abs().neg().exp().add(1).log());
    return each.mul(asked).sum().div(n);
  }
}

/** One vector a text: the mean of the hidden states of its real tokens, of length 1. (B, T, C) → (B, C). Reimers & Gurevych 2019, §3. */
export function meanPool(hidden: Tensor, lengths?: readonly number[]): Tensor {
  const { B, T } = hidden.dims('B T C');
  const share = new Float32Array(B * T);
  for (let b = 0; b < B; b++) share.fill(1 / (lengths?.[b] ?? T), b * T, b * T + (lengths?.[b] ?? T));
  return unitLength(hidden.mul(Tensor.from(share, [B, T, 1])).sum({ axis: 1 }));
}

/** x / ‖x‖ over the last axis. */
export const unitLength = (x: Tensor): Tensor => x.div(x.square().sum({ axis: -1, keepDims: true }).sqrt().maximum(1e-12));
