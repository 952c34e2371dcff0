import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inspectData } from './inspect.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qkv-inspect-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, bytes: string | Uint8Array) => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};
const codes = (report: { warnings: { code: string }[] }) => report.warnings.map((w) => w.code);

test('a text: sizes, characters, language, lengths of paragraphs', async () => {
  const paragraph = (n: number) => 'The boat went to the end of the bay and was not seen again. '.repeat(n).trim();
  const text = Array.from({ length: 100 }, (_, i) => paragraph(i + 1) + ` ${i}`).join('\n\n');
  const report = await inspectData(write('bay.txt', text), { documents: 'blank-line', contextLength: 64 });
  const lengths = Array.from({ length: 100 }, (_, i) => paragraph(i + 1).length + ` ${i}`.length);
  expect(report).toMatchObject({
    kind: 'text',
    files: 1,
    bytes: text.length,
    documents: 100,
    characters: lengths.reduce((a, b) => a + b),
    language: 'English',
    duplicates: 0,
    warnings: [],
  });
  expect(report.scripts).toEqual([{ script: 'Latin', share: 1 }]);
  expect(report.differentCharacters).toBe(new Set(text.replaceAll('\n', '')).size);
  expect(report.lengths).toMatchObject({ min: lengths[0], max: lengths[99], mean: lengths.reduce((a, b) => a + b) / 100 });
  for (const [key, at] of [
    ['p10', 9],
    ['p25', 24],
    ['median', 49],
    ['p75', 74],
    ['p90', 89],
    ['p99', 98],
  ] as const) {
    expect(Math.abs(report.lengths[key] / lengths[at] - 1)).toBeLessThan(0.023);
  }
  for (const { from, to, documents } of report.histogram)
    expect(documents).toBe(lengths.filter((l) => l >= from && l < to).length);
  expect(report.examples[0]).toEqual({ source: 'bay.txt', line: 1, text: `${paragraph(1)} 0` });
});

test('JSONL: fields with types and examples, the right field found, duplicates and dirty rows shown', async () => {
  const rows = Array.from({ length: 60 }, (_, i) =>
    JSON.stringify({ id: i, title: `第${i}篇`, content: `春天来了，花都开了。${i % 50}`, tags: i % 2 ? ['a'] : null }),
  );
  const report = await inspectData(write('poems.jsonl', [...rows, 'broken', '{"id":1,"title":"t"}'].join('\n') + '\n'));
  expect(report).toMatchObject({
    kind: 'jsonl',
    field: 'content',
    documents: 60,
    duplicates: 10,
    language: 'Chinese',
    rows: { bad_json: 1, bad_field: 1 },
  });
  expect(report.fields!.map((f) => f.name)).toEqual(['content', 'title', 'id', 'tags']);
  expect(report.fields![0]).toMatchObject({ types: { string: 60 }, share: 60 / 61 });
  expect(report.fields![3]).toMatchObject({ types: { null: 30, list: 30 } });
  expect(codes(report)).toEqual(['E131', 'E136', 'W231', 'W236']);
  expect(report.warnings[0].values).toMatchObject({ line: 1, field: 'text', fields: ['content', 'title', 'id', 'tags'] });
  expect(report.warnings[1].values).toMatchObject({ rejected: 2, rows: 62, limit: 0.01, first: { line: 61, kind: 'bad_json' } });
  expect(report.rejects.map((r) => [r.line, r.kind])).toEqual([
    [61, 'bad_json'],
    [62, 'bad_field'],
  ]);
});

test('a tokenizer adds tokens; a context that is too long is named', async () => {
  const tokenizer = { vocabSize: 256, encode: (t: string) => new Int32Array(Buffer.from(t)) };
  const report = await inspectData(write('zh.txt', '好'.repeat(50)), { tokenizer, contextLength: 200 });
  expect(report).toMatchObject({ tokens: 150, charactersPerToken: 1 / 3 });
  expect(report.warnings[0]).toMatchObject({ code: 'E135', values: { tokens: 150, contextLength: 200, largest: 149 } });
});

test('encodings and damage are warnings here', async () => {
  const gbk = Buffer.from('bdf1ccecccecc6f8badcbac3a1a3ced2c3c7c8a5b9abd4b0c9a2b2bda3acbfb4bcfbd0edb6e0bba8a1a3', 'hex');
  const novel = await inspectData(write('novel.txt', Buffer.concat([Buffer.from('chapter one\n'), gbk, Buffer.from('\n')])));
  expect(novel.warnings.find((w) => w.code === 'E132')).toMatchObject({ values: { line: 2, byte: 1, guess: 'gbk', lines: 1 } });
  const utf16 = await inspectData(write('u16.txt', Buffer.from('\ufeffhello there', 'utf16le')));
  expect(utf16.warnings[0]).toMatchObject({ code: 'E132', values: { guess: 'utf-16le' } });
  const damaged = await inspectData(write('crlf.txt', 'a\r\nb\ufffdc <|endoftext|> d'.repeat(10)));
  expect(codes(damaged)).toEqual(['W232', 'W233', 'W234', 'W236']);
  await expect(inspectData(write('empty.txt', ''))).rejects.toMatchObject({ code: 'E134' });
  await expect(inspectData(join(folder, 'none'))).rejects.toMatchObject({ code: 'E130' });
});

test('languages by document; lengths in tokens', async () => {
  const english = 'The boat went to the end of the bay and was not seen again.';
  const rows = [
    english,
    english.replace('bay', 'lake'),
    '船一大早就离开了港口，没有人知道它什么时候回来。',
    'Das Boot verließ den Hafen früh am Morgen, und niemand wusste warum.',
  ];
  const bytes = { vocabSize: 256, encode: (text: string) => Int32Array.from(Buffer.from(text)) };
  const report = await inspectData(write('mixed.jsonl', rows.map((text) => `${JSON.stringify({ text })}\n`).join('')), {
    tokenizer: bytes as never,
  });
  expect(report.languages).toEqual([
    { language: 'en', documents: 2 },
    { language: 'zh', documents: 1 },
    { language: 'de', documents: 1 },
  ]);
  const lengths = rows.map((r) => Buffer.byteLength(r));
  expect(report.tokens).toBe(lengths.reduce((a, b) => a + b));
  expect(report.tokenLengths).toMatchObject({ min: Math.min(...lengths), max: Math.max(...lengths) });
  expect(report.tokenHistogram).toEqual([
    { from: 32, to: 64, documents: 2 },
    { from: 64, to: 128, documents: 2 },
  ]);
});
