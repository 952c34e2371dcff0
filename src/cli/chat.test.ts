/** Dialogues through the real command line: a file, shards, a run, and a talk with it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { main } from './main.ts';

const home = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'qkv-chat-'));
const cli = fileURLToPath(new URL('./main.ts', import.meta.url));

async function qkv(...argv: string[]) {
  const written = { stdout: '', stderr: '' };
  const code = await main(argv, {
    stdout: { write: (t) => (written.stdout += t) },
    stderr: { write: (t) => (written.stderr += t) },
    env: { LANG: 'en_US.UTF-8', NO_COLOR: '1' },
  });
  const events = argv.includes('--json')
    ? written.stdout
        .trimEnd()
        .split('\n')
        .map((l) => JSON.parse(l))
    : [];
  return { code, ...written, events };
}
const started = (...argv: string[]) =>
  [process.execPath, ['--import', 'tsx', cli, ...argv, '--root', join(folder, 'runs')]] as const;
const options = { cwd: home, env: { ...process.env, NO_COLOR: '1', QKV_LANG: 'en', NODE_OPTIONS: '' } };

const colours: [string, string][] = [
  ['sky', 'blue'],
  ['grass', 'green'],
  ['snow', 'white'],
  ['coal', 'black'],
];
beforeAll(async () => {
  process.chdir(folder);
  const rows = [
    ...colours.map(([a, b]) => ({
      messages: [
        { role: 'user', content: `Which colour has ${a}?` },
        { role: 'assistant', content: `It is ${b}.` },
      ],
    })),
    { instruction: '天是什么颜色？', output: '蓝色的天空🙂' },
  ];
  writeFileSync('chats.jsonl', `${[...rows, ...rows].map((r) => JSON.stringify(r)).join('\n')}\n`);
  const trained = await qkv(
    ...['train', 'data=chats.jsonl', 'tokenizer=byte', 'name=talk', 'steps=150', 'contextLength=64', 'dModel=48', 'nLayer=2'],
    ...['batch=2', 'lr=4e-3', 'data.split=tail', 'valFraction=0.5', 'evalEvery=0', 'sampleEvery=0'],
  );
  expect([trained.code, trained.stderr]).toEqual([0, '']);
  expect(trained.stdout).toContain('talk with it: qkv chat talk');
}, 120_000);
afterAll(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
});

test('questions on the line: answers to the letter in both languages, events of whole characters', async () => {
  const { code, events } = await qkv('chat', 'talk', '天是什么颜色？', '--json', 'temperature=0');
  expect(code).toBe(0);
  const texts = events.filter((e) => e.type === 'text').map((e) => e.text);
  expect(texts.join('')).toBe('蓝色的天空🙂');
  for (const text of texts) expect(text).not.toContain('\ufffd');
  expect(events.at(-2)).toMatchObject({ type: 'answer', question: '天是什么颜色？', text: '蓝色的天空🙂', finish: 'end' });
  expect(events.at(-1)).toMatchObject({ type: 'result', ok: true, run: 'talk', turns: 1 });
  const shown = await qkv('chat', 'talk', 'Which colour has snow?', 'temperature=0');
  expect(shown.stdout).toMatch(/^› Which colour has snow\?\nIt is white\.\n\d+ tokens · /);
});

test('eval, pack and train from shards; what is refused', async () => {
  const evaluated = await qkv('eval', 'talk', '--json');
  expect(evaluated.events.at(-1)).toMatchObject({ objective: 'dialogues', complete: true });
  expect(evaluated.events.at(-1).lossNats).toBeLessThan(0.5);
  const packed = await qkv('data', 'pack', 'chats.jsonl', 'tokenizer=byte', 'out=shards', '--json');
  const { train, val, dialogues } = packed.events.at(-1);
  expect(train.documents + val.documents).toBe(10);
  expect(train.answerTokens).toBeGreaterThan(20);
  expect(dialogues.template).toContain('im_start');
  const from = await qkv(
    'train',
    'data=shards',
    'tokenizer=byte',
    'steps=2',
    'contextLength=64',
    'dModel=16',
    'nHead=2',
    'nLayer=1',
    'name=two',
  );
  expect([from.code, from.stderr]).toEqual([0, '']);
  const file = await qkv('tok', 'train', 'chats.jsonl', 'vocabSize=300', '--json');
  expect(file.code).toBe(0);
  expect(readFileSync('tokenizer.json', 'utf8')).toContain('<|im_start|>');
  writeFileSync('plain.json', '{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}');
  expect((await qkv('data', 'pack', 'chats.jsonl', 'tokenizer=plain.json', 'out=no')).stderr).toContain('E147');
  writeFileSync('book.txt', 'no dialogue at all. '.repeat(60));
  await qkv(
    'train',
    'data=book.txt',
    'tokenizer=byte',
    'steps=1',
    'contextLength=16',
    'dModel=8',
    'nHead=1',
    'nLayer=1',
    'name=book',
  );
  expect(await qkv('chat', 'book', 'hello')).toMatchObject({ code: 65, stderr: expect.stringContaining('E147') });
  expect(await qkv('chat', 'nobody', 'hello')).toMatchObject({ code: 3, stderr: expect.stringContaining('E150') });
});

test('a pipe of questions with words between them; the dialogue is saved as a row that trains', () => {
  const input =
    'Which colour has coal?\n\n/set temperature=0\n/new\nWhich colour has grass?\n/show\n/save FILE\n/quit\nnever asked\n'.replace(
      'FILE',
      join(folder, 'said.jsonl'),
    );
  const [node, argv] = started('chat', 'talk');
  const run = spawnSync(node, argv, { ...options, input, encoding: 'utf8' });
  expect([run.status, run.stderr]).toEqual([0, '']);
  expect(run.stdout).toContain('It is green.\n');
  expect(run.stdout).toContain('temperature=0 ');
  expect(JSON.parse(readFileSync(join(folder, 'said.jsonl'), 'utf8'))).toEqual({
    messages: [
      { role: 'user', content: 'Which colour has grass?' },
      { role: 'assistant', content: 'It is green.' },
    ],
  });
  const again = spawnSync(node, argv, { ...options, input: `/save ${join(folder, 'said.jsonl')}\n`, encoding: 'utf8' });
  expect([again.status, again.stderr.slice(0, 4)]).toEqual([2, 'E158']);
});

test('Ctrl-C ends the answer and the command, cleanly', async () => {
  // In this process, at the first piece of the answer: a signal sent from outside may come when the answer is over.
  const lines: string[] = [];
  const write = (text: string) => {
    if (lines.length === 0) process.emit('SIGINT', 'SIGINT');
    lines.push(...text.trimEnd().split('\n'));
  };
  const argv = ['chat', 'talk', 'Count!', 'And on!', '--json', 'temperature=100', 'maxTokens=1000000', 'seed=1'];
  const code = await main(argv, { stdout: { write }, stderr: { write: () => {} }, env: { QKV_LANG: 'en' } });
  const events = lines.map((l) => JSON.parse(l));
  expect(events[0]).toMatchObject({ type: 'text' });
  expect(events.at(-2)).toMatchObject({ type: 'answer', question: 'Count!', finish: 'stopped' });
  expect([code, events.at(-1)]).toMatchObject([0, { type: 'result', ok: true, turns: 1 }]);
});
