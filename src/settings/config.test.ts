import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve as resolvePath } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  about,
  allowedValues,
  defaultOf,
  resolve,
  settingKeys,
  settings,
  settingsOfArguments,
  settingsOfFile,
  sizes,
  type Written,
} from './config.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const args = (...words: string[]): Written[] =>
  settingsOfArguments(words.map((w) => ({ key: w.slice(0, w.indexOf('=')), text: w.slice(w.indexOf('=') + 1) })));
const file = (text: string): Written[] => {
  const path = join(folder, 'qkv.json');
  writeFileSync(path, text);
  return settingsOfFile(path);
};
const config = (...words: string[]) => resolve([], args(...words), { needData: false }).config;
const thrown = (f: () => unknown) => {
  try {
    f();
  } catch (error) {
    return { code: (error as { code: string }).code, ...(error as { values: object }).values };
  }
  return undefined;
};

test('defaults are complete, and what is auto is filled in', () => {
  expect(config()).toMatchObject({
    model: 'llama',
    nLayer: 4,
    nHead: 4,
    nKvHead: 4,
    dModel: 128,
    dFF: 352,
    lr: 1e-3,
    minLr: 1e-4,
    steps: 2000,
    warmup: 100,
  });
  expect(config('model=gpt2', 'steps=40', 'lr=3e-4')).toMatchObject({ dFF: 512, warmup: 2, minLr: 3e-5 });
  for (const key of settingKeys) expect(config()[key], key).toBeDefined();
});

test('types come from the schema; nothing is evaluated', () => {
  expect(config('dropout=0', 'lr=1e-3', 'tied=false', 'name=auto', 'steps=1_000')).toMatchObject({
    dropout: 0,
    lr: 1e-3,
    tied: false,
    name: null,
    steps: 1000,
  });
  expect(config('samplePrompt=a=b').samplePrompt).toBe('a=b');
  expect(config('samplePrompt=12').samplePrompt).toBe('12'); // a text, because the key is one
  expect(config('samplePrompt=').samplePrompt).toBe('');
  expect(thrown(() => config('steps=1+1'))).toMatchObject({ code: 'E103', key: 'steps', value: '1+1' });
  expect(thrown(() => config('steps=1.5'))).toMatchObject({ code: 'E103', allowed: 'a whole number ≥ 1' });
  expect(thrown(() => config('dropout=1'))).toMatchObject({ code: 'E103', allowed: 'a number ≥ 0, < 1' });
  expect(thrown(() => config('precision=fp16'))).toMatchObject({ code: 'E103', allowed: 'fp32 | bf16' });
  expect(thrown(() => config('lr=NaN'))).toMatchObject({ code: 'E103' });
});

test('default < preset < file < command line; a preset on the command line beats the file', () => {
  const written = file('{ "size": "base", "nLayer": 5, "lr": 2e-3 }');
  expect(resolve(written, [], { needData: false }).config).toMatchObject({ nLayer: 5, nHead: 6, dModel: 384, lr: 2e-3 });
  const both = resolve(written, args('nLayer=7', 'lr=1e-4'), { needData: false });
  expect(both.config).toMatchObject({ nLayer: 7, lr: 1e-4, dModel: 384 });
  expect(both.overrides).toEqual([
    ['nLayer', 5, 7],
    ['lr', 2e-3, 1e-4],
  ]);
  expect(resolve(written, args('size=tiny', 'dModel=64'), { needData: false }).config).toMatchObject({
    nLayer: 4,
    nHead: 4,
    dModel: 64,
  });
  expect(config('depth=4')).toMatchObject({ nLayer: 4, nHead: 4, dModel: 256, contextLength: 256, dFF: 704 });
  expect(config('depth=4', 'nLayer=2').nLayer).toBe(2);
  expect(thrown(() => config('depth=4', 'size=tiny'))).toMatchObject({ code: 'E106' });
});

test('the resolved settings, written and read again, are the same settings', () => {
  for (const words of [[], ['depth=6', 'model=gpt2'], ['size=small', 'nKvHead=3', 'qkNorm=true', 'lr=3e-4']]) {
    const first = resolve([], args('data=x.txt', ...words)).config;
    const again = resolve(file(JSON.stringify(first, null, 2)), []).config;
    expect(again).toEqual(first);
  }
});

test('unknown keys are never ignored, wherever they stand', () => {
  expect(thrown(() => config('nHeads=4'))).toMatchObject({ code: 'E101', nearest: 'nHead', at: { argument: 'nHeads=4' } });
  expect(thrown(() => config('block_size=4'))).toMatchObject({ code: 'E101', nearest: 'contextLength' });
  expect(thrown(() => config('__proto__=4'))).toMatchObject({ code: 'E101' });
  expect(thrown(() => resolve(file('{\n  "nLayer": 2,\n  "nHeads": 3\n}'), []))).toMatchObject({
    code: 'E101',
    key: 'nHeads',
    at: { line: 3 },
  });
});

test('sizes that do not fit each other', () => {
  expect(thrown(() => config('dModel=130'))).toMatchObject({
    code: 'E102',
    rule: 'dModel',
    tries: [128, 136],
    at: { argument: 'dModel=130' },
  });
  expect(thrown(() => config('model=gpt2', 'dModel=130'))).toMatchObject({ code: 'E102', rule: 'dModel', tries: [128, 132] });
  expect(thrown(() => config('dModel=132'))).toMatchObject({ code: 'E102', rule: 'even', tries: [128, 136] });
  expect(config('model=gpt2', 'dModel=132').dModel).toBe(132); // no RoPE, no pairs
  expect(thrown(() => config('nHead=6', 'dModel=384', 'nKvHead=4'))).toMatchObject({
    code: 'E102',
    rule: 'nKvHead',
    tries: [1, 2, 3, 6],
  });
  expect(thrown(() => config('model=gpt2', 'qkNorm=true'))).toMatchObject({
    code: 'E111',
    key: 'qkNorm',
    at: { argument: 'qkNorm=true' },
  });
  expect(thrown(() => resolve([], args()))).toMatchObject({ code: 'E105' });
});

test('every suggestion of E102 is accepted', () => {
  for (const model of ['llama', 'gpt2']) {
    for (let dModel = 1; dModel < 100; dModel++) {
      const e = thrown(() => config(`model=${model}`, 'nHead=3', `dModel=${dModel}`)) as { tries?: number[] } | undefined;
      for (const t of e?.tries ?? []) expect(thrown(() => config(`model=${model}`, 'nHead=3', `dModel=${t}`))).toBeUndefined();
    }
  }
});

test('a settings file: comments, a last comma, lines of keys, paths relative to the file', () => {
  const written = file(
    '\ufeff// mine\n{\n  "nLayer": 2, // few\n  /* wide */ "dModel": 64,\n  "data": "a/b.txt",\n  "tokenizer": "tok.json",\n}\n',
  );
  expect(written.map((w) => [w.key, w.value, (w.at as { line: number }).line])).toEqual([
    ['nLayer', 2, 3],
    ['dModel', 64, 4],
    ['data', join(folder, 'a/b.txt'), 5],
    ['tokenizer', join(folder, 'tok.json'), 6],
  ]);
  expect(args('data=a.txt')[0].value).toBe(resolvePath('a.txt'));
  for (const [text, problem, line] of [
    ['{ "a" 1 }', 'expected', 1],
    ['{\n"lr": 1,\n"lr": 2 }', 'duplicate', 3],
    ['{ "lr": yes }', 'value', 1],
    ['[1]', 'expected', 1],
    ['{ "lr": 1 } x', 'value', 1],
    ['{ "lr": {"a": 1} }', 'value', 1],
    ['', 'expected', 1],
  ] as const)
    expect(
      thrown(() => file(text)),
      text,
    ).toMatchObject({ code: 'E104', problem, line });
  expect(thrown(() => settingsOfFile(join(folder, 'none.json')))).toMatchObject({ code: 'E182' });
});

test('every key has a meaning in both languages, and its default is allowed', () => {
  for (const key of settingKeys) {
    const { en, zh } = about(key);
    expect(en.length, key).toBeGreaterThan(5);
    expect(zh, key).toMatch(/[\u4e00-\u9fff]/);
    expect(allowedValues(settings[key]).en, key).not.toMatch(/undefined/);
    expect(settings[key].safeParse(defaultOf(key)).success, key).toBe(true);
  }
  expect(Object.keys(sizes)).toHaveLength(8);
});
