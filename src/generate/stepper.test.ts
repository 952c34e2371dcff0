import { expect, test } from 'vitest';
import { type KVCache, QuantizedCache, RotatingCache, UnevenRows } from '../attention/index.ts';
import { Gemma, GPT2, Llama } from '../models/index.ts';
import { dispose, quantise, type WeightPrecision } from '../nn/index.ts';
import { backend, memory, Rng } from '../tensor/index.ts';
import type { Writer } from './generate.ts';
import { Stepper } from './stepper.ts';

const shape = { vocabSize: 41, contextLength: 160, nLayer: 2, nHead: 4, dModel: 64 };
const models: Record<string, () => Writer & object> = {
  GPT2: () => new GPT2(shape, new Rng(4)),
  Llama: () => new Llama({ ...shape, nKvHead: 2, qkNorm: true }, new Rng(4)),
};
/** Logits of 150 steps of two sequences, the second `behind` places behind the first, a way back to place 9 and 100 more. */
async function write(
  model: Writer,
  replay: boolean,
  behind = 0,
  id = (n: number): number => (n * 7 + ((n * n) % 5)) % 41,
): Promise<{ logits: Float32Array[]; replayed: number }> {
  const caches = model.newCaches(2);
  using rows = new UnevenRows([0, behind], 160);
  if (behind > 0) for (const c of caches) Object.assign(c as KVCache, { rows, length: behind });
  const stepper = new Stepper(model, caches, 2, { replay });
  const logits: Float32Array[] = [];
  let replayed = 0;
  for (let n = 0; n < 250; n++) {
    if (n === 150) for (const c of caches) c.truncate(9);
    logits.push(await stepper.step(Int32Array.of(id(n), id(n + 2))));
    if (stepper.replaying) replayed++;
  }
  stepper[Symbol.dispose]();
  for (const c of caches) c[Symbol.dispose]();
  return { logits, replayed };
}

test.each(
  Object.keys(models).flatMap((name) =>
    (['f32', 'int8'] as WeightPrecision[]).flatMap((precision) => [0, 5].map((behind) => ({ name, precision, behind }))),
  ),
)(
  'steps that are queued again give the bits of steps that run the model: $name $precision, $behind behind',
  async ({ name, precision, behind }) => {
    const model = models[name]();
    quantise(model, precision);
    const plain = await write(model, false, behind); // makes the rotary tables
    const live = memory.liveBytes;
    const again = await write(model, true, behind);
    expect(again.logits).toEqual(plain.logits);
    expect(plain.replayed).toBe(0);
    if (backend().prepare) expect(again.replayed).toBeGreaterThan(240);
    expect(memory.liveBytes).toBe(live);
    dispose(model);
  },
);

test('tables that end are met: rotary angles are made for 64 places, then for more', async () => {
  const model = models.Llama();
  const [again, plain] = [await write(model, true), await write(model, false)];
  expect(again.logits).toEqual(plain.logits);
  if (backend().prepare) expect(again.replayed).toBeGreaterThan(230);
  dispose(model);
});

const windows: Record<string, () => Writer & object> = {
  'all layers': () => new Llama({ ...shape, contextLength: 400, nKvHead: 2, window: 30 }, new Rng(4)),
  'every other layer': () =>
    new Gemma({ ...shape, contextLength: 400, nKvHead: 2, headDim: 16, window: 30, globalEvery: 2 }, new Rng(4)),
};
/** Logits of 300 steps of two sequences, with a way back while the window slides and one to the beginning. */
async function writeWithWindow(model: Writer, replay: boolean): Promise<{ logits: Float32Array[]; replayed: number }> {
  const caches = model.newCaches(2);
  expect(caches.some((c) => c instanceof RotatingCache)).toBe(true);
  const stepper = new Stepper(model, caches, 2, { replay });
  const logits: Float32Array[] = [];
  let replayed = 0;
  for (let n = 0; n < 300; n++) {
    if (n === 50) for (const c of caches) c.truncate(40);
    if (n === 150) for (const c of caches) c.truncate(0);
    const run = model.nextLogits;
    let ran = false;
    Object.assign(model, {
      nextLogits: (...a: Parameters<Writer['nextLogits']>) => {
        ran = true;
        return run(...a);
      },
    });
    logits.push(await stepper.step(Int32Array.of((n * 7) % 41, (n * 11 + 3) % 41)));
    Object.assign(model, { nextLogits: run });
    if (!ran) replayed++;
  }
  stepper[Symbol.dispose]();
  for (const c of caches) c[Symbol.dispose]();
  return { logits, replayed };
}
test.each(Object.entries(windows))(
  'rotating caches replay between two moves to the front, to the bit: %s',
  async (_name, make) => {
    const model = make();
    await writeWithWindow(model, false); // makes the rotary tables
    const live = memory.liveBytes;
    const plain = await writeWithWindow(model, false);
    const again = await writeWithWindow(model, true);
    expect(again.logits).toEqual(plain.logits);
    expect(plain.replayed).toBe(0);
    if (backend().prepare) expect(again.replayed).toBeGreaterThan(240);
    expect(memory.liveBytes).toBe(live);
    dispose(model);
  },
);

test.each([
  { text: 'one id for ever', id: () => 7 },
  { text: 'ids that rise evenly', id: (n: number) => (3 * n + 5) % 41 },
  { text: 'ids that count the places', id: (n: number) => n % 41 },
])('$text: not taken for places', async ({ id }) => {
  const model = models.GPT2();
  const [plain, again] = [await write(model, false, 0, id), await write(model, true, 0, id)];
  expect(again.logits).toEqual(plain.logits);
  if (backend().prepare) expect(again.replayed).toBeGreaterThan(200);
  dispose(model);
});

test.each(Object.keys(models))(
  'keys and values of 8 bits replay, though the numbers made of them grow by a place a step: %s',
  async (name) => {
    const model = models[name]();
    const { nKvHead = 4 } = model.config as { nKvHead?: number };
    const quantised: Writer = {
      config: model.config,
      nextLogits: (...a) => model.nextLogits(...a),
      newCaches: (B) => [0, 1].map(() => new QuantizedCache(B, nKvHead, 160, 16)),
    };
    const plain = await write(quantised, false);
    const live = memory.liveBytes;
    const again = await write(quantised, true);
    expect(again.logits).toEqual(plain.logits);
    if (backend().prepare) expect(again.replayed).toBeGreaterThan(240);
    expect(memory.liveBytes).toBe(live);
    dispose(model);
  },
);

test('a model that looks at values on the way is run at each step', async () => {
  const model = models.GPT2();
  const looking: Writer = {
    config: model.config,
    newCaches: (B) => model.newCaches(B),
    nextLogits: (...a) => {
      const logits = model.nextLogits(...a);
      logits.readSync();
      return logits;
    },
  };
  const { replayed } = await write(looking, true);
  expect(replayed).toBe(0);
  dispose(model);
});
