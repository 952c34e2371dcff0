import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { tokenizerToJson, trainBpe } from '../tokenizers/index.ts';
import { hash32 } from './order.ts';
import { prepareData, type PrepareOptions } from './prepare.ts';

const root = mkdtempSync(join(tmpdir(), 'qkv-encode-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Words by chance, some Chinese, with documents of very different lengths: 1 character to 3 Mi. */
function text(seed: number, words: number): string {
  const all = ['whale', 'ship', 'the', 'of', '春眠', '不觉晓', '🙂', 'x\n', 'é'];
  return Array.from({ length: words }, (_, i) => all[hash32(seed, i) % all.length]).join(' ');
}

test('any number of threads: the same shards, byte for byte', async () => {
  const folder = mkdtempSync(join(root, 'f-'));
  mkdirSync(join(folder, 'in'));
  const rows = [1, 5, 70_000, 20, 400_000, 3, 900, ...Array.from({ length: 300 }, (_, i) => hash32(i) % 3000)];
  writeFileSync(join(folder, 'in/a.jsonl'), rows.map((n, i) => `${JSON.stringify({ text: text(i, n) || '.' })}\n`).join(''));
  writeFileSync(join(folder, 'in/b.txt'), text(99, 60_000));
  const tokenizer = trainBpe([text(7, 20_000)], { vocabSize: 320, specialTokens: ['<|endoftext|>'] });
  const make = async (name: string, options: Partial<PrepareOptions>) => {
    const outDir = join(folder, name);
    const { manifest, close } = await prepareData({
      path: join(folder, 'in'),
      tokenizer,
      outDir,
      shardTokens: 100_000,
      ...options,
    });
    close();
    expect(manifest.shards.flatMap((s) => s.files).length).toBeGreaterThan(5);
    return readdirSync(outDir)
      .filter((f) => f.endsWith('.tokens') || f === 'manifest.json')
      .map((f) => [f, readFileSync(join(outDir, f)).toString('latin1')]);
  };
  const inThreads = () => ({
    module: new URL('../tokenizers/index.ts', import.meta.url).href,
    name: 'tokenizerFromJson',
    argument: tokenizerToJson(tokenizer),
  });
  const alone = await make('one', {});
  for (const threads of [1, 2, 3]) expect(await make(`t${threads}`, { inThreads, threads })).toEqual(alone);
});

test('a text that the tokenizer refuses throws its own error from threads too; a thread that cannot start says so', async () => {
  const folder = mkdtempSync(join(root, 'f-'));
  writeFileSync(join(folder, 'a.txt'), 'abcabc');
  const tokenizer = {
    vocabSize: 3,
    encode(): Int32Array {
      throw new RangeError('no such letter');
    },
  };
  const module = `data:text/javascript,${encodeURIComponent('export const make = () => ({ vocabSize: 3, encode() { throw new Error("other"); } })')}`;
  const options = {
    path: join(folder, 'a.txt'),
    tokenizer,
    outDir: join(folder, 'out'),
    threads: 2,
    tokenizerHash: '0'.repeat(64),
  };
  await expect(prepareData({ ...options, inThreads: () => ({ module, name: 'make', argument: null }) })).rejects.toThrow(
    'no such letter',
  );
  expect(readdirSync(join(folder, 'out'))).toEqual([]);
});
