import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { readWordVectors } from './word-vectors.ts';

const root = mkdtempSync(join(tmpdir(), 'qkv-vectors-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const put = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(root, name), content);
  return join(root, name);
};

test('word2vec and GloVe lines: rows in the order asked for, the mean where a word has none', async () => {
  const lines = 'whale 1 2\nship 3 -4e-1\nNew York 0.5 0.5\nother 9 9\n';
  for (const path of [put('a.txt', lines), put('b.txt', `4 2\n${lines}`), put('c.txt.gz', gzipSync(lines))]) {
    const { values, width, found } = await readWordVectors(path, ['ship', 'absent', 'New York', 'whale', 'ship']);
    expect(width).toBe(2);
    expect(found).toEqual([true, false, true, true, true]);
    expect([...values].map((x) => Number(x.toFixed(6)))).toEqual([3, -0.4, 1.5, 0.7, 0.5, 0.5, 1, 2, 3, -0.4]);
  }
  await expect(readWordVectors(put('d.txt', 'whale 1 2\nship x 3\n'), ['ship'])).rejects.toMatchObject({ code: 'E133' });
  await expect(readWordVectors(put('e.txt', ''), ['ship'])).rejects.toMatchObject({ code: 'E133' });
  await expect(readWordVectors(put('f.txt', 'word\n'), ['ship'])).rejects.toMatchObject({ code: 'E133' });
});
