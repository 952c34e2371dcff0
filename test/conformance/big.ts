// A few shapes beyond the drawn ones: several tiles and chunks along every axis.

import type { KernelName } from '../../src/tensor/backends/backend.ts';
import { type Case, cases } from './cases.ts';
import { Draw } from './draw.ts';

type Big = { kernel: KernelName; drawn: Case };
const big = <N extends KernelName>(kernel: N, drawn: Case<N>): Big => ({ kernel, drawn: drawn as unknown as Case });
const u = 2 ** -24;

export function bigCases(seed: number): Big[] {
  const draw = new Draw(seed);
  const list: Big[] = [];

  for (const [M, N, K] of [
    [129, 257, 511],
    [1, 1031, 769],
    [523, 3, 1031],
  ]) {
    for (const transposed of [false, true]) {
      const b = draw.input(transposed ? [N, K] : [K, N]);
      list.push(
        big('matmul', {
          inputs: [draw.input([M, K]), transposed ? { ...b, shape: [K, N], strides: [1, K] } : b, undefined],
          outputs: [draw.output([M, N])],
          options: { accumulate: false, bf16: false },
          tolerance: { abs: 2 * K * u, rel: 4 * u },
        }),
      );
    }
  }

  const [B, H, G, T, D] = [2, 4, 2, 300, 64];
  for (const [left, right, dropout, T0] of [
    [-1, 0, 0, T],
    [-1, -1, 0.1, T],
    [65, 0, 0, T],
    [-1, 0, 0, 1],
  ]) {
    const options = { scale: 1 / 8, left, right, softcap: 0, dropout, seed: draw.seed(), bf16: false };
    const heads = (n: number, tokens: number) => draw.input([B, n, tokens, D], { layout: 'rows', repeats: false });
    list.push(
      big('attention', {
        inputs: [heads(H, T0), heads(G, T), heads(G, T), undefined, undefined],
        outputs: [draw.output([B, H, T0, D]), draw.output([B, H, T0])],
        options,
        tolerance: { abs: 1e-5, rel: 1e-5 },
      }),
    );
  }
  // The drawn kind of backward until one is large: its forward has to be run first, which cases.ts does.
  for (let found = 0, tries = 0; found < 2 && tries < 400; tries++) {
    const drawn = cases.attentionBackward(draw);
    const [, q] = drawn.inputs;
    if (q!.shape[1] < 4 || q!.shape[2] < 100) continue;
    list.push(big('attentionBackward', drawn));
    found++;
  }

  const [R, V, C] = [37, 5003, 61];
  const loss = { ignoreIndex: -100, labelSmoothing: 0.1, zLoss: 1e-4 };
  const targets = draw.input([R], { dtype: 'i32', value: (i) => (i % 5 === 3 ? -100 : draw.int(0, V - 1)) });
  list.push(
    big('crossEntropy', {
      inputs: [draw.input([R, V], { layout: 'rows', repeats: false, value: () => 4 * draw.normal() }), targets],
      outputs: [draw.output([1]), draw.output([R])],
      options: loss,
      tolerance: { abs: 1e-5, rel: 3e-6 },
    }),
    big('linearCrossEntropy', {
      inputs: [draw.input([R, C]), draw.input([V, C], { value: () => draw.normal() / 4 }), draw.input([V]), targets],
      outputs: [draw.output([1]), draw.output([R, C]), draw.output([V, C]), draw.output([V])],
      options: { ...loss, bf16: false },
      tolerance: { abs: 2e-6, rel: 1e-5 },
    }),
    big('softmax', {
      inputs: [draw.input([R, V], { value: () => 5 * draw.normal() })],
      outputs: [draw.output([R, V])],
      options: {},
      tolerance: { abs: 1e-8, rel: 1e-5 },
    }),
    big('layerNorm', {
      inputs: [draw.input([301, 1031]), draw.input([1031]), draw.input([1031])],
      outputs: [draw.output([301, 1031]), draw.output([301]), draw.output([301])],
      options: { eps: 1e-5 },
      tolerance: { abs: 1e-5, rel: 1e-5 },
    }),
  );
  for (const axes of [0b011, 0b101, 0b110, 0b111]) {
    const [X, Y, Z] = [53, 61, 67];
    list.push(
      big('reduce', {
        inputs: [draw.input([X, Y, Z], { layout: 'strided', repeats: false })],
        outputs: [draw.output([X, Y, Z].map((n, a) => ((axes >> a) & 1 ? 1 : n)))],
        options: { f: 'sum', axes },
        tolerance: { abs: 500 * 60 * u, rel: 4 * u }, // partial sums of size √216,611 ≈ 500 in chunks
      }),
    );
  }
  return list;
}
