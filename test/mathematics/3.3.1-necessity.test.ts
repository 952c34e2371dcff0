import { describe, expect, test } from 'vitest';
import { LearnedPositions, SelfAttention } from '../../src/attention/index.ts';
import { Embedding, LayerNorm, Linear, MLP, stateDict } from '../../src/nn/index.ts';
import { crossEntropy, noGrad, Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { AdamW } from '../../src/train/index.ts';
import { largest, normal } from './numbers.ts';

describe('3.3.1 necessity', () => {
  const [V, T, C, H] = [6, 5, 24, 2];

  /** A bidirectional encoder that shall say the token at place T − 1 − t (the text reversed) at every place t. */
  function trained(positions: boolean): number {
    const rng = new Rng(7);
    const attn = (): SelfAttention => new SelfAttention({ dModel: C, nHead: H, causal: false, std: 0.3, residualStd: 0.2, rng });
    const model = {
      tokens: new Embedding(V, C, { std: 1, rng }),
      places: new LearnedPositions(T, C, { std: positions ? 1 : 0, rng }),
      norm: new LayerNorm(C),
      attn: attn(),
      mlpNorm: new LayerNorm(C),
      mlp: new MLP({ dModel: C, dFF: 2 * C, bias: true, std: 0.2, residualStd: 0.1, rng }),
      head: new Linear(C, V, { std: 0.2, rng }),
    };
    if (!positions) model.places.weight.freeze();
    const forward = (ids: Int32Array, B: number): Tensor => {
      let x = model.tokens.forward(ids, [B, T]).add(model.places.forward(T));
      x = x.add(model.attn.forward(model.norm.forward(x)));
      x = x.add(model.mlp.forward(model.mlpNorm.forward(x)));
      return model.head.forward(x); // (B, T, V)
    };
    const texts = new Rng(8);
    const draw = (B: number): Int32Array => Int32Array.from({ length: B * T }, () => texts.int(V));
    const reversed = (ids: Int32Array): Int32Array => ids.map((_, i) => ids[i - (i % T) + (T - 1 - (i % T))]);
    const optimizer = new AdamW(stateDict(model), { weightDecay: 0 });
    for (let step = 0; step < 100; step++) {
      using _ = scope('step');
      const ids = draw(24);
      optimizer.step(crossEntropy(forward(ids, 24), reversed(ids)).backward(), { lr: 0.01 });
    }
    using _ = scope('test');
    const ids = draw(400);
    const said = noGrad(() => forward(ids, 400).argmax().readSync());
    return reversed(ids).reduce((right, id, i) => right + (said[i] === id ? 1 : 0), 0) / said.length;
  }

  /** The best that can be said from the bag of tokens and the token here: the reversed text has it in the middle, elsewhere any of the others. */
  function chance(): number {
    const rng = new Rng(9);
    let right = 0;
    for (let n = 0; n < 20_000; n++) {
      const text = Array.from({ length: T }, () => rng.int(V));
      const t = rng.int(T);
      // Blind to places, the posterior of "the token at T − 1 − t" given the token here x: x itself with 1/T (t is the middle), else the others.
      const weight = new Array<number>(V).fill(0);
      for (let place = 0; place < T; place++) {
        if (text[place] !== text[t]) continue;
        weight[text[place]] += 1 / T;
        for (let other = 0; other < T; other++) if (other !== place) weight[text[other]] += 1 / T;
      }
      const guess = weight.indexOf(Math.max(...weight));
      if (text[T - 1 - t] === guess) right++;
    }
    return right / 20_000;
  }

  test('3.3.1a an encoder reverses its text only with positions: ≥ 95 % with, at most chance + 5 % without', () => {
    expect(trained(true)).toBeGreaterThanOrEqual(0.95);
    expect(trained(false)).toBeLessThanOrEqual(chance() + 0.05);
  });

  test('3.3.1b a causal layer without positions is not blind to order: its output depends on the order of the past (NoPE)', () => {
    using _ = scope('nope');
    const rng = new Rng(10);
    const layers = [0, 1].map(() => new SelfAttention({ dModel: C, nHead: H, std: 0.4, residualStd: 0.4, rng }));
    const last = (x: Tensor): Tensor => layers.reduce((y, layer) => y.add(layer.forward(y)), x).slice(1, T - 1);
    const x = normal(rng, 1, T, C);
    const swapped = x.reshape([T, C]).rows([1, 0, 2, 3, 4]).reshape([1, T, C]);
    // One layer sums over the past, whatever its order; the second sees outputs that each summed over a different past.
    const one = (y: Tensor): Tensor => layers[0].forward(y).slice(1, T - 1);
    expect(largest(one(x), one(swapped))).toBeLessThanOrEqual(1e-5);
    expect(largest(last(x), last(swapped))).toBeGreaterThan(1e-3);
  });
});
