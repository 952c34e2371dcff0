process.env['QKV_BACKEND'] = 'reference';
import { expect, test } from 'vitest';
import { buildDecoder } from '../models/index.ts';
import { dispose, parameterCount } from '../nn/index.ts';
import { resolve, settingsOfArguments } from './config.ts';
import { flopsPerToken, memoryOf, parametersOf, secondsFor, waysToFit } from './estimate.ts';
import { checkMemory } from './verbs/estimate.ts';
import { treeOf } from './verbs/describe.ts';

const config = (...words: string[]) =>
  resolve([], settingsOfArguments(words.map((w) => ({ key: w.split('=')[0], text: w.split('=')[1] }))), { needData: false })
    .config;

test('parameters by formula are those of the models', () => {
  for (const words of [
    ['model=gpt2', 'nLayer=3', 'nHead=2', 'dModel=10', 'contextLength=7'],
    ['nLayer=3', 'nHead=2', 'dModel=12', 'contextLength=7', 'dFF=5'],
    ['nLayer=2', 'nHead=6', 'nKvHead=2', 'dModel=24', 'qkNorm=true', 'tied=false'],
  ]) {
    const c = config(...words);
    const model = buildDecoder(c, 31);
    expect(parametersOf(c, 31).total, words.join(' ')).toBe(parameterCount(model));
    expect(treeOf(c, 31).parameters).toBe(parameterCount(model));
    dispose(model);
  }
});

test('GPT-2 has its published 124,439,808 parameters', () => {
  expect(parametersOf(config('model=gpt2', 'size=small'), 50257).total).toBe(124_439_808);
});

test('arithmetic of a token: 6 for each weight it meets, and attention; the parts of the tree add up to it', () => {
  const c = config('model=gpt2', 'size=small');
  // 85,017,600 parameters of the blocks with biases, less norms, and the head
  expect(flopsPerToken(c, 50257)).toBe(
    6 * (12 * (4 * 768 * 768 + 4 * 768 + 8 * 768 * 768 + 5 * 768) + 50257 * 768) + 12 * 12 * 1024 * 768,
  );
  for (const words of [
    ['nLayer=3', 'dModel=64'],
    ['nLayer=3', 'dModel=64', 'tied=false'],
  ]) {
    const d = config(...words);
    const tree = treeOf(d, 100);
    expect(tree.children.reduce((n, child) => n + child.flops, 0)).toBe(flopsPerToken(d, 100));
  }
});

test('memory: 16 bytes a parameter before activations, which grow with batch and context', () => {
  const c = config('depth=4');
  const m = memoryOf(c, 2048);
  const { total } = parametersOf(c, 2048);
  expect(m.weights + m.gradients + m.moments).toBe(16 * total);
  expect(memoryOf({ ...c, batch: 2 * c.batch }, 2048).activations).toBe(2 * m.activations);
  expect(m.total).toBe(m.weights + m.gradients + m.moments + m.activations + m.logits + m.cast + m.staging + m.program);
});

test('what does not fit is refused with settings that do fit', () => {
  const c = config('size=small', 'batch=64');
  expect(() => checkMemory(c, 50257, { available: 8e9 })).toThrow(expect.objectContaining({ code: 'E120' }));
  expect(checkMemory(c, 50257, { available: 8e9, anyway: true })).toBe(true);
  expect(checkMemory(config(), 2048, { available: 8e9 })).toBe(false);
  const ways = waysToFit(c, 50257, 8e9);
  expect(ways.length).toBeGreaterThan(0);
  for (const { setting, bytes } of ways) {
    const other = config('size=small', 'batch=64', setting);
    expect(memoryOf(other, 50257).total).toBe(bytes);
    expect(bytes).toBeLessThanOrEqual(8e9);
  }
});

test('time is work ÷ rate', () => {
  const c = { ...config(), evalEvery: 0, evalBatches: 3 };
  const tokens = c.steps * c.batch * c.contextLength + (3 * c.batch * c.contextLength) / 3;
  expect(secondsFor(c, 2048, 1e9)).toBeCloseTo((tokens * flopsPerToken(c, 2048)) / 1e9, 6);
});
