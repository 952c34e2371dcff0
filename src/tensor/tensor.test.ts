import { afterEach, expect, test } from 'vitest';
import {
  concat,
  crossEntropy,
  fusedAttention,
  linear,
  linearCrossEntropy,
  memory,
  noGrad,
  recompute,
  rmsNorm,
  Rng,
  scope,
  startProfile,
  Tensor,
  tidy,
} from './index.ts';

afterEach(() => expect(memory.liveBytes).toBe(0));
const values = (t: Tensor): number[] => Array.from(t.readSync());

test('a sum of products has the other factor as its gradient', () => {
  using _ = scope();
  const a = Tensor.from([1, 2, 3]).requireGrad();
  const b = Tensor.from([4, 5, 6]).requireGrad();
  const grads = a.mul(b).sum().backward();
  expect(values(grads.get(a)!)).toEqual([4, 5, 6]);
  expect(values(grads.get(b)!)).toEqual([1, 2, 3]);
});

test('a tensor that is used twice collects both gradients', () => {
  using _ = scope();
  const a = Tensor.from([1, 2, 3]).requireGrad();
  const grads = a.mul(a).add(a).sum().backward(); // 2a + 1
  expect(values(grads.get(a)!)).toEqual([3, 5, 7]);
});

test('broadcasting sums the gradient over what was repeated', () => {
  using _ = scope();
  const a = Tensor.from([1, 2, 3, 4, 5, 6], [2, 3]).requireGrad();
  const b = Tensor.from([10, 20, 30]).requireGrad();
  const grads = a.add(b).mul(2).sum().backward();
  expect(values(grads.get(b)!)).toEqual([4, 4, 4]);
  expect(grads.get(a)!.shape).toEqual([2, 3]);
});

test('rearrange splits heads without a copy and back', () => {
  using _ = scope();
  const x = Tensor.arange(2 * 3 * 4).reshape([2, 3, 4]);
  const before = memory.liveBytes;
  const heads = x.rearrange('B T (H D) -> B H T D', { H: 2 });
  expect(heads.shape).toEqual([2, 2, 3, 2]);
  expect(values(heads.rearrange('B H T D -> B T (H D)'))).toEqual(values(x));
  expect(memory.liveBytes - before).toBeLessThanOrEqual(2 * 3 * 4 * 4); // at most the merge back was copied
  expect(() => x.rearrange('B T (H D) -> B H T D', { H: 3 })).toThrow('4 is not divisible by H = 3');
});

test('split, slice, concat and pad hand their gradients to the right places', () => {
  using _ = scope();
  const x = Tensor.arange(8).reshape([2, 4]).requireGrad();
  const [a, b] = x.split(2);
  const y = concat([b.mul(3), a], 1)
    .slice(1, 1, 3)
    .pad(1, 1, 0); // columns: b₁·3, a₀
  const grads = y.sum().backward();
  expect(values(grads.get(x)!)).toEqual([1, 0, 0, 3, 1, 0, 0, 3]);
});

test('errors name the operation, the values and the way out', () => {
  using _ = scope();
  const x = Tensor.zeros([2, 16, 64]);
  expect(() => x.matmul(Tensor.zeros([32, 64]))).toThrow(
    /inner sizes differ[\s\S]*\(2, 16, 64\)[\s\S]*Did you mean a\.matmul\(b\.T\)/,
  );
  expect(() => x.dims('B T C', { C: 128 })).toThrow('C should be 128, but axis 2 of (2, 16, 64) is 64');
  expect(() => x.add(Tensor.zeros([32]))).toThrow('64 against 32');
  expect(() => x.requireGrad().mul(2).backward()).toThrow('backward() starts from a scalar');
  expect(() => Tensor.zeros([3, 2]).rows([1, 7])).toThrow('id 7 at position 1 is outside the vocabulary (0 … 2)');
  expect(() => Tensor.zeros([2, 0]).max({ axis: 1 })).toThrow('an axis of (2, 0) is empty');
  expect(() => Tensor.zeros([2], 'i32').add(1)).toThrow("cast first: x.cast('f32')".replace('cast', 'Cast'));
  const loss = x.detach().requireGrad().sum();
  loss.backward();
  expect(() => loss.backward()).toThrow('backward() was called twice');
});

test('use after the scope ended names the tensor and the scope', () => {
  let y!: Tensor;
  {
    using _ = scope('step');
    y = Tensor.zeros([3]).add(1);
  }
  expect(() => y.readSync()).toThrow("tensor (3) made by affine was used after scope 'step' ended");
  const kept = tidy(() => Tensor.zeros([3]).add(1));
  expect(values(kept)).toEqual([1, 1, 1]);
  kept.free();
});

test('an await inside a scope, while another task opens one, is caught', async () => {
  let end = (): void => {};
  async function a() {
    using _ = scope('A');
    await new Promise<void>((r) => {
      end = r;
    });
  }
  const pending = a();
  using _ = scope('B'); // open when A ends
  end();
  await expect(pending).rejects.toThrow("scope 'A' closed out of order: 'B' was still open");
});

test('live bytes after a training step equal the bytes before it', () => {
  const rng = new Rng(3);
  const w = Tensor.normal([5, 7], 1, rng).asParameter();
  const b = Tensor.zeros([5]).asParameter();
  const before = memory.liveBytes;
  for (let i = 0; i < 3; i++) {
    using _ = scope('step');
    const x = Tensor.normal([11, 7], 1, rng);
    const y = linear(x, w, b).geluTanh();
    const loss = crossEntropy(y, new Int32Array(11).fill(2));
    const grads = loss.backward();
    expect(grads.size).toBe(2);
  }
  expect(memory.liveBytes).toBe(before);
  w.free();
  b.free();
});

test('a graph that is never differentiated is let go with its tensors', () => {
  using _ = scope();
  const a = Tensor.ones([1000]).requireGrad();
  const before = memory.liveBytes;
  tidy(() => a.exp().mul(a).sum()).free();
  expect(memory.liveBytes).toBe(before);
});

test('tidy frees what neither the result nor the tape needs, and the gradient still comes out right', () => {
  using _ = scope();
  const a = Tensor.from([0.5, -1, 2]).requireGrad();
  const y = tidy(() => a.exp().add(1).log()); // softplus
  const grads = y.sum().backward();
  const expected = [0.5, -1, 2].map((x) => 1 / (1 + Math.exp(-x)));
  values(grads.get(a)!).forEach((g, i) => expect(g).toBeCloseTo(expected[i], 6));
});

test('queries, keys and values of one projection: the gradients are those of three tensors, and no byte of them is copied', () => {
  using _ = scope();
  const rng = new Rng(9);
  const [B, T, H, D] = [2, 5, 3, 7];
  const qkv = Tensor.normal([B, T, 3 * H * D], 1, rng).requireGrad();
  const heads = (x: Tensor): Tensor => x.rearrange('B T (H D) -> B H T D', { H });
  const three = qkv
    .detach()
    .split(3)
    .map((x) => x.contiguous().requireGrad());
  const loss = (parts: readonly Tensor[]): Tensor => {
    const [q, k, v] = parts.map(heads);
    return fusedAttention(q, k, v, { causal: true }).y.square().sum();
  };
  const apart = loss(three).backward();
  const one = loss(qkv.split(3));
  const since = startProfile();
  const together = one.backward();
  const copies = since?.().kernels.get('copy')?.calls ?? 0;
  expect(values(together.get(qkv)!)).toEqual(values(concat(three.map((x) => apart.get(x)!))));
  expect(copies).toBe(0);
  // keys that are their own values: each must keep its gradient
  const [a, b] = [qkv.split(3), three].map(([q, k]) => loss([q, k, k]).backward());
  const half = [0, 1].map((i) => b.get(three[i])!);
  expect(values(a.get(qkv)!.slice(2, 0, 2 * H * D))).toEqual(values(concat(half)));
});

test('attention without a graph: one query, weights by hand', () => {
  using _ = scope();
  const q = Tensor.from([1, 0], [1, 1, 1, 2]);
  const k = Tensor.from([1, 0, 0, 1], [1, 1, 2, 2]);
  const v = Tensor.from([10, 20], [1, 1, 2, 1]);
  const { y } = noGrad(() => fusedAttention(q, k, v, { scale: 1 }));
  const w = Math.E / (Math.E + 1);
  expect(y.itemSync()).toBeCloseTo(10 * w + 20 * (1 - w), 5);
});

test('linearCrossEntropy = crossEntropy of linear, loss and gradients', () => {
  using _ = scope();
  const rng = new Rng(5);
  const x = Tensor.normal([7, 3], 1, rng).requireGrad();
  const w = Tensor.normal([11, 3], 1, rng).requireGrad();
  const targets = [1, 2, -100, 4, 10, 0, 3];
  const a = crossEntropy(linear(x, w), targets, { labelSmoothing: 0.1, zLoss: 1e-3 });
  const b = linearCrossEntropy(x, w, targets, { labelSmoothing: 0.1, zLoss: 1e-3 });
  expect(a.itemSync()).toBeCloseTo(b.itemSync(), 5);
  const [ga, gb] = [a.backward(), b.backward()];
  for (const leaf of [x, w]) values(ga.get(leaf)!).forEach((g, i) => expect(g).toBeCloseTo(values(gb.get(leaf)!)[i], 5));
});

test('5.2.3a recomputing activations gives the same gradients, dropout included, with at least 30 % less memory', () => {
  const results = [false, true].map((again) => {
    using _ = scope('one way');
    const rng = new Rng(6);
    const masks = new Rng(8);
    const ws = Array.from({ length: 6 }, () => Tensor.normal([32, 32], 0.2, rng).requireGrad());
    let x = Tensor.normal([64, 32], 1, rng).requireGrad();
    const input = x;
    const before = memory.liveBytes;
    for (let i = 0; i < 6; i += 2) {
      const block = (h: Tensor): Tensor =>
        linear(linear(h, ws[i]).geluTanh(), ws[i + 1])
          .geluTanh()
          .dropout(0.2, masks.fork())
          .add(h);
      x = again ? recompute(block, [x], { rng: masks }) : tidy(() => block(x));
    }
    const held = memory.liveBytes - before;
    const grads = x.square().mean().backward();
    return { held, grads: [input, ...ws].map((t) => values(grads.get(t)!)) };
  });
  expect(results[1].grads).toEqual(results[0].grads);
  expect(results[1].held).toBeLessThan(0.7 * results[0].held);
});

/** norm → two products → gated GELU → product, as in a block: every large value between is one pass over others. */
function gatedBlock(x: Tensor, [w, gate, up, down]: readonly Tensor[]): Tensor {
  return tidy(() => {
    const n = rmsNorm(x, w);
    return linear(linear(n, gate).geluTanh().mul(linear(n, up)), down)
      .square()
      .sum();
  });
}

test('large values that are one pass over others are made again in the backward pass, with the gradients of values that were kept', () => {
  using _ = scope();
  const [R, C] = [20480, 64]; // 5.2 MB: made again; a quarter of the rows is kept
  const rng = new Rng(7);
  const all = Tensor.normal([R, C], 1, rng);
  const weights = [Tensor.normal([C], 1, rng), ...[0, 1, 2].map(() => Tensor.normal([C, C], 0.02, rng))];
  for (const w of weights) w.requireGrad();
  const before = memory.liveBytes;
  const x = all.detach().requireGrad();
  const loss = gatedBlock(x, weights);
  const held = memory.liveBytes - before;
  expect(held).toBeLessThan(3.1 * R * C * 4); // the outputs of the three products, and not the norm, the GELU and what the gate lets pass
  const grads = loss.backward();

  const quarters = [0, 1, 2, 3].map((i) =>
    all
      .slice(0, (i * R) / 4, ((i + 1) * R) / 4)
      .detach()
      .requireGrad(),
  );
  const parts = quarters.map((part) => gatedBlock(part, weights).backward());
  const pairs: [Tensor, Tensor][] = [
    [
      grads.get(x)!,
      concat(
        quarters.map((part, i) => parts[i].get(part)!),
        0,
      ),
    ],
  ];
  for (const w of weights) pairs.push([grads.get(w)!, parts.map((g) => g.get(w)!).reduce((sum, g) => sum.add(g))]);
  for (const [a, b] of pairs) {
    const [whole, pieces] = [values(a), values(b)];
    const largest = whole.reduce((m, g) => Math.max(m, Math.abs(g)), 0);
    expect(whole.filter((g, i) => !(Math.abs(g - pieces[i]) < 1e-5 * largest))).toEqual([]); // sums in other groups
  }
});

test('a gradient is written over an input only where nobody else reads that', () => {
  using _ = scope();
  const a = Tensor.from([0.5, -1, 2]).requireGrad();
  const b = a.mul(2); // read by exp and by tanh; `watched` holds its memory
  const watched = b.detach();
  const grads = b.exp().add(b.tanh()).sum().backward();
  expect(values(watched)).toEqual([1, -2, 4]);
  expect(values(a)).toEqual([0.5, -1, 2]);
  const slope = (x: number): number => Math.exp(x) + 1 - Math.tanh(x) ** 2;
  values(grads.get(a)!).forEach((g, i) => expect(g).toBeCloseTo(2 * slope([1, -2, 4][i]), 4));
});

test('what is lost outside of every scope goes with the garbage collector', async () => {
  const { gc } = globalThis as { gc?: () => void };
  if (!gc) throw new Error('run with --expose-gc');
  const before = memory.liveBytes;
  (() => {
    const lost = Tensor.ones([1000]).requireGrad();
    lost.exp().mul(2);
  })();
  expect(memory.liveBytes).toBeGreaterThan(before);
  while (memory.liveBytes > before) {
    gc();
    await new Promise((r) => setTimeout(r, 10)); // finalizers run in a task of their own, when the collector likes
  }
  expect(memory.liveBytes).toBe(before);
});
