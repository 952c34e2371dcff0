import { expect, test } from 'vitest';
import {
  attention,
  attentionByLoops,
  attentionGradientsByLoops,
  type AttentionOptions,
  plainAttention,
} from '../../src/attention/index.ts';
import { memory, Rng, scope, setPrecision, Tensor, tidy } from '../../src/tensor/index.ts';
import { headOf, largest, normal, pick } from './numbers.ts';

/** y and the gradients of Σ y·dy. */
function run(form: typeof plainAttention, inputs: Tensor[], dy: Tensor, options: AttentionOptions): Tensor[] {
  const leaves = inputs.map((x) => x.detach().requireGrad());
  const y = form(leaves[0], leaves[1], leaves[2], options);
  const value = y.detach();
  const grads = y.mul(dy).sum().backward();
  return [value, ...leaves.map((x) => grads.get(x)!)];
}

/** Loops head by head; gradients of a key head are summed over the query heads that share it. */
function runLoops(q: Tensor, k: Tensor, v: Tensor, dy: Tensor, o: AttentionOptions): number[][] {
  const { B, H, T } = q.dims('B H T D');
  const { G, S } = k.dims('B G S D');
  const kept = o.dropout && Tensor.ones([B, H, T, S]).dropout(o.dropout.p, o.dropout.seed);
  const [y, dq, dk, dv] = [
    new Array<number[][]>(B * H),
    new Array<number[][]>(B * H),
    new Array<number[][]>(B * G),
    new Array<number[][]>(B * G),
  ];
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const g = Math.floor((h * G) / H);
      const [hq, hk, hv, hdy] = [headOf(q, b, h), headOf(k, b, g), headOf(v, b, g), headOf(dy, b, h)];
      const keep = kept && headOf(kept, b, h);
      const options = {
        ...o,
        bias: o.bias && headOf(o.bias.expand([B, H, T, S]).contiguous(), b, h),
        sink: o.sinks?.readSync()[h],
        keep: keep && ((t: number, s: number) => keep[t][s]),
      };
      y[b * H + h] = attentionByLoops(hq, hk, hv, options);
      const d = attentionGradientsByLoops(hq, hk, hv, hdy, options);
      dq[b * H + h] = d.dq;
      dk[b * G + g] = addRows(dk[b * G + g], d.dk);
      dv[b * G + g] = addRows(dv[b * G + g], d.dv);
    }
  }
  return [y, dq, dk, dv].map((heads) => heads.flat(2));
}
const addRows = (a: number[][] | undefined, b: number[][]): number[][] =>
  a ? a.map((row, i) => row.map((x, j) => x + b[i][j])) : b;

test('3.1a loops, tensor operations and the tiled kernel agree on 200 random shapes: forward ≤ 1e-5, gradients ≤ 1e-4', () => {
  const rng = new Rng(31);
  const seen = { one: 0, odd: 0, more: 0, fewer: 0, shared: 0, dropped: 0, hidden: 0 };
  for (let i = 0; i < 200; i++) {
    using _ = scope('one shape');
    const G = pick(rng, 1, 2);
    const H = G * pick(rng, 1, 2, 3);
    const [B, D, E] = [pick(rng, 1, 2), pick(rng, 1, 3, 8), pick(rng, 2, 5)];
    const long = i % 20 === 0; // some cross the kernel's tiles of 64
    const T = long ? pick(rng, 67, 129) : pick(rng, 1, 1, 2, 5, 11, 17);
    const S = pick(rng, T, T + pick(rng, 1, 7), long ? 70 : pick(rng, 1, 3));
    const options: AttentionOptions = {
      causal: rng.uniform() < 0.5,
      window: rng.uniform() < 0.3 ? rng.int(5) : undefined,
      scale: rng.uniform() < 0.3 ? 0.3 : undefined,
      bias: rng.uniform() < 0.3 ? normal(rng, 1, pick(rng, 1, H), T, S) : undefined,
      softcap: rng.uniform() < 0.2 ? 2 : undefined,
      sinks: rng.uniform() < 0.2 ? normal(rng, H) : undefined,
      dropout: rng.uniform() < 0.4 ? { p: 0.3, seed: rng.fork() } : undefined,
    };
    const inputs = [normal(rng, B, H, T, D), normal(rng, B, G, S, D), normal(rng, B, G, S, E)];
    const dy = normal(rng, B, H, T, E);
    const tiled = run(attention, inputs, dy, options);
    const plain = run(plainAttention, inputs, dy, options);
    const loops = runLoops(inputs[0], inputs[1], inputs[2], dy, options);
    ['y', 'dq', 'dk', 'dv'].forEach((name, j) => {
      const limit = j === 0 ? 1e-5 : 1e-4;
      const what = `${name} of shape ${i}: B ${B} H ${H} G ${G} T ${T} S ${S} D ${D} E ${E} ${JSON.stringify(options)}`;
      expect(largest(tiled[j], loops[j]), `tiled against loops, ${what}`).toBeLessThanOrEqual(limit);
      expect(largest(plain[j], loops[j]), `plain against loops, ${what}`).toBeLessThanOrEqual(limit);
    });
    if (T === 1) seen.one++;
    if (long) seen.odd++;
    if (S > T) seen.more++;
    if (S < T) seen.fewer++;
    if (G < H) seen.shared++;
    if (options.dropout) seen.dropped++;
    if (options.causal && S < T) seen.hidden++; // the first T − S queries see nothing
  }
  for (const [what, n] of Object.entries(seen)) expect(n, what).toBeGreaterThan(4); // each case did occur
});

test('3.1b extra memory of the tiled form grows ≤ 2.2× when T doubles, that of the plain form more than 3×', () => {
  // Counted in tensors (memory.peakBytes): exact and the same on every backend. The kernel's scratch of a few tiles a thread is not a tensor
  // and is not counted; it does not depend on T.
  const peak = (form: typeof plainAttention, T: number): number => {
    using _ = scope('one length');
    const rng = new Rng(1);
    const [q, k, v] = [0, 1, 2].map(() => normal(rng, 1, 1, T, 8).requireGrad());
    const before = memory.liveBytes;
    memory.peakBytes = before;
    form(q, k, v, { causal: true }).sum().backward();
    return memory.peakBytes - before;
  };
  const tiled = [256, 512, 1024].map((T) => peak(attention, T));
  expect(tiled[1] / tiled[0]).toBeLessThanOrEqual(2.2);
  expect(tiled[2] / tiled[1]).toBeLessThanOrEqual(2.2);
  expect(peak(plainAttention, 256) / peak(plainAttention, 128)).toBeGreaterThan(3);
});

test('3.1c scores of ±1e4 stay finite, forward and backward', () => {
  using _ = scope('large');
  const rng = new Rng(3);
  const q = normal(rng, 1, 2, 7, 4).requireGrad();
  const k = normal(rng, 1, 2, 7, 4).requireGrad();
  const v = normal(rng, 1, 2, 7, 4).requireGrad();
  const scale = 1e4 / q.matmul(k.T).abs().max().itemSync(); // the greatest score is 1e4
  const y = attention(q, k, v, { scale });
  expect([...y.readSync()].every(Number.isFinite)).toBe(true);
  const grads = y.square().sum().backward();
  for (const x of [q, k, v]) expect([...grads.get(x)!.readSync()].every(Number.isFinite)).toBe(true);
});

test('3.1c with bf16 products, and with inputs rounded to f16, the output is within 2e-2', () => {
  using _ = scope('half');
  const rng = new Rng(4);
  const [q, k, v] = [0, 1, 2].map(() => normal(rng, 1, 2, 33, 16));
  const exact = attention(q, k, v, { causal: true }).readSync();
  setPrecision('bf16');
  try {
    const half = tidy(() => attention(q, k, v, { causal: true }));
    expect(largest(half, exact)).toBeLessThanOrEqual(2e-2);
    expect(largest(half, exact)).toBeGreaterThan(1e-6); // it did round
  } finally {
    setPrecision('fp32');
  }
  const [qh, kh, vh] = [q, k, v].map((x) => x.cast('f16').cast('f32'));
  expect(largest(attention(qh, kh, vh, { causal: true }), exact)).toBeLessThanOrEqual(2e-2);
});
