import { expect, test } from 'vitest';
import { type PositionBias, SelfAttention } from '../../src/attention/index.ts';
import { Rng, scope, Tensor, windows } from '../../src/tensor/index.ts';
import { largest, normal } from './numbers.ts';

test('9.2b a self-attention layer with relative positions reproduces a given 3-tap convolution ≤ 1e-6 (Cordonnier et al. 2020)', () => {
  using _ = scope('convolution');
  const rng = new Rng(92);
  const [B, T, C] = [2, 9, 5];
  // Tap δ = −1, 0, 1: (C in, C out), with the deviation 1/√(3C) of a layer at its start, so that outputs are of order 1 and 1e-6 is a few roundings of f32.
  const kernel = [0, 1, 2].map(() => normal(rng, C, C).mul(1 / Math.sqrt(3 * C)));
  const x = normal(rng, B, T, C);

  // The convolution: zero padding, then every window of 3 neighbours times the taps.
  const padded = x.pad(1, 1, 1);
  const taps = kernel.reduce<Tensor | undefined>((all, w, i) => {
    const term = windows(padded, 3)
      .slice(2, i, i + 1)
      .reshape([B, T, C])
      .matmul(w);
    return all ? all.add(term) : term;
  }, undefined)!;

  // Attention: head δ looks at distance δ and nowhere else, because its bias is 0 there and −100 at all other keys; it reads the token whole
  // (W_V = 1), and its block of W_O is tap δ. Queries and keys are zero: content plays no part. At the border a head would have no key
  // of its own and look at all: a zero token at each end gives it the zero that padding gives.
  const oneDistance: PositionBias = {
    bias: (Tq, S) =>
      Tensor.from(
        [-1, 0, 1].flatMap((delta) =>
          Array.from({ length: Tq * S }, (_, i) => ((i % S) - Math.floor(i / S) === delta ? 0 : -100)),
        ),
        [1, 3, Tq, S],
      ),
  };
  const layer = new SelfAttention({
    dModel: C,
    nHead: 3,
    headDim: C,
    causal: false,
    positionBias: oneDistance,
    std: 0,
    residualStd: 0,
    rng,
  });
  const identity = Array.from({ length: C * C }, (_, i) => (i % C === Math.floor(i / C) ? 1 : 0));
  layer.vProj.weight.write([...identity, ...identity, ...identity]); // (3·C, C)
  const out = new Float32Array(C * 3 * C); // W_O's weight is (C, 3·C)
  kernel.forEach((w, head) => {
    const values = w.readSync();
    for (let i = 0; i < C; i++) for (let o = 0; o < C; o++) out[o * 3 * C + head * C + i] = values[i * C + o];
  });
  layer.outProj.weight.write(out);
  const y = layer.forward(padded).slice(1, 1, T + 1);
  expect(largest(y, taps)).toBeLessThanOrEqual(1e-6);
  expect(taps.abs().max().itemSync()).toBeGreaterThan(1);
});
