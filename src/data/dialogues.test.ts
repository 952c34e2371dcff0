import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { dialoguesOf, preferencesOf } from './dialogues.ts';
import { alignedPairs, labelledOf, pairsOf } from './pairs.ts';
import { Rejects } from './rejects.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-rows-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const write = (name: string, text: string) => {
  const path = join(folder, `${files++}-${name}`);
  writeFileSync(path, text);
  return path;
};
const jsonl = (...rows: unknown[]) => write('rows.jsonl', rows.map((r) => `${JSON.stringify(r)}\n`).join(''));
async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const row of rows) out.push(row);
  return out;
}
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

test('pairs: two columns of CSV, TSV or JSONL, nested ones too; what is missing is said with what is there', async () => {
  const csv = write('p.csv', 'zh,en\n你好,"hello, you"\n,empty\n再见,bye\n');
  const rejects = new Rejects();
  expect(await all(pairsOf(csv, { source: 'en', target: 'zh', rejects }))).toEqual([
    { source: 'hello, you', target: '你好', line: 2 },
    { source: 'bye', target: '再见', line: 4 },
  ]);
  expect(rejects.noted.empty).toBe(1);
  expect((await all(pairsOf(csv)))[0]).toMatchObject({ source: 'hello, you', target: '你好' }); // en zh are known names
  const nested = jsonl({ translation: { en: 'one', de: 'eins' } });
  expect(await all(pairsOf(nested, { source: 'translation.de', target: 'translation.en' }))).toMatchObject([
    { source: 'eins', target: 'one' },
  ]);
  await expect(all(pairsOf(nested))).rejects.toMatchObject({ code: 'E141', values: { columns: ['translation'], line: 1 } });
  await expect(all(pairsOf(csv, { source: 'de', target: 'en' }))).rejects.toMatchObject({
    code: 'E141',
    values: { wanted: ['de'], columns: ['zh', 'en'] },
  });
  await expect(all(pairsOf(write('p.txt', 'a\tb\n')))).rejects.toMatchObject({ code: 'E133' });
});

test('aligned files: line by line, empty lines keep the place, another number of lines is refused', async () => {
  const [a, b] = [write('a.en', 'one\n\nthree\nfour\n'), write('a.zh', '一\n二\n三\n四')];
  const rejects = new Rejects();
  expect(await all(alignedPairs(a, b, { rejects }))).toEqual([
    { source: 'one', target: '一', line: 1 },
    { source: 'three', target: '三', line: 3 },
    { source: 'four', target: '四', line: 4 },
  ]);
  expect(await all(alignedPairs(write('b.en', 'x\n\n'), write('b.zh', '一\n二\n')))).toHaveLength(1);
  await expect(all(alignedPairs(a, write('short.zh', '一\n')))).rejects.toMatchObject({
    code: 'E143',
    values: { lines: 4, otherLines: 1 },
  });
});

test('labelled rows', async () => {
  expect(await all(labelledOf(write('l.tsv', 'label\ttext\n1\tgood\n0\tbad\n')))).toEqual([
    { text: 'good', label: '1', line: 2 },
    { text: 'bad', label: '0', line: 3 },
  ]);
  await expect(all(labelledOf(write('l.csv', 'stars,text\n1,good\n')))).rejects.toMatchObject({
    code: 'E141',
    values: { wanted: ['label'], columns: ['stars', 'text'] },
  });
});

test('dialogues: OpenAI, ShareGPT and Alpaca say the same', async () => {
  const wanted = [{ role: 'system', content: 'Be brief.' }, user('Hi'), assistant('Hello'), user('Bye\nnow'), assistant('Bye')];
  const shapes = [
    { messages: wanted },
    {
      system: 'Be brief.',
      conversations: [
        { from: 'human', value: 'Hi' },
        { from: 'gpt', value: 'Hello' },
        { from: 'human', value: 'Bye\nnow' },
        { from: 'gpt', value: 'Bye' },
      ],
    },
    { system: 'Be brief.', instruction: 'Bye', input: 'now', output: 'Bye', history: [['Hi', 'Hello']] },
  ];
  const read = await all(dialoguesOf(jsonl(...shapes)));
  for (const d of read) expect(d.messages).toEqual(wanted);
  expect(read.map((d) => d.line)).toEqual([1, 2, 3]);
  expect(await all(dialoguesOf(write('array.json', JSON.stringify(shapes, null, 2))))).toEqual(read);
});

test('dialogues that cannot be learnt from are refused with the reason, and counted', async () => {
  const good = { messages: [user('q'), assistant('a')] };
  const reasons: string[] = [];
  const rejects = new Rejects(1, (r) => reasons.push(`${r.line} ${r.reason}`));
  const path = jsonl(
    good,
    { messages: [user('q')] },
    { messages: [{ role: 'oracle', content: 'x' }] },
    { messages: [assistant('a'), user('q'), assistant('b')] },
    { messages: [user('q'), user('r'), assistant('a')] },
    { messages: [user('q'), { role: 'assistant', content: null }] },
    { instruction: 'x', output: 3 },
    { prompt: 'x' },
    { messages: [user('q'), assistant(' ')] },
    good,
  );
  expect((await all(dialoguesOf(path, { rejects }))).map((d) => d.line)).toEqual([1, 10]);
  expect(rejects.refused.bad_field).toBe(8);
  expect(reasons).toMatchObject([
    '2 nobody answers',
    '3 message 1 of "messages": role "oracle"',
    '4 an answer comes before any question',
    '5 two questions in a row (message 2)',
    '6 message 2 of "messages" has no text',
    '7 "instruction" and "output" must be text',
    '8 none of messages, conversations, conversation, instruction',
    '9 an empty answer',
  ]);
  await expect(all(dialoguesOf(jsonl({ prompt: 'x', reply: 'y' })))).rejects.toMatchObject({
    code: 'E141',
    values: { columns: ['prompt', 'reply'] },
  });
});

test('preferences: texts beside a prompt, or two dialogues with a common beginning', async () => {
  const wanted = { prompt: [user('q')], chosen: [assistant('good')], rejected: [assistant('bad')] };
  const rejects = new Rejects(1);
  const read = await all(
    preferencesOf(
      jsonl(
        { prompt: 'q', chosen: 'good', rejected: 'bad' },
        { chosen: [user('q'), assistant('good')], rejected: [user('q'), assistant('bad')] },
        { prompt: 'q', chosen: [user('q'), assistant('good')], rejected: [user('q'), assistant('bad')] },
        { prompt: [user('q')], chosen: [assistant('good')], rejected: [assistant('bad')] },
        { prompt: 'q', chosen: 'same', rejected: 'same' },
        { chosen: [user('q'), assistant('a')], rejected: [user('r'), assistant('a')] },
      ),
      { rejects },
    ),
  );
  expect(read).toEqual([1, 2, 3, 4].map((line) => ({ ...wanted, line })));
  expect(rejects.refused.bad_field).toBe(2);
  await expect(all(preferencesOf(jsonl({ prompt: 'q', answer: 'a' })))).rejects.toMatchObject({
    code: 'E141',
    values: { wanted: ['chosen', 'rejected'], columns: ['prompt', 'answer'] },
  });
});
