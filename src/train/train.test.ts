import { expect, test } from 'vitest';
import type { QkvError } from '../errors.ts';
import { Linear, stateDict } from '../nn/index.ts';
import { crossEntropy, memory, Rng, scope, Tensor } from '../tensor/index.ts';
import { AdamW, cosine, linearDecay, noam, train, wsd } from './index.ts';

const values = (t: Tensor): number[] => Array.from(t.readSync());

test('5.2.2c schedules: each warms up linearly, peaks, and ends where it says', () => {
  const o = { peak: 1, final: 0.1, warmup: 4, steps: 104 };
  for (const schedule of [cosine(o), linearDecay(o), wsd(o)]) {
    expect([0, 1, 2, 3].map(schedule)).toEqual([0.25, 0.5, 0.75, 1]);
    expect(schedule(4)).toBe(1);
    expect(schedule(104)).toBeCloseTo(0.1, 12);
  }
  expect(cosine(o)(54)).toBeCloseTo(0.55, 12); // half way down half a cosine
  expect(linearDecay(o)(54)).toBeCloseTo(0.55, 12);
  expect(wsd(o)(82)).toBe(1);
  const attentionIsAllYouNeed = noam({ dModel: 512, warmup: 4000 });
  expect(attentionIsAllYouNeed(3999)).toBeCloseTo(512 ** -0.5 * 4000 ** -0.5, 12);
  expect(attentionIsAllYouNeed(0)).toBeCloseTo(512 ** -0.5 * 4000 ** -1.5, 14);
});

test('5.2.2b AdamW: 20 steps equal the algorithm in float64 to 1e-6; matrices decay, vectors do not; gradients are clipped', () => {
  using _ = scope();
  const rng = new Rng(2);
  const w = Tensor.normal([3, 5], 1, rng).asParameter();
  const b = Tensor.normal([5], 1, rng).asParameter();
  const options = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 };
  const optimizer = new AdamW(
    new Map([
      ['w', w],
      ['b', b],
    ]),
    options,
  );
  const expected = [w, b].map((p) => ({ p: values(p), m: values(p).map(() => 0), v: values(p).map(() => 0) }));
  const clip = 0.5;
  const lr = 1e-2;
  for (let t = 1; t <= 20; t++) {
    using step = scope('step');
    const gw = Tensor.normal([3, 5], 1, rng);
    const gb = Tensor.normal([5], 1, rng);
    const grads = w.mul(gw).sum().add(b.mul(gb).sum()).backward();
    const norm = grads.norm();
    optimizer.step(grads, { lr, clip, norm });
    const g = [values(gw), values(gb)];
    const total = Math.hypot(...g.flat());
    expect(norm.itemSync()).toBeCloseTo(total, 5);
    const scale = Math.min(1, clip / (total + 1e-6));
    expected.forEach((s, i) => {
      for (let j = 0; j < s.p.length; j++) {
        const x = g[i][j] * scale;
        s.m[j] = 0.9 * s.m[j] + 0.1 * x;
        s.v[j] = 0.99 * s.v[j] + 0.01 * x * x;
        s.p[j] -= lr * (s.m[j] / (1 - 0.9 ** t) / (Math.sqrt(s.v[j] / (1 - 0.99 ** t)) + 1e-8) + (i === 0 ? 0.1 * s.p[j] : 0));
      }
    });
    void step;
  }
  [w, b].forEach((p, i) =>
    values(p).forEach((x, j) => expect(Math.abs(x - expected[i].p[j])).toBeLessThan(1e-6 * Math.max(1, Math.abs(x)))),
  );
  optimizer.dispose();
});

/** A linear classifier on made-up points. */
function toy() {
  const layer = new Linear(4, 3, { rng: new Rng(1), std: 0.5 });
  const rng = new Rng(9);
  const points = Array.from({ length: 12 * 4 }, () => rng.normal());
  const labels = Array.from({ length: 12 }, () => rng.int(3));
  const loss = ({ from, n }: { from: number; n: number }): Tensor =>
    crossEntropy(layer.forward(Tensor.from(points.slice(from * 4, (from + n) * 4), [n, 4])), labels.slice(from, from + n));
  return { layer, loss };
}

test('5.2.3a accumulating k micro-batches is one batch k times as large, to 1e-5', async () => {
  const run = async (accumulate: number): Promise<number[]> => {
    const { layer, loss } = toy();
    const optimizer = new AdamW(stateDict(layer));
    const n = 12 / accumulate;
    const options = {
      steps: 5,
      accumulate,
      loss,
      optimizer,
      schedule: () => 1e-2,
      clip: 1,
      batch: (_: number, micro: number) => ({ from: micro * n, n }),
    };
    const losses: number[] = [];
    for await (const { lossNats } of train(layer, options)) losses.push(lossNats);
    return [...losses, ...values(layer.weight), ...values(layer.bias!)];
  };
  const [one, four] = [await run(1), await run(4)];
  one.forEach((x, i) => expect(Math.abs(x - four[i])).toBeLessThan(1e-5));
});

test('a step that is given up between two micro-batches leaves everything as the last whole step did', async () => {
  const run = async (stopAt: number) => {
    const { layer, loss } = toy();
    const optimizer = new AdamW(stateDict(layer));
    let asked = 0;
    const live = memory.liveBytes;
    const options = {
      steps: 5,
      accumulate: 4,
      loss,
      optimizer,
      schedule: () => 1e-2,
      batch: (_: number, micro: number) => ({ from: micro * 3, n: 3 }),
      stopped: () => ++asked === stopAt,
    };
    let steps = 0;
    for await (const _ of train(layer, options)) steps++;
    expect(memory.liveBytes).toBe(live);
    return { steps, t: optimizer.t, weights: values(layer.weight), moments: [...optimizer.state().values()].map(values) };
  };
  const given = await run(3 * 2 + 2); // in the third step, before its third micro-batch
  expect(given).toMatchObject({ steps: 2, t: 2 });
  const { layer, loss } = toy();
  const optimizer = new AdamW(stateDict(layer));
  const batch = (_: number, micro: number) => ({ from: micro * 3, n: 3 });
  for await (const _ of train(layer, { steps: 2, accumulate: 4, loss, optimizer, schedule: () => 1e-2, batch }));
  expect(given.weights).toEqual(values(layer.weight));
  expect(given.moments).toEqual([...optimizer.state().values()].map(values));
});

test.each([
  ['a weight', 'weight', /First non-finite: weight/],
  ['the loss', 'loss', /loss became (NaN|Infinity)/],
  ['a gradient', 'gradient', /First non-finite: gradient of/],
])('NaN planted in %s stops before the update, and says where', async (_, place, message) => {
  const { layer, loss } = toy();
  const optimizer = new AdamW(stateDict(layer));
  const planted = (b: { from: number; n: number }, step: number): Tensor => {
    const l = loss(b);
    if (step < 3) return l;
    if (place === 'loss') return l.add(Number.NaN);
    // √x has no derivative at 0: the value is finite, the gradient is not.
    if (place === 'gradient') return l.add(layer.weight.sub(layer.weight.detach()).sqrt().sum());
    return l;
  };
  let before: number[] = [];
  let steps = 0;
  const batch = (step: number) => {
    steps = step;
    if (step === 3) {
      if (place === 'weight') {
        const w = values(layer.weight);
        w[5] = Number.NaN;
        layer.weight.write(w);
      }
      before = [...values(layer.weight), ...values(layer.bias!)];
    }
    return { from: 0, n: 12 };
  };
  const losses: number[] = [];
  const failed = (async () => {
    for await (const { lossNats } of train(layer, {
      steps: 10,
      batch,
      loss: (b) => planted(b, steps),
      optimizer,
      schedule: () => 1e-2,
      clip: 1,
    }))
      losses.push(lossNats);
  })();
  await expect(failed).rejects.toThrow(message);
  await failed.catch((e) => expect((e as QkvError).code).toBe('E140'));
  expect(losses).toHaveLength(3);
  expect([...values(layer.weight), ...values(layer.bias!)]).toEqual(before);
});

test('thousands of tiny steps leave live memory where it was', async () => {
  const { layer, loss } = toy();
  const optimizer = new AdamW(stateDict(layer));
  let live: number | undefined;
  let tensors = 0;
  for await (const { step } of train(layer, {
    steps: 2000,
    batch: () => ({ from: 0, n: 12 }),
    loss,
    optimizer,
    schedule: () => 1e-3,
  })) {
    if (step === 0) [live, tensors] = [memory.liveBytes, memory.tensors];
    else if (step % 500 === 0) expect([memory.liveBytes, memory.tensors]).toEqual([live, tensors]);
  }
});
