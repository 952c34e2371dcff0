// ELECTRA: a small generator fills masks, the model learns which tokens it got wrong. Clark et al. 2020.
// B batch · T tokens · M places that are asked · V vocabulary

import { crossEntropy, noGrad, Rng, Tensor, tidy } from '../tensor/index.ts';
import { Bert, type EncoderContext } from './bert.ts';
import { MaskedLM, type ReplacedTokenDetector } from './bert-heads.ts';

/** Texts, of which some tokens are asked. */
export interface ElectraBatch {
  /** (B, T) what stands there, and the same with masks. */
  ids: Int32Array;
  inputs: Int32Array;
  /** −100: not asked. */
  targets: Int32Array;
  shape: readonly [B: number, T: number];
  /** Of the generator's draws. */
  seed: number;
}

/** λ: the detector's loss is a small number of bits over all tokens. §3.1 */
const DETECTOR_WEIGHT = 50;

export class Electra {
  /** Of the detector: what is kept when training is over. */
  readonly bert: Bert;
  readonly detector: ReplacedTokenDetector;
  readonly generator: MaskedLM;

  /** The generator has the detector's depth and embeddings (§3.2), and a quarter of its heads, each as wide. */
  constructor(detector: ReplacedTokenDetector, rng: Rng) {
    this.bert = detector.bert;
    this.detector = detector;
    const { config } = this.bert;
    const nHead = Math.max(1, Math.round(config.nHead / 4));
    const dModel = (config.dModel / config.nHead) * nHead;
    this.generator = new MaskedLM(new Bert({ ...config, nHead, dModel, dFF: 4 * dModel }, rng, this.bert), rng);
  }

  /** The generator's logits (M, V) for what is asked, and the text with its draws in the places; labels (B, T): 1 where they are wrong. */
  corrupt({ ids, inputs, targets, shape, seed }: ElectraBatch, ctx: EncoderContext = {}) {
    const asked = Int32Array.from(targets.keys()).filter((i) => targets[i] !== -100);
    const logits = this.generator.logitsAt(inputs, shape, asked, ctx);
    const drawn = sampled(logits, new Rng(seed));
    const replaced = ids.slice();
    const labels = new Int32Array(ids.length);
    for (const [m, i] of asked.entries()) {
      replaced[i] = drawn[m];
      labels[i] = drawn[m] === ids[i] ? 0 : 1; // a lucky draw is the real token
    }
    return { logits, wanted: asked.map((i) => targets[i]), inputs: replaced, labels };
  }
  /** E[−log p_G(asked)] + λ·E[detector's binary cross-entropy over all tokens]. §2; no gradient flows through the draws. */
  loss(batch: ElectraBatch, ctx: EncoderContext = {}): Tensor {
    const { logits, wanted, inputs, labels } = this.corrupt(batch, ctx);
    const detecting = this.detector.loss({ inputs, labels, shape: batch.shape }, ctx);
    return crossEntropy(logits, wanted).add(detecting.mul(DETECTOR_WEIGHT));
  }
  /** Of a model that knows nothing: ln V for the generator, ln 2 a token for the detector. */
  get uniformLossNats(): number {
    return Math.log(this.bert.config.vocabSize) + DETECTOR_WEIGHT * Math.LN2;
  }
}

/** One draw a row from softmax(logits): the argmax of logits + Gumbel noise. */
function sampled(logits: Tensor, rng: Rng): Int32Array {
  const { M, V } = logits.dims('M V');
  const best = tidy(() =>
    noGrad(() => {
      const u = Tensor.uniform([M, V], 1e-7, 1, rng);
      return logits.detach().sub(u.log().neg().log()).argmax();
    }),
  );
  const ids = best.readSync() as Int32Array;
  best.free();
  return ids;
}
