import { expect, test } from 'vitest';
import { prefixMask, RotatingCache } from '../attention/index.ts';
import { dispose, parameterCount, stateDict } from '../nn/index.ts';
import { memory, noGrad, Rng, scope, tidy } from '../tensor/index.ts';
import { AdamW, cosine, train } from '../train/index.ts';
import type { Decoder } from './decoder.ts';
import { Gemma } from './gemma.ts';
import { GPT2 } from './gpt2.ts';
import { Llama } from './llama.ts';
import { NeoX } from './neox.ts';
import { Mixtral } from './mixtral.ts';
import { Olmo2 } from './olmo2.ts';
import { Tcn } from './tcn.ts';

const size = { vocabSize: 29, contextLength: 16, nLayer: 2, nHead: 2, dModel: 12 };
const families: [string, () => Decoder][] = [
  ['gpt2', () => new GPT2(size, new Rng(1))],
  ['llama', () => new Llama(size, new Rng(1))],
  [
    'llama, grouped queries, QK-norm, untied',
    () => new Llama({ ...size, nHead: 3, nKvHead: 1, qkNorm: true, tied: false }, new Rng(1)),
  ],
  [
    'llama, window, biases, layers without positions',
    () => new Llama({ ...size, window: 3, qkvBias: true, noRopeEvery: 2, headDim: 4, rotaryDim: 2 }, new Rng(1)),
  ],
  ['olmo2', () => new Olmo2({ ...size, nHead: 3, nKvHead: 1 }, new Rng(1))],
  ['neox', () => new NeoX({ ...size, rotaryDim: 2 }, new Rng(1))],
  ['neox, one branch after the other', () => new NeoX({ ...size, rotaryDim: 2, parallel: false, tied: true }, new Rng(1))],
  ['gemma, soft caps', () => new Gemma({ ...size, window: 3, attnSoftcap: 50, logitSoftcap: 30 }, new Rng(1))],
  [
    'gemma, QK-norm',
    () => new Gemma({ ...size, window: 3, headDim: 8, nKvHead: 1, qkNorm: true, localRopeBase: 100 }, new Rng(1)),
  ],
  ['mixtral', () => new Mixtral({ ...size, nExpert: 4, nExpertPerToken: 2, window: 3 }, new Rng(1))],
  [
    'mixtral, a shared expert, probabilities as they are',
    () =>
      new Mixtral(
        { ...size, nExpert: 3, nExpertPerToken: 1, dFF: 16, dShared: 16, renormalise: false, qkvBias: true },
        new Rng(1),
      ),
  ],
  ['tcn', () => new Tcn(size, new Rng(1))],
];
const someIds = (n: number, seed = 7): Int32Array => {
  const rng = new Rng(seed);
  return Int32Array.from({ length: n }, () => rng.int(size.vocabSize));
};
const batch = { inputs: someIds(3 * 11), targets: someIds(3 * 11, 8), shape: [3, 11] as const };

test.each(families)('2.3.3b %s: the first loss is ln V ± 0.1', (_, make) => {
  using _s = scope();
  const model = make();
  expect(Math.abs(model.loss(batch).itemSync() - Math.log(size.vocabSize))).toBeLessThan(0.1);
  dispose(model);
});

test.each(families)('2.3.3a %s overfits one batch to a loss below 0.01 in 300 steps, and memory stays flat', async (_, make) => {
  const model = make();
  const optimizer = new AdamW(stateDict(model), { weightDecay: 0 });
  let live: number | undefined; // after the first step, which makes the rotary tables
  let last = Infinity;
  const schedule = cosine({ peak: 2e-2, final: 1e-3, warmup: 10, steps: 300 });
  for await (const { lossNats } of train(model, {
    steps: 300,
    batch: () => batch,
    loss: (b) => model.loss(b),
    optimizer,
    schedule,
    clip: 1,
  })) {
    last = lossNats;
    expect(memory.liveBytes).toBe((live ??= memory.liveBytes));
    if (last < 0.01) break;
  }
  expect(last).toBeLessThan(0.01);
  optimizer.dispose();
  dispose(model);
});

test.each(families)('3.2d %s: decoding with a cache equals one full pass for every prefix', (_, make) => {
  using _s = scope();
  const model = make();
  const ids = someIds(12);
  const V = size.vocabSize;
  noGrad(() => {
    const full = model.forward(ids, [1, 12]).readSync();
    const caches = model.newCaches(1);
    for (const [from, to] of [
      [0, 5],
      [5, 6],
      [6, 9],
      [9, 12],
    ]) {
      const part = tidy(() => model.forward(ids.slice(from, to), [1, to - from], { caches })).readSync();
      part.forEach((v, i) => expect(v).toBeCloseTo(full[from * V + i], 4));
    }
    for (const c of caches) c[Symbol.dispose]();
  });
  dispose(model);
});

test.each(families)('%s: the past ignores the future', (_, make) => {
  using _s = scope();
  const model = make();
  const a = someIds(9);
  const b = a.slice();
  b[6] = (b[6] + 1) % size.vocabSize;
  const [la, lb] = [a, b].map((ids) => model.forward(ids, [1, 9]).readSync());
  const V = size.vocabSize;
  expect(la.subarray(0, 6 * V)).toEqual(lb.subarray(0, 6 * V));
  expect(la.subarray(6 * V)).not.toEqual(lb.subarray(6 * V));
  dispose(model);
});

test.each(families.filter(([name]) => name !== 'tcn'))(
  'prefix LM, %s: the prefix is seen as a whole, what follows it only by its future',
  (_, make) => {
    using _s = scope();
    const model = make();
    const [T, C, prefixes] = [9, size.dModel, [3, 5]];
    const ids = someIds(2 * T);
    const read = (x: Int32Array): Float32Array =>
      model.hidden(x, [2, T], { causal: false, mask: prefixMask(T, T, prefixes) }).readSync() as Float32Array;
    const before = read(ids).slice();
    for (const [b, prefix] of prefixes.entries())
      for (const j of [prefix - 1, prefix + 1]) {
        const after = read(ids.map((id, i) => (i === b * T + j ? (id + 1) % size.vocabSize : id)));
        const moved = Array.from({ length: 2 * T }, (_x, i) => i).filter((i) =>
          after.subarray(i * C, (i + 1) * C).some((v, c) => Math.abs(v - before[i * C + c]) > 1e-6),
        );
        expect(moved[0]).toBe(b * T + (j < prefix ? 0 : j)); // the first place that has seen it
        expect(moved.every((i) => Math.floor(i / T) === b)).toBe(true);
      }
    dispose(model);
  },
);

test('3.2d layers with a window keep two windows of keys and values, the others all', () => {
  const kinds = (model: Decoder): string => {
    const caches = model.newCaches(1);
    const said = caches.map((c) => (c instanceof RotatingCache ? 'window' : 'all')).join(' ');
    for (const c of caches) c[Symbol.dispose]();
    dispose(model);
    return said;
  };
  const long = { ...size, contextLength: 64, nLayer: 3 };
  expect(kinds(new Llama({ ...long, window: 3 }, new Rng(1)))).toBe('window window window'); // Mistral
  expect(kinds(new Gemma({ ...long, window: 3, globalEvery: 3 }, new Rng(1)))).toBe('window window all');
  expect(kinds(new Mixtral({ ...long, nExpert: 2, nExpertPerToken: 1 }, new Rng(1)))).toBe('all all all');
  expect(kinds(new Llama({ ...long, window: 40 }, new Rng(1)))).toBe('all all all'); // two windows are more than the text
});

test('2.3.1a GPT-2 (124M) has 124,439,808 parameters', () => {
  // Counted from the shapes of one block, so that no 500 MB are filled for a test.
  using _s = scope();
  const one = new GPT2({ vocabSize: 50_257, contextLength: 1024, nLayer: 1, nHead: 12, dModel: 768 }, new Rng(1));
  const total = parameterCount(one);
  const block = parameterCount(one.blocks[0]);
  expect(total + 11 * block).toBe(124_439_808);
  dispose(one);
});

test('a recorder sees attention weights that sum to one, and costs nothing when absent', () => {
  using _s = scope();
  const model = new GPT2(size, new Rng(1));
  const seen: string[] = [];
  model.forward(someIds(5), [1, 5], {
    record: (name, weights) => {
      if (name.endsWith('.output')) return;
      seen.push(`${name} (${weights.shape})`);
      weights
        .sum({ axis: -1 })
        .readSync()
        .forEach((s) => expect(s).toBeCloseTo(1, 5));
    },
  });
  expect(seen).toEqual(['blocks.0.attn.weights (1,2,5,5)', 'blocks.1.attn.weights (1,2,5,5)']);
  dispose(model);
});
