// Each objective beside plain next tokens, masks, spans and pairs: it learns, it saves, it goes on from where it was bit for bit.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prefixMask } from '../../attention/index.ts';
import { buildDecoder, type DecoderSettings } from '../../models/index.ts';
import { dispose } from '../../nn/index.ts';
import { resolve, type TrainConfig } from '../../settings/index.ts';
import { Rng, scope } from '../../tensor/index.ts';
import { answersOf } from '../answers.ts';
import type { Score, TrainEvent } from '../events.ts';
import { loadModel } from '../model-folder.ts';
import { numberInChinese, numberInEnglish } from '../number-words.ts';
import { readingWhole } from '../pair-writer.ts';
import { pretrain } from '../pretrain.ts';
import { readTokenizer } from '../tokenizer.ts';

const root = mkdtempSync(join(tmpdir(), 'qkv-tasks-'));
const file = (name: string): string => join(root, name);
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeAll(() => {
  const rng = new Rng(5);
  const pick = (list: string): string => list[rng.int(list.length)];
  // Eight subjects, each with two letters of its own; a subject lasts for some hundred letters.
  const letters = 'abcdefghijklmnop';
  const passage = (): string => {
    const own = letters.slice(2 * rng.int(8)).slice(0, 2);
    return Array.from({ length: 300 }, () => pick(own)).join('');
  };
  writeFileSync(file('subjects.txt'), Array.from({ length: 80 }, passage).join(''));
  const numbers = new Set(Array.from({ length: 2000 }, () => rng.int(10_000)));
  writeFileSync(file('numbers.txt'), [...numbers].map((n) => `${numberInChinese(n)}\t${numberInEnglish(n)}`).join('\n'));
});

const config = (settings: Partial<Record<keyof TrainConfig, unknown>>): TrainConfig => {
  const common = { tokenizer: 'char', dModel: 32, nLayer: 2, nHead: 2, lr: 3e-3, evalEvery: 0, sampleEvery: 0, saveEvery: 0 };
  const all = { ...common, ...settings };
  const at = { argument: 'test' };
  return resolve(
    [],
    Object.entries(all).map(([key, value]) => ({ key, value, at })),
  ).config;
};

/** Trains; `until`: is stopped there, and goes on. → the last evaluation and the last checkpoint. */
async function trained(
  name: string,
  settings: TrainConfig,
  until?: number,
): Promise<{ score: Partial<Score>; folder: string; first: number }> {
  let [score, folder, first]: [Partial<Score>, string, number] = [{}, '', Number.NaN];
  let step = 0;
  const watch = async (events: AsyncGenerator<TrainEvent>): Promise<void> => {
    for await (const e of events) {
      if (e.type === 'start' && e.step === 0) first = -e.uniformLossNats;
      if (e.type === 'step') {
        step = e.step;
        if (step === 1) first += e.lossNats;
      }
      if (e.type === 'eval') score = e;
      if (e.type === 'checkpoint') folder = e.folder;
    }
  };
  await watch(pretrain({ config: settings, name, root, stopped: () => step === until }));
  if (until !== undefined) await watch(pretrain({ config: settings, name, root, resume: true }));
  return { score, folder, first };
}

const small = { batch: 4, steps: 6, dModel: 16, contextLength: 24, evalBatches: 1, dropout: 0.1, labelSmoothing: 0 };
const objectives: [string, Partial<Record<keyof TrainConfig, unknown>>, string][] = [
  ['nextSentence', { model: 'bert', data: 'subjects.txt' }, 'BertForPreTraining'],
  ['replaced', { model: 'electra', data: 'subjects.txt' }, 'ElectraForPreTraining'],
  ['contrastive', { model: 'bert', data: 'numbers.txt', contextLength: 48 }, 'BertModel'],
  ['prefix', { model: 'llama', data: 'numbers.txt', contextLength: 64 }, 'LlamaForCausalLM'],
];

test.each(objectives)(
  '%s: a run that was stopped goes on bit for bit, and says what it is',
  async (objective, settings, architecture) => {
    const all = config({ ...small, objective, ...settings, data: file(settings.data as string) });
    const whole = await trained(`${objective}-whole`, all);
    const halved = await trained(`${objective}-halved`, all, 3);
    const weights = readdirSync(whole.folder).filter((f) => f.endsWith('.safetensors'));
    expect(weights).toHaveLength(objective === 'replaced' ? 3 : 2);
    for (const f of weights)
      expect(readFileSync(join(halved.folder, f)).equals(readFileSync(join(whole.folder, f))), f).toBe(true);
    expect(JSON.parse(readFileSync(join(whole.folder, 'config.json'), 'utf8')).architectures).toEqual([architecture]);
  },
);

test('stopped between two micro-batches: the step is given up, and taken whole when the run goes on', async () => {
  const all = config({ ...small, model: 'llama', data: file('subjects.txt'), steps: 4, accumulate: 4 });
  const whole = await trained('whole', all);
  let asked = 0;
  const steps: number[] = [];
  const events = pretrain({ config: all, name: 'given-up', root, stopped: () => ++asked >= 11 }); // 3 times in a step, once after it
  for await (const e of events) if (e.type === 'step' || e.type === 'end') steps.push(e.step);
  expect(steps).toEqual([1, 2, 2]); // two steps, and the end after the second
  let folder = '';
  for await (const e of pretrain({ config: all, name: 'given-up', root, resume: true }))
    if (e.type === 'checkpoint') folder = e.folder;
  for (const f of ['model.safetensors', 'optimizer.safetensors'])
    expect(readFileSync(join(folder, f)).equals(readFileSync(join(whole.folder, f))), f).toBe(true);
});

test('nextSentence: knows whether the second half follows, and what was hidden', async () => {
  const settings = {
    model: 'bert',
    objective: 'nextSentence',
    data: file('subjects.txt'),
    steps: 300,
    contextLength: 19,
    warmup: 50,
    nLayer: 1,
  };
  const { score, first } = await trained('next', config(settings));
  expect(Math.abs(first)).toBeLessThan(0.3);
  expect(score.nextAccuracy).toBeGreaterThan(0.7);
}, 60_000);

test('replaced: finds what the generator changed', async () => {
  const shape = { nLayer: 1, nHead: 4, contextLength: 34, batch: 32 };
  const settings = { model: 'electra', data: file('subjects.txt'), steps: 300, warmup: 50, ...shape };
  const { score, first, folder } = await trained('electra', config({ ...settings, objective: 'replaced' }));
  expect(Math.abs(first)).toBeLessThan(2); // of ln V + 50·ln 2 = 38
  expect(score.f1).toBeGreaterThan(0.5); // calling every token replaced: below 0.2
  dispose(loadModel(folder).model);
}, 60_000);

test('contrastive: a source finds its target among all', async () => {
  const settings = {
    model: 'bert',
    objective: 'contrastive',
    data: file('numbers.txt'),
    steps: 300,
    contextLength: 48,
    batch: 32,
  };
  const { score, first } = await trained('contrastive', config(settings));
  expect(Math.abs(first)).toBeLessThan(0.5);
  expect(score.candidates).toBeGreaterThan(100);
  expect(score.accuracy).toBeGreaterThan(0.5);
}, 60_000);

test('prefix: answers sources that it reads from both sides', async () => {
  const settings = {
    model: 'llama',
    objective: 'prefix',
    data: file('numbers.txt'),
    steps: 300,
    contextLength: 64,
    batch: 32,
    dModel: 48,
  };
  const all = config(settings);
  const { folder } = await trained('prefix', all);
  const tokenizer = readTokenizer(join(folder, 'tokenizer.json'));
  const any = loadModel(folder, { strict: true });
  const { exact, rows } = await answersOf({ any, tokenizer }, all, 30);
  dispose(any.model);
  expect(exact / rows.length).toBeGreaterThan(0.25); // of 10,000 numbers, one is right
}, 60_000);

test.each(['llama', 'gpt2', 'neox', 'gemma', 'olmo2', 'mixtral'] as const)(
  'prefix, %s: reading the source into caches gives what the mask gives',
  (model) => {
    using _ = scope();
    const { nLayer, nHead, nKvHead, dModel, dFF, contextLength, dropout, tied, qkNorm, ropeBase } = config({ data: 'x', model });
    const shape = { model, nLayer, nHead, nKvHead, dModel, dFF, contextLength, dropout, tied, qkNorm, ropeBase, seed: 3 };
    const decoder = buildDecoder(shape as DecoderSettings, 29);
    const ids = Int32Array.from({ length: 12 }, (_x, i) => (i * 11) % 29);
    const [T, prefix] = [12, 7];
    const whole = decoder.forward(ids, [1, T], { causal: false, mask: prefixMask(T, T, prefix) }).readSync();
    const causal = decoder.forward(ids, [1, T]).readSync();
    const writer = readingWhole(decoder);
    const caches = writer.newCaches(1, T);
    for (let t = prefix; t <= T; t++) {
      const part = t === prefix ? ids.slice(0, prefix) : ids.slice(t - 1, t);
      const logits = writer.nextLogits(part, [1, part.length], { caches }).readSync();
      for (let v = 0; v < 29; v++) expect(Math.abs(logits[v] - whole[(t - 1) * 29 + v])).toBeLessThan(1e-4);
    }
    expect(Math.max(...whole.map((x, i) => Math.abs(x - causal[i])))).toBeGreaterThan(1e-4); // it is another reading
    for (const c of caches) c[Symbol.dispose]();
    dispose(decoder);
  },
);
