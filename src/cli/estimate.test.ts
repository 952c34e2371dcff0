process.env['QKV_BACKEND'] = 'reference';
import { expect, test } from 'vitest';
import { buildModel } from '../applications/model-folder.ts';
import { dispose, parameterCount } from '../nn/index.ts';
import { resolve, settingsOfArguments } from '../settings/config.ts';
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
    ['model=neox', 'nLayer=3', 'nHead=2', 'dModel=32', 'dFF=5'],
    ['model=neox', 'nLayer=3', 'nHead=2', 'dModel=32', 'tied=false'],
    ['model=gemma', 'nLayer=3', 'nHead=4', 'nKvHead=2', 'dModel=24', 'qkNorm=true'],
    ['model=olmo2', 'nLayer=3', 'nHead=4', 'nKvHead=2', 'dModel=24', 'tied=false'],
    ['model=mixtral', 'nLayer=2', 'nHead=4', 'nKvHead=2', 'dModel=24', 'nExpert=3', 'nExpertPerToken=1'],
    ['model=tcn', 'nLayer=3', 'dModel=10', 'width=2'],
    ['model=bert', 'nLayer=3', 'nHead=2', 'dModel=10', 'contextLength=7'],
    ['model=t5', 'nLayer=3', 'nHead=2', 'dModel=10'],
    ['model=t5', 'nLayer=2', 'nHead=2', 'dModel=10', 'tied=false', 'dFF=7'],
    ['model=transformer', 'nLayer=3', 'nHead=2', 'dModel=12'],
    ['model=transformer', 'nLayer=2', 'nHead=2', 'dModel=12', 'preNorm=true', 'dFF=5'],
    ['model=rnn', 'dModel=10'],
    ['model=rnn', 'dModel=10', 'cell=gru', 'attention=general'],
    ['model=rnn', 'dModel=10', 'cell=rnn', 'attention=none'],
    ['model=conv', 'nLayer=3', 'dModel=10', 'width=5', 'contextLength=7'],
  ]) {
    const c = config(...words);
    const { model } = buildModel(c, 31);
    expect(parametersOf(c, 31).total, words.join(' ')).toBe(parameterCount(model));
    expect(treeOf(c, 31).parameters, words.join(' ')).toBe(parameterCount(model));
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

test('memory: 16 bytes a parameter where parameters rule; activations grow with batch and context; the total is the sum of its parts', () => {
  const wide = config('depth=4', 'batch=1', 'contextLength=8');
  const m = memoryOf(wide, 2048);
  expect(m.weights + m.gradients + m.moments + m.activations).toBe(16 * parametersOf(wide, 2048).total);
  const kept = (batch: number) => {
    const { activations, gradients } = memoryOf({ ...config(), batch }, 256); // beyond the room of the gradients
    return activations + gradients;
  };
  expect(kept(32)).toBe(2 * kept(16));
  expect(memoryOf({ ...config(), accumulate: 2 }, 256).total).toBeGreaterThan(memoryOf(config(), 256).total);
  const { total, ...parts } = m;
  expect(Object.values(parts).reduce((a, b) => a + b, 0)).toBe(total);
});

/** Settings, then bytes that were measured: all tensors at their peak, and the process (Node 20, native AVX2, two threads, three steps on 1 MB of text). */
const measured: [words: string[], vocabSize: number, tensors: number, resident: number][] = [
  [['tokenizer=byte'], 256, 47.9e6, 140e6],
  [['tokenizer=byte', 'model=gpt2'], 256, 47.3e6, 143e6],
  [['tokenizer=byte', 'nLayer=8'], 256, 91.8e6, 206e6],
  [['tokenizer=byte', 'model=gpt2', 'nLayer=8'], 256, 90.5e6, 204e6],
  [['tokenizer=byte', 'nLayer=2', 'dModel=256', 'contextLength=256', 'batch=8'], 256, 103.0e6, 216e6],
  [['tokenizer=byte', 'model=gpt2', 'nLayer=2', 'dModel=256', 'contextLength=256', 'batch=8'], 256, 101.9e6, 210e6],
  [['tokenizer=byte', 'nLayer=1', 'batch=64'], 256, 51.0e6, 149e6],
  [['tokenizer=byte', 'accumulate=2'], 256, 51.3e6, 155e6],
  [['tokenizer=byte', 'dModel=512', 'nHead=8', 'batch=1'], 256, 205.3e6, 325e6],
  [['tokenizer=byte', 'precision=bf16', 'nLayer=8'], 256, 91.8e6, 205e6],
  [['tokenizer=byte', 'model=gpt2', 'dropout=0.1', 'nLayer=8'], 256, 91.5e6, 205e6],
  [['vocabSize=4096'], 4096, 56.4e6, 208e6],
];

test('the estimate is within 10 % of what was measured on 12 settings', () => {
  for (const [words, vocabSize, tensors, resident] of measured) {
    const m = memoryOf(config(...words), vocabSize);
    const ours = m.weights + m.gradients + m.moments + m.activations + m.logits;
    expect(Math.abs(ours / tensors - 1), `${words} tensors ${ours / 1e6} MB`).toBeLessThan(0.1);
    expect(Math.abs(m.total / resident - 1), `${words} resident ${m.total / 1e6} MB`).toBeLessThan(0.1);
  }
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
