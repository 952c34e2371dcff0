// Several sources in given shares: what is drawn, and a run that is stopped and goes on.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { dispose } from '../nn/index.ts';
import { resolve, settingsOfArguments, settingsOfFile } from '../settings/index.ts';
import { byteTokenizer } from '../tokenizers/index.ts';
import type { TrainEvent } from './events.ts';
import { buildModel } from './model-folder.ts';
import { pretrain } from './pretrain.ts';
import { openTask } from './tasks/open.ts';
import { textsOf } from './texts.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-mixture-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, letter: string, n: number) => {
  writeFileSync(join(folder, name), Array.from({ length: n }, (_, i) => `${letter.repeat(9)}${i}\n`).join(''));
  return join(folder, name);
};
const [a, b, c] = [file('a.txt', 'a', 900), file('b.txt', 'b', 300), file('c.txt', 'c', 3000)];

const words = {
  ...{
    data: a,
    'data.mix': `${b}:0.3,${c}:0.1`,
    'data.documents': 'line',
    tokenizer: 'byte',
    contextLength: '16',
    batch: '8',
    steps: '12',
  },
  ...{ nLayer: '1', nHead: '2', dModel: '8', evalEvery: '6', sampleEvery: '0', saveEvery: '1', evalBatches: '2' },
};
const configOf = (more: Record<string, string> = {}) =>
  resolve([], settingsOfArguments(Object.entries({ ...words, ...more }).map(([key, text]) => ({ key, text })))).config;

test.each(['false', 'true'])(
  'the shares are those that were asked for, sample by sample, validation is of data alone (documentMask=%s)',
  async (documentMask) => {
    const config = { ...configOf({ documentMask }), objective: 'causal' as const };
    const tokenizer = byteTokenizer({ specialTokens: ['<|endoftext|>'] });
    const any = buildModel(config, tokenizer.vocabSize);
    const task = await openTask(config, any, tokenizer, { folder: join(folder, '.data', 'a') });
    const drawn = { a: 0, b: 0, c: 0 };
    for (let m = 0; m < 128; m++) {
      const { inputs, documents, positions } = task.at(m);
      for (let row = 0; row < 8; row++) {
        const text = tokenizer.decode(inputs.subarray(row * 16, (row + 1) * 16));
        const letters = new Set(text.match(/[abc]/g));
        expect(letters.size).toBe(1); // a row is of one source
        drawn[[...letters][0] as 'a']++;
      }
      expect(documents !== undefined && positions.includes(0)).toBe(documentMask === 'true');
    }
    expect(drawn).toEqual({ a: 615, b: 307, c: 102 }); // of 1,024: the heaviest has what the others leave
    expect(task.trainTokens).toBeGreaterThan(task.manifest!.train.tokens);
    expect(task.manifest!.sources.map((s) => s.name)).toEqual(['a.txt']);
    const again = task.at(77);
    expect(task.at(77)).toEqual(again);
    task.close();
    dispose(any.model);
  },
);

test('a mixed run that is stopped and goes on ends as the one that was not, bit for bit', async () => {
  const root = join(folder, 'runs');
  const run = async (name: string, options: { stopAt?: number; resume?: boolean } = {}) => {
    const steps: (TrainEvent & { type: 'step' })[] = [];
    const stopped = () => steps.length >= (options.stopAt ?? Number.POSITIVE_INFINITY);
    for await (const event of pretrain({ config: configOf(), root, name, resume: options.resume, stopped }))
      if (event.type === 'step') steps.push(event);
    return steps.map(({ step, lossNats, gradNorm }) => ({ step, lossNats, gradNorm }));
  };
  const whole = await run('whole');
  expect(whole).toHaveLength(12);
  const first = await run('cut', { stopAt: 5 });
  const rest = await run('cut', { resume: true });
  expect([...first, ...rest]).toEqual(whole);
  expect(first).toHaveLength(5);
});

test('a tokenizer learns from all sources by their shares; paths are told from where they stand; what is no mixture is refused', async () => {
  const order: string[] = [];
  for await (const text of textsOf(configOf())) if (order.push(text[0]) === 400) break;
  const counted = (letter: string) => order.filter((x) => x === letter).length / 400;
  expect(counted('a')).toBeCloseTo(0.6, 1);
  expect(counted('b')).toBeCloseTo(0.3, 1);

  writeFileSync(join(folder, 'qkv.json'), '{ "data": "a.txt", "data.mix": "b.txt:0.25" }');
  expect(resolve(settingsOfFile(join(folder, 'qkv.json')), []).config['data.mix']).toBe(`${b}:0.25`);
  expect(() => configOf({ 'data.mix': `${b}:1` })).toThrow(expect.objectContaining({ code: 'E103' }));
  expect(() => configOf({ 'data.mix': b })).toThrow(expect.objectContaining({ code: 'E103' }));
  expect(() => configOf({ model: 'bert' })).toThrow(/objective=causal/);
  const missing = { ...configOf({ 'data.mix': 'none.txt:0.5' }) };
  await expect(pretrain({ config: missing, root: join(folder, 'runs'), name: 'x' }).next()).rejects.toMatchObject({
    code: 'E130',
  });
});
