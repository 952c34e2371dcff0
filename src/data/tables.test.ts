import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tableFromJSON, tableToIPC } from 'apache-arrow';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, expect, test } from 'vitest';
import { zstdOf, zstdRuns } from '../../test/reliability/zstd-writer.ts';
import { hash32 } from './order.ts';
import { prepareData } from './prepare.ts';
import { Rejects } from './rejects.ts';
import { documents, listSources, rowsOf, type ReadOptions } from './sources.ts';
import { tableBatches } from './table.ts';

const REAL_ZSTD =
  'KLUv/QRoPQMA4sMOFcA95J/97Y3Rzl/Z/H81TVuGjcrpAWOMMcYYY/z/////u7u7u7sndEwh4x1AmZ3d72I6dY05iKDaYgEoqBHw6/8GgKPSAxE0BL9D8PkBJ2E/V+644X7rdlu216pdpFS9jApENSe75kM=';
const root = mkdtempSync(join(tmpdir(), 'qkv-tables-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let files = 0;
const put = (ending: string, bytes: Uint8Array | string): string => {
  const path = join(root, `${files++}${ending}`);
  writeFileSync(path, bytes);
  return path;
};
const texts = async (path: string, options: ReadOptions = {}) => {
  const all: string[] = [];
  for await (const piece of documents(await listSources(path), options)) all.push(piece.text);
  return all;
};
const rows = async (path: string) => {
  const all: unknown[] = [];
  for (const file of await listSources(path))
    for await (const { values } of rowsOf(file, { rejects: new Rejects() })) all.push(values);
  return all;
};
const poem = ['春眠不觉晓', 'the whale', '🙂 é', 'x'.repeat(3000)];
const many = (n: number) => Array.from({ length: n }, (_, i) => `${i} ${poem[hash32(i) % 4].slice(0, 40)}`);
const parquet = (text: readonly (string | null)[], codec: 'SNAPPY' | 'UNCOMPRESSED' = 'SNAPPY', rowGroupSize = 1000) =>
  new Uint8Array(
    parquetWriteBuffer({
      codec,
      rowGroupSize,
      columnData: [
        { name: 'id', data: text.map((_, i) => BigInt(i)), type: 'INT64' },
        { name: 'text', data: [...text], type: 'STRING', nullable: true },
      ],
    }),
  );
const arrow = (text: readonly (string | null)[], kind: 'file' | 'stream') =>
  tableToIPC(tableFromJSON(text.map((t, id) => ({ id, text: t }))), kind);

test('Parquet: rows over several groups, with the rows of other columns, nulls counted', async () => {
  const text = many(2500);
  expect(await texts(put('.parquet', parquet(text)))).toEqual(text);
  expect(await rows(put('.parquet', parquet(['a', 'b'], 'UNCOMPRESSED')))).toEqual([
    { id: 0, text: 'a' },
    { id: 1, text: 'b' },
  ]);
  const rejects = new Rejects();
  expect(await texts(put('.parquet', parquet(['a', null, ' ', 'b'])), { rejects })).toEqual(['a', 'b']);
  expect(rejects.summary()).toMatchObject({ rows: 4, empty: 2 });
});

test('Arrow: file and stream, a data set folder in the order of its state.json, several splits named', async () => {
  const text = many(9000);
  for (const kind of ['file', 'stream'] as const) expect(await texts(put('.arrow', arrow(text, kind)))).toEqual(text);
  expect(await rows(put('.feather', arrow(['a', 'b'], 'file')))).toEqual([
    { id: 0, text: 'a' },
    { id: 1, text: 'b' },
  ]);
  const folder = join(root, 'set/train');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'a.arrow'), arrow(['second'], 'stream'));
  writeFileSync(join(folder, 'b.arrow'), arrow(['first'], 'stream'));
  writeFileSync(join(folder, 'cache-1.arrow'), arrow(['not listed'], 'stream'));
  writeFileSync(join(folder, 'state.json'), JSON.stringify({ _data_files: [{ filename: 'b.arrow' }, { filename: 'a.arrow' }] }));
  expect(await texts(folder)).toEqual(['first', 'second']);
  writeFileSync(join(root, 'set/dataset_dict.json'), '{"splits": ["train", "test"]}');
  await expect(listSources(join(root, 'set'))).rejects.toMatchObject({ code: 'E146', values: { splits: ['train', 'test'] } });
  writeFileSync(join(folder, 'state.json'), JSON.stringify({ _data_files: [{ filename: '../../secret.arrow' }] }));
  await expect(listSources(folder)).rejects.toMatchObject({ code: 'CORRUPT' });
});

test('a column that is not there: the error lists those that are', async () => {
  for (const path of [put('.parquet', parquet(['a'])), put('.arrow', arrow(['a'], 'file'))])
    for (const onlyText of [false, true])
      await expect(texts(path, { field: 'content', onlyText })).rejects.toMatchObject({
        code: 'E131',
        values: { fields: expect.arrayContaining(['id', 'text']) },
      });
});

test('bytes that are no UTF-8 in a text column cost their row, or are replaced, or stop', async () => {
  const bad = Buffer.from([0xb4, 0xba, 0xc3, 0xdf, 0xb2, 0xbb, 0xbe, 0xf5, 0xcf, 0xfe]); // GB18030
  const bytes = Buffer.from(parquet(['春眠不', 'good', 'abcdefghij'], 'UNCOMPRESSED'));
  const at = bytes.indexOf('abcdefghij');
  bad.copy(bytes, at);
  const path = put('.parquet', bytes);
  const rejects = new Rejects(0.5);
  expect(await texts(path, { rejects })).toEqual(['春眠不', 'good']);
  expect(rejects.refused.bad_utf8).toBe(1);
  expect((await texts(path, { encodingErrors: 'replace' }))[2]).toContain('\ufffd');
  await expect(texts(path, { encodingErrors: 'stop' })).rejects.toMatchObject({
    code: 'E132',
    values: { line: 3, guess: 'gbk' },
  });
  const stream = Buffer.from(arrow(['abcdefghij', 'good'], 'stream'));
  bad.copy(stream, stream.indexOf('abcdefghij'));
  expect(await texts(put('.arrow', stream), { rejects: new Rejects(0.6) })).toEqual(['good']);
});

test('prepared: the hash is of the bytes on disk, threads or not', async () => {
  const path = put('.parquet', parquet(many(2000)));
  const tokenizer = { vocabSize: 256, encode: (t: string) => Int32Array.from(Buffer.from(t)) };
  const { manifest, close } = await prepareData({ path, tokenizer, outDir: join(root, 'out') });
  close();
  const { createHash } = await import('node:crypto');
  expect(manifest.sources[0]).toMatchObject({
    kind: 'parquet',
    sha256: createHash('sha256').update(readFileSync(path)).digest('hex'),
  });
  expect(manifest.train.documents + manifest.val.documents).toBe(2000);
});

test('hostile tables: any damage ends in a typed error or in rows, in bounded time (a seeded portion; test/reliability/fuzz-tables.ts has more)', async () => {
  const { fuzzTables } = await import('../../test/reliability/fuzz-tables.ts');
  const counts = await fuzzTables(join(root, 'fuzz.bin'), { seed: 3, cases: 20 });
  expect(counts.untyped).toEqual([]);
  expect(counts.refused).toBeGreaterThan(15);
  expect(counts.read).toBeGreaterThan(5);
});

test('what takes too long or too much is stopped, and the next file is read', async () => {
  const path = put('.arrow', arrow(many(20_000), 'file'));
  const read = async (options: object) => {
    for await (const _ of tableBatches(path, 'arrow', options)) void _;
  };
  await expect(read({ timeMs: 0 })).rejects.toMatchObject({ code: 'CORRUPT' });
  await read({});
});

test('Parquet: runs, counts and lengths that its bytes do not have are refused before a decoder believes them', async () => {
  const text = Array.from({ length: 8000 }, (_, i) => (i % 2 ? 'aaaa' : 'bbbb'));
  const column = { name: 'text', data: text, type: 'STRING', nullable: false, encoding: 'RLE_DICTIONARY' } as const;
  const bytes = Buffer.from(parquetWriteBuffer({ codec: 'UNCOMPRESSED', rowGroupSize: 200, columnData: [column] }));
  const codes = Buffer.from('0133aaaa', 'hex'); // of one bit, 200 of them in a packed run
  const refused = async (replaced: string) => {
    const hostile = Buffer.from(bytes);
    hostile.write(replaced, bytes.lastIndexOf(codes), 'hex');
    const read = async () => {
      for await (const _ of tableBatches(put('.parquet', hostile), 'parquet')) void _;
    };
    return read().then(
      () => 'read',
      (e) => `${e.code}: ${e.values.detail}`,
    );
  };
  expect(await refused('0133aaaa')).toBe('read');
  expect(await refused('00fdffffff01')).toMatch(/^CORRUPT: .*\(a run of \d+ numbers where 200 are left\)$/); // 2³¹ of no bits
  expect(await refused('01feffffff0f')).toMatch(/^CORRUPT: .*\(a run of \d+ numbers where 200 are left\)$/); // 2³¹ times the same
  expect(await refused('21')).toMatch(/^CORRUPT: .*\(numbers of 33 bits\)$/);
});

test('Zstandard is read as what it holds, in several frames too; damage, cuts, bombs and huge windows are refused', async () => {
  const lines = many(5000).join('\n');
  const bytes = Buffer.from(lines);
  const half = 30_000;
  const frames = Buffer.concat([zstdOf(bytes.subarray(0, half)), zstdOf(bytes.subarray(half))]);
  expect(await texts(put('.txt.zst', frames))).toEqual([lines]);
  // `zstd -19 --check` of 40 lines "line N 春眠不觉晓": sequences, Huffman literals and a checksum.
  const real = Buffer.from(REAL_ZSTD, 'base64');
  expect(await texts(put('.zst', real))).toEqual([Array.from({ length: 40 }, (_, i) => `line ${i} 春眠不觉晓\n`).join('')]);
  expect(await texts(put('.jsonl.zst', zstdOf(Buffer.from('{"text":"a"}\n{"text":"b"}\n'))))).toEqual(['a', 'b']);
  await expect(texts(put('.zst', frames.subarray(0, -3)))).rejects.toMatchObject({ code: 'CORRUPT' });
  await expect(texts(put('.zst', Buffer.concat([frames, Buffer.from('tail')])))).rejects.toMatchObject({ code: 'CORRUPT' });
  await expect(texts(put('.zst', zstdRuns(2000)))).rejects.toMatchObject({ code: 'BOMB' });
  const window = Buffer.from(zstdRuns(1));
  window[5] = 31 << 3; // 2 TiB
  await expect(texts(put('.zst', window))).rejects.toMatchObject({
    code: 'CORRUPT',
    values: { detail: expect.stringContaining('window') },
  });
});

test('encoding auto: each file by its first bytes', async () => {
  const folder = join(root, 'encodings');
  mkdirSync(folder);
  const gb = Buffer.from(
    'b4bac3dfb2bbbef5cffea3acb4a6b4a6cec5cce4c4f1a1a3d2b9c0b4b7e7d3eac9f9a3acbba8c2e4d6aab6e0c9d9a1a3',
    'hex',
  );
  writeFileSync(join(folder, 'a.txt'), gb);
  writeFileSync(join(folder, 'b.txt'), '春眠不觉晓');
  writeFileSync(join(folder, 'c.txt'), Buffer.from('\ufeff春眠', 'utf16le'));
  expect(await texts(folder, { encoding: 'auto' })).toEqual([
    '春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。',
    '春眠不觉晓',
    '春眠',
  ]);
  await expect(texts(folder)).rejects.toMatchObject({ code: 'E132' });
});

test('standard input is rows when it begins like JSON, text otherwise', () => {
  const script = `import { documents, listSources } from ${JSON.stringify(join(import.meta.dirname, 'sources.ts'))};
    for await (const { text } of documents(await listSources('-'))) process.stdout.write(JSON.stringify(text));`;
  writeFileSync(join(root, 'stdin.mts'), script);
  const run = (input: string | Buffer) =>
    spawnSync(process.execPath, ['--import', 'tsx', join(root, 'stdin.mts')], {
      input,
      encoding: 'utf8',
      cwd: import.meta.dirname,
    }).stdout;
  expect(run('{"text":"a"}\n{"text":"b"}\n')).toBe('"a""b"');
  expect(run(zstdOf(Buffer.from('{a} plain\ntext')))).toBe('"{a} plain\\ntext"');
});
