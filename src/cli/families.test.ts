/** Every family by the command line: trained, evaluated, used, begun from another's weights; and what does not go together. */
process.env['QKV_BACKEND'] = 'reference'; // small enough for it, and there on every machine
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fineTuningLr } from '../applications/from.ts';
import { loadModel } from '../applications/model-folder.ts';
import { numberInChinese, numberInEnglish } from '../applications/number-words.ts';
import { loadPretrained } from '../io/index.ts';
import { dispose, parameterCount, stateDict } from '../nn/index.ts';
import { families, type FamilyName, familyOf } from '../settings/families.ts';
import { main } from './main.ts';

const home = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'qkv-families-'));
const SMALL = [
  'dModel=16',
  'contextLength=16',
  'batch=2',
  'evalEvery=3',
  'evalBatches=1',
  'sampleEvery=6',
  'sampleTokens=4',
  'saveEvery=3',
];

// biome-ignore lint/suspicious/noExplicitAny: tests look into JSON whose shape they check
type Json = Record<string, any>;
async function qkv(...argv: string[]): Promise<{ code: number; stderr: string; lines: Json[]; last: Json }> {
  const written = { stdout: '', stderr: '' };
  const code = await main([...argv, '--json'], {
    stdout: { write: (t) => (written.stdout += t) },
    stderr: { write: (t) => (written.stderr += t) },
    env: { LANG: 'en_US.UTF-8' },
  });
  const lines = written.stdout
    .trimEnd()
    .split('\n')
    .map((l) => JSON.parse(l));
  return { code, stderr: written.stderr, lines, last: lines.at(-1)! };
}

beforeAll(() => {
  process.chdir(folder);
  const names = ['cat', 'dog', 'cow'];
  const line = (i: number) => `the ${names[i % 3]} sat on the ${names[(i * 7) % 3]}.`;
  writeFileSync('book.txt', Array.from({ length: 60 }, (_, i) => line(i)).join(' '));
  const digits = (i: number) => String((i * 7919) % 10_000);
  writeFileSync(
    'pairs.txt',
    Array.from({ length: 60 }, (_, i) => `${digits(i)}\t${[...digits(i)].reverse().join('')}`).join('\n'),
  );
});
afterAll(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
});

const published: Partial<Record<FamilyName, string>> = {
  llama: 'LlamaForCausalLM',
  gpt2: 'GPT2LMHeadModel',
  neox: 'GPTNeoXForCausalLM',
  gemma: 'Gemma2ForCausalLM',
  olmo2: 'Olmo2ForCausalLM',
  mixtral: 'MixtralForCausalLM',
  bert: 'BertForMaskedLM',
  electra: 'ElectraForPreTraining',
  t5: 'T5ForConditionalGeneration',
};

test.each(Object.keys(families) as FamilyName[])(
  '%s: trains, evaluates, is used, and its folder loads',
  async (model) => {
    const { kind, objectives, has } = familyOf(model);
    const data = objectives[0] === 'pairs' ? 'pairs.txt' : 'book.txt';
    const shape = [...(has.includes('nLayer') ? ['nLayer=1'] : []), ...(has.includes('nHead') ? ['nHead=2'] : [])];
    const trained = await qkv(
      'train',
      `data=${data}`,
      `model=${model}`,
      `name=${model}`,
      'steps=6',
      'tokenizer=char',
      ...shape,
      ...SMALL,
    );
    expect(trained.code, trained.stderr).toBe(0);
    expect(trained.last).toMatchObject({ ok: true, status: 'done', step: 6 });
    const start = trained.lines.find((l) => l['type'] === 'start')!;
    const losses = trained.lines.filter((l) => l['type'] === 'step').map((l) => l['lossNats']);
    expect(Math.abs(losses[0] - start['uniformLossNats'])).toBeLessThan(1.2);
    expect(trained.last['parameters']).toBe(start['parameters']); // the estimate's, and the model's
    expect(trained.lines.find((l) => l['type'] === 'sample')).toBeDefined();
    expect(JSON.parse(readFileSync(`runs/${model}/config.json`, 'utf8'))).toMatchObject({ model, objective: objectives[0] });

    const scored = await qkv('eval', model, '--batches', '1', '--answers', '2');
    expect(scored.code, scored.stderr).toBe(0);
    expect(scored.last['lossNats']).toBeGreaterThan(0);
    expect('bitsPerByte' in scored.last).toBe(objectives[0] === 'causal');
    expect('accuracy' in scored.last).toBe(objectives[0] === 'masked');
    expect('f1' in scored.last).toBe(objectives[0] === 'replaced');
    if (objectives[0] === 'pairs') {
      expect(scored.last['answers']).toHaveLength(2);
      expect(scored.last['answers'][0].target).toBe([...scored.last['answers'][0].source].reverse().join(''));
    }

    const used = await qkv(
      'generate',
      model,
      model === 'bert' ? 'the [MASK]at' : data === 'pairs.txt' ? '12' : 'the ',
      'maxTokens=3',
    );
    expect(used.code, used.stderr).toBe(0);
    if (model === 'electra') expect(used.last['texts'][0].tokens).toHaveLength(4);
    else if (kind === 'encoder') expect(used.last['texts'][0].masks[0].guesses[0].probability).toBeGreaterThan(0);
    else expect(used.last['tokens']).toBeLessThanOrEqual(3);

    const checkpoint = `runs/${model}/step-000006`;
    const config = JSON.parse(readFileSync(join(checkpoint, 'config.json'), 'utf8'));
    if (model in published) expect(config.architectures).toEqual([published[model]]);
    const any = loadModel(checkpoint, { strict: true });
    expect(any).toMatchObject({ family: model, kind });
    expect(parameterCount(any.model)).toBe(start['parameters']);
    dispose(any.model);
    if (kind === 'decoder' && model in published) dispose(loadPretrained(checkpoint).model);
    expect(existsSync(join(checkpoint, 'generation_config.json'))).toBe(kind !== 'encoder');
  },
  30_000,
);

test('from= goes on with the weights, shape and tokenizer of another model; another shape is refused', async () => {
  const before = await qkv('eval', 'gpt2');
  const tuned = await qkv(
    'train',
    'data=book.txt',
    'from=runs/gpt2',
    'name=tuned',
    'steps=2',
    'lr=1e-9',
    'contextLength=8',
    'sampleEvery=0',
  );
  expect(tuned.code, tuned.stderr).toBe(0);
  expect(JSON.parse(readFileSync('runs/tuned/config.json', 'utf8'))).toMatchObject({
    model: 'gpt2',
    nLayer: 1,
    dModel: 16,
    contextLength: 8,
  });
  const first = tuned.lines.find((l) => l['type'] === 'step')!['lossNats'];
  expect(Math.abs(first - before.last['lossNats'])).toBeLessThan(0.4);
  const [was, now] = ['gpt2/step-000006', 'tuned/step-000002'].map((f) => loadModel(`runs/${f}`, { strict: true }));
  const [a, b] = [was, now].map(({ model }) => [...stateDict(model).values()][0].readSync() as Float32Array);
  expect(Math.max(...a.map((x, i) => Math.abs(x - b[i])))).toBeLessThan(1e-6);
  for (const { model } of [was, now]) dispose(model);
  const wrong = await qkv('train', 'data=book.txt', 'from=runs/gpt2', 'nLayer=3');
  expect([wrong.code, wrong.last['code']]).toEqual([2, 'E116']);
  const none = await qkv('train', 'data=book.txt', 'from=nowhere');
  expect([none.code, none.last['code']]).toEqual([3, 'E114']);
  const masked = await qkv('train', 'data=book.txt', 'from=runs/bert', 'name=bert-2', 'steps=1', 'sampleEvery=0', 'batch=2');
  expect(masked.code, masked.stderr).toBe(0);
  const { dModel } = JSON.parse(readFileSync('runs/bert/config.json', 'utf8')) as { dModel: number };
  const lr = fineTuningLr(dModel); // nobody wrote one
  expect(JSON.parse(readFileSync('runs/bert-2/config.json', 'utf8'))).toMatchObject({
    ...{ model: 'bert', objective: 'masked', lr, minLr: Number((lr / 10).toPrecision(12)) },
  });
  expect([64, 768, 1024, 4096].map(fineTuningLr)).toEqual([1.7e-4, 5e-5, 4.3e-5, 2.2e-5]);
});

test.each([
  ['bert', 'nextSentence', 'book.txt', ['the [MASK]at'], 'nextAccuracy', 'BertForPreTraining'],
  ['bert', 'contrastive', 'pairs.txt', ['12', '21', '34'], 'candidates', 'BertModel'],
  ['llama', 'prefix', 'pairs.txt', ['12'], 'exactMatch', 'LlamaForCausalLM'],
] as const)(
  '%s, objective=%s: trains, evaluates, is used, goes on',
  async (model, objective, data, prompts, measure, architecture) => {
    const name = `${model}-${objective}`;
    const shape = ['tokenizer=char', 'nLayer=1', 'nHead=2', ...SMALL];
    const settings = [`data=${data}`, `model=${model}`, `objective=${objective}`];
    const trained = await qkv('train', ...settings, `name=${name}`, 'steps=6', ...shape);
    expect(trained.code, trained.stderr).toBe(0);
    const start = trained.lines.find((l) => l['type'] === 'start')!;
    const step = trained.lines.find((l) => l['type'] === 'step')!;
    expect(Math.abs(step['lossNats'] - start['uniformLossNats'])).toBeLessThan(1.2);
    expect(trained.lines.find((l) => l['type'] === 'sample')).toBeDefined();
    const scored = await qkv('eval', name, '--answers', '2');
    expect(scored.code, scored.stderr).toBe(0);
    expect(scored.last[measure]).toBeGreaterThanOrEqual(0);
    const used = await qkv('generate', name, ...prompts, 'maxTokens=3');
    expect(used.code, used.stderr).toBe(0);
    if (objective === 'contrastive')
      expect(used.last['texts'].map((t: Json) => t.similarity > 0.999)).toEqual([true, expect.any(Boolean), expect.any(Boolean)]);
    const config = JSON.parse(readFileSync(`runs/${name}/step-000006/config.json`, 'utf8'));
    expect(config.architectures).toEqual([architecture]);
    const described = await qkv('describe', name);
    expect(described.last['parameters']).toBe(start['parameters']);
    const on = await qkv('train', name, '--resume', 'steps=8');
    expect(on.last, on.stderr).toMatchObject({ ok: true, step: 8 });
  },
  30_000,
);

test('a decoder on pairs asks for the target only, and answers', async () => {
  const trained = await qkv(
    'train',
    'data=pairs.txt',
    'objective=pairs',
    'name=decoder-pairs',
    'steps=3',
    'tokenizer=char',
    'nLayer=1',
    'nHead=2',
    ...SMALL,
  );
  expect(trained.code, trained.stderr).toBe(0);
  const used = await qkv('generate', 'decoder-pairs', '12', 'maxTokens=3');
  expect(used.last).toMatchObject({ ok: true, run: 'decoder-pairs' });
  expect((await qkv('eval', 'decoder-pairs', '--answers', '1')).last['answers']).toHaveLength(1);
});

test('t5 learns pairs where the data has them; jsonl columns and aligned files are pairs, too', async () => {
  writeFileSync(
    'pairs.jsonl',
    Array.from({ length: 20 }, (_, i) => JSON.stringify({ en: `a${i % 5}`, de: `b${i % 7}` })).join('\n'),
  );
  writeFileSync('train.a', Array.from({ length: 20 }, (_, i) => `a${i % 5}`).join('\n'));
  writeFileSync('train.b', Array.from({ length: 20 }, (_, i) => `b${i % 7}`).join('\n'));
  for (const [name, ...data] of [
    ['columns', 'data=pairs.jsonl', 'data.source=en', 'data.target=de'],
    ['aligned', 'data=train.a', 'data.targetFile=train.b'],
    ['tabs', 'data=pairs.txt'],
  ]) {
    const trained = await qkv(
      'train',
      ...data,
      'model=t5',
      `name=${name}`,
      'steps=1',
      'tokenizer=char',
      'nLayer=1',
      'nHead=2',
      ...SMALL,
    );
    expect(trained.code, trained.stderr).toBe(0);
    expect(trained.lines.find((l) => l['type'] === 'start')!['pairs'].train, name).toBeGreaterThan(10);
  }
});

test('packed data trains with its tokenizer and document masks, and not without its tokenizer', async () => {
  writeFileSync('lines.txt', Array.from({ length: 200 }, (_, i) => `word ${i} ends.`).join('\n'));
  const shape = [
    'nLayer=1',
    'nHead=2',
    'evalEvery=0',
    'saveEvery=0',
    'sampleEvery=0',
    'batch=2',
    'dModel=16',
    'contextLength=16',
    'steps=1',
  ];
  await qkv('tok', 'train', 'lines.txt', 'vocabSize=300', '--out', 'tok.json');
  const packed = await qkv('data', 'pack', 'lines.txt', 'tokenizer=tok.json', 'out=packed', 'data.documents=line');
  expect(packed.code, packed.stderr).toBe(0);
  for (const model of ['gpt2', 'llama']) {
    const trained = await qkv(
      'train',
      'data=packed',
      'tokenizer=tok.json',
      `model=${model}`,
      'documentMask=true',
      `name=packed-${model}`,
      ...shape,
    );
    expect(trained.code, trained.stderr).toBe(0);
  }
  const lost = await qkv('train', 'data=packed', ...shape);
  expect([lost.code, lost.last['code']]).toEqual([2, 'E117']);
});

test.each([
  [['model=llama', 'objective=masked'], 'E112', 2],
  [['model=bert', 'objective=causal'], 'E112', 2],
  [['model=tcn', 'objective=prefix'], 'E112', 2],
  [['model=bert', 'objective=contrastive'], 'E144', 65],
  [['model=bert', 'cell=gru'], 'E111', 2],
  [['model=rnn', 'nLayer=2'], 'E111', 2],
  [['model=conv', 'width=4'], 'E103', 2],
  [['model=transformer'], 'E144', 65],
  [['model=t5', 'objective=pairs'], 'E144', 65],
  [['model=transformer', 'dModel=18', 'nHead=4'], 'E102', 2],
] as const)('qkv train data=book.txt %j is refused with %s', async (words, code, exit) => {
  const { code: exited, last } = await qkv('train', 'data=book.txt', ...words);
  expect([exited, last['code']]).toEqual([exit, code]);
});

test('other verbs say which kind of model they need, and what is missing in a text', async () => {
  const traced = await qkv('trace', 'bert', 'the cat');
  expect([traced.code, traced.last['code']]).toEqual([2, 'E113']);
  const noMask = await qkv('generate', 'bert', 'the cat');
  expect([noMask.code, noMask.last['code']]).toEqual([2, 'E166']);
  const tooLong = await qkv('generate', 'transformer', '1'.repeat(40));
  expect([tooLong.code, tooLong.last['code']]).toEqual([2, 'E160']);
});

test('9.1a, 9.2a qkv compare families: parameters, time per epoch, losses, line-aligned outputs for BLEU, lag curves, in one trainer', async () => {
  const compared = await qkv(
    'compare',
    'families',
    'steps=2',
    'batch=4',
    'dModel=16',
    'nHead=2',
    'nLayer=1',
    'answers=3',
    'copySteps=1',
    'out=comparison',
    'evalEvery=1',
    'data=pairs.txt',
    'tokenizer=char',
    'preNorm=true',
    'cell=gru',
    'families=["rnn-none","conv","transformer"]',
  );
  expect(compared.code, compared.stderr).toBe(0);
  const { outcomes, copyLag } = compared.last;
  for (const o of outcomes)
    for (const key of ['parameters', 'secondsPerEpoch', 'trainLossNats', 'valLossNats']) expect(o[key], key).toBeGreaterThan(0);
  expect(outcomes.map((o: Json) => o['contestant'])).toEqual(['rnn-none', 'conv', 'transformer']);
  const [least, most] = [Math.min, Math.max].map((f) => f(...outcomes.map((o: Json) => o['parameters'])));
  expect(most / least).toBeLessThan(1.5);
  expect(new Set(outcomes.map((o: Json) => o['tokens'])).size).toBe(1); // the same batches
  expect(Object.keys(copyLag)).toEqual(['rnn-none', 'conv', 'transformer']);
  const lines = (file: string) => readFileSync(join('comparison', file), 'utf8').trimEnd().split('\n').length;
  expect([lines('source.txt'), lines('reference.txt')]).toEqual([3, 3]);
  expect(readFileSync(join('comparison', 'transformer-1337.hyp.txt'), 'utf8').split('\n')).toHaveLength(4);
  const again = await qkv('compare', 'families', 'out=comparison');
  expect([again.code, again.last['code']]).toEqual([again.code, 'E153']);
}, 60_000);

test.each([
  [7, '七', 'seven'],
  [12, '十二', 'twelve'],
  [110, '一百一十', 'one hundred ten'],
  [4105, '四千一百零五', 'four thousand one hundred five'],
  [100_010, '十万零一十', 'one hundred thousand ten'],
  [650_000, '六十五万', 'six hundred fifty thousand'],
  [300_208, '三十万零二百零八', 'three hundred thousand two hundred eight'],
])('%i is %s and %s', (n, zh, en) => {
  expect([numberInChinese(n), numberInEnglish(n)]).toEqual([zh, en]);
});
