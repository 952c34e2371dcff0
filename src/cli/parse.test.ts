import { expect, test } from 'vitest';
import { editDistance, nearest } from '../settings/nearest.ts';
import { parse } from './parse.ts';
import { usage } from './verb.ts';
import { verbs } from './verbs/index.ts';

const read = (...argv: string[]) => {
  const { verb, args } = parse(argv, verbs);
  return { verb: verb?.name, ...args };
};
const code = (...argv: string[]) => {
  try {
    read(...argv);
    return undefined;
  } catch (error) {
    return { code: (error as { code: string }).code, ...(error as { values: object }).values };
  }
};

test('words, settings and flags, in any order', () => {
  expect(read('train', 'qkv.json', 'lr=1e-3', '--resume', 'data.field=a=b')).toEqual({
    verb: 'train',
    words: ['qkv.json'],
    settings: [
      { key: 'lr', text: '1e-3' },
      { key: 'data.field', text: 'a=b' },
    ],
    flags: { resume: true },
  });
  expect(read('--lang', 'zh', 'runs', 'show', 'demo-1', '--json')).toMatchObject({
    verb: 'runs show',
    words: ['demo-1'],
    flags: { lang: 'zh', json: true },
  });
  expect(read('trace', 'demo-1', 'a=b', '--top=3')).toMatchObject({ words: ['demo-1', 'a=b'], flags: { top: 3 } });
  expect(read('generate', 'demo-1', 'seed=3', '--', 'seed=4', '--json', '--')).toMatchObject({
    words: ['demo-1', 'seed=4', '--json', '--'],
    settings: [{ key: 'seed', text: '3' }],
    flags: {},
  });
  expect(read('generate', 'demo-1', 'stop=', 'x')).toMatchObject({
    settings: [{ key: 'stop', text: '' }],
    words: ['demo-1', 'x'],
  });
});

test('groups of verbs: the first one stands for a group where it needs no word', () => {
  expect(read('runs').verb).toBe('runs ls');
  expect(read('runs', '--json').verb).toBe('runs ls');
  expect(read('config').verb).toBe('config keys');
  expect(read('data', 'inspect', 'x').verb).toBe('data inspect');
  expect(read('help', 'data', 'inspect')).toMatchObject({ verb: 'help', words: ['data', 'inspect'] });
  expect(read()).toMatchObject({ verb: undefined, words: [] });
  expect(read('--version').flags).toEqual({ version: true });
});

test('what is wrong is said with its code and the nearest right word', () => {
  expect(code('trian')).toMatchObject({ code: 'E100', nearest: 'train' });
  expect(code('data', 'inspct', 'x')).toMatchObject({ code: 'E100', nearest: 'data inspect' });
  expect(code('data')).toMatchObject({ code: 'E100', nearest: 'data inspect' });
  expect(code('train', '--resum')).toMatchObject({ code: 'E107', problem: 'unknown', nearest: 'resume' });
  expect(code('trace', 'r', 'p', '--layer', 'x')).toMatchObject({ code: 'E107', problem: 'bad-value' });
  expect(code('trace', 'r', 'p', '--layer')).toMatchObject({ code: 'E107', problem: 'needs-value' });
  expect(code('runs', '--json=1')).toMatchObject({ code: 'E107', problem: 'no-value' });
  expect(code('doctor', '--lang', 'fr')).toMatchObject({ code: 'E107', problem: 'bad-value', allowed: 'zh | en' });
  expect(code('eval')).toMatchObject({ code: 'E108', word: 'RUN' });
  expect(code('eval', 'a', 'b')).toMatchObject({ code: 'E110', word: 'b' });
  expect(code('eval', '--help')).toBeUndefined();
});

test('a usage line names every word and flag', () => {
  const train = verbs.find((v) => v.name === 'train')!;
  expect(usage(train)).toBe('qkv train [CONFIG-or-RUN] [key=value …] [--resume] [--anyway] [--profile] [--root TEXT]');
});

test('the nearest name', () => {
  expect(nearest('nHeads', ['nHead', 'nLayer'])).toBe('nHead');
  expect(nearest('n_head', ['nHead', 'nLayer'])).toBe('nHead');
  expect(nearest('learning_rate', ['lr'], { learning_rate: 'lr' })).toBe('lr');
  expect(nearest('learnng_rate', ['lr'], { learning_rate: 'lr' })).toBe('lr');
  expect(nearest('zzz', ['nHead', 'nLayer'])).toBeUndefined();
  expect(editDistance('demo', 'dmeo')).toBe(1);
  expect(editDistance('', 'abc')).toBe(3);
  expect(editDistance('kitten', 'sitting')).toBe(3);
});
