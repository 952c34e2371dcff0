import { execFileSync, spawn } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { safetensorsBytes } from './safetensors.ts';
import { openShardedSafetensors, parseShardIndex } from './safetensors-index.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'qkv-index-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const shardName = (n: number, of = 2) => `model-${String(n).padStart(5, '0')}-of-${String(of).padStart(5, '0')}.safetensors`;
const tensor = (name: string, ...values: number[]) =>
  ({ name, dtype: 'U8', shape: [values.length], bytes: Uint8Array.from(values) }) as const;

/** Two shards, a and b in the first, c in the second, and their index. */
function folderWith(index: unknown = undefined, into = folder) {
  writeFileSync(join(into, shardName(1)), safetensorsBytes([tensor('a', 1), tensor('b', 2, 3)]));
  writeFileSync(join(into, shardName(2)), safetensorsBytes([tensor('c', 4, 5, 6)]));
  index ??= { metadata: { total_size: 6 }, weight_map: { a: shardName(1), b: shardName(1), c: shardName(2) } };
  const path = join(into, 'model.safetensors.index.json');
  writeFileSync(path, typeof index === 'string' ? index : JSON.stringify(index));
  return path;
}
const refused = (code: string) => expect.objectContaining({ name: 'CheckpointError', code });

test('shards read like one file', () => {
  const reader = openShardedSafetensors(folderWith());
  expect([...reader.tensors.keys()]).toEqual(['a', 'b', 'c']);
  expect([...reader.read('b')]).toEqual([2, 3]);
  expect([...reader.read('c')]).toEqual([4, 5, 6]);
  const window = new Uint8Array(2);
  reader.readInto('c', 1, window);
  expect([...window]).toEqual([5, 6]);
  expect(() => reader.read('d')).toThrow(refused('NO_TENSOR'));
  reader.close();
});

test.each([
  '../x',
  'a/b',
  'a\\b',
  '..',
  '.',
  '',
  '/etc/passwd',
  'C:x',
  'C:\\x',
  '\\\\?\\x',
  'x\0y',
  'x:stream',
  'x.',
  'x ',
  'CON',
  'nul.safetensors',
  'COM1.safetensors',
  'lpt9',
  'n'.repeat(256),
  '注'.repeat(86),
])('I1: shard name %j is refused', (name) => {
  expect(() => parseShardIndex(Buffer.from(JSON.stringify({ weight_map: { a: name } })), 'index')).toThrow(refused('SHARD_NAME'));
});

describe('I2: only regular files of the folder are opened', () => {
  const second = () => join(folder, shardName(2));
  test('symbolic link', () => {
    const path = folderWith();
    rmSync(second());
    symlinkSync(join(folder, shardName(1)), second());
    expect(() => openShardedSafetensors(path)).toThrow(refused('SHARD_FILE'));
  });
  test('FIFO: refused at once, not waited for', () => {
    const path = folderWith();
    rmSync(second());
    execFileSync('mkfifo', [second()]);
    expect(() => openShardedSafetensors(path)).toThrow(/is a FIFO, not a regular file/);
  });
  test('folder', () => {
    const path = folderWith();
    rmSync(second());
    mkdirSync(second());
    expect(() => openShardedSafetensors(path)).toThrow(refused('SHARD_FILE'));
  });
  test('hard link: a warning at home, refused in a downloaded folder', () => {
    const path = folderWith();
    linkSync(second(), join(folder, 'other name'));
    const warnings: string[] = [];
    openShardedSafetensors(path, { warn: (text) => warnings.push(text) }).close();
    expect(warnings).toEqual([expect.stringContaining('has 2 names')]);
    expect(() => openShardedSafetensors(path, { downloaded: true })).toThrow(refused('SHARD_FILE'));
  });
  test('the index itself is a link', () => {
    folderWith();
    symlinkSync(join(folder, 'model.safetensors.index.json'), join(folder, 'link.json'));
    expect(() => openShardedSafetensors(join(folder, 'link.json'))).toThrow(refused('SHARD_FILE'));
  });
});

const map = { a: shardName(1), b: shardName(1), c: shardName(2) };
test.each([
  [
    'a tensor put into the wrong shard',
    { weight_map: { ...map, a: shardName(2) } },
    /puts "a" into .*00002.*, which does not hold it/,
  ],
  ['a tensor that no shard holds', { weight_map: { ...map, d: shardName(1) } }, /puts "d"/],
  [
    'a tensor that the index does not list',
    { weight_map: { a: shardName(1), c: shardName(2) } },
    /holds "b", which the index does not list/,
  ],
  ['total_size too large', { metadata: { total_size: 7 }, weight_map: map }, /total_size is 7, the tensors have 6 bytes/],
])('I3: %s', (_, index, message) => {
  const path = folderWith(index);
  expect(() => openShardedSafetensors(path)).toThrow(refused('INDEX_MISMATCH'));
  expect(() => openShardedSafetensors(path)).toThrow(message);
});

test('I3: a tensor in two shards', () => {
  const path = folderWith();
  writeFileSync(join(folder, shardName(2)), safetensorsBytes([tensor('c', 4, 5, 6), tensor('a', 1)]));
  expect(() => openShardedSafetensors(path)).toThrow(/tensor "a" is in .* and in/);
});

test('I4: a shard that is missing, a number that is missing, counts that disagree', () => {
  const path = folderWith();
  rmSync(join(folder, shardName(2)));
  expect(() => openShardedSafetensors(path)).toThrow(refused('SHARD_MISSING'));
  const parse = (weight_map: object) => () => parseShardIndex(Buffer.from(JSON.stringify({ weight_map })), 'index');
  expect(parse({ a: shardName(1, 3), b: shardName(3, 3) })).toThrow(/no tensor into shard 2 of 3/);
  expect(parse({ a: shardName(1, 2), b: shardName(2, 3) })).toThrow(refused('SHARD_MISSING'));
  expect(parse({ a: shardName(4, 3) })).toThrow(refused('SHARD_MISSING'));
  expect(parse({ a: shardName(0, 1) })).toThrow(refused('SHARD_MISSING'));
});

test.each([
  ['not JSON', '{'],
  ['duplicate tensor', '{"weight_map":{"a":"x","\\u0061":"y"}}'],
  ['duplicate weight_map', '{"weight_map":{},"weight_map":{}}'],
  ['no weight_map', '{}'],
  ['an array', '[]'],
  ['a file name that is a number', '{"weight_map":{"a":1}}'],
  ['total_size a string', '{"metadata":{"total_size":"6"},"weight_map":{}}'],
  ['deep nesting', `{"metadata":${'['.repeat(100_000)}`],
  ['bad UTF-8', Buffer.from([0x7b, 0x22, 0xff])],
])('I5: %s', (_, text) => {
  expect(() => parseShardIndex(Buffer.from(text as string), 'index')).toThrow(refused('INDEX_JSON'));
});

test('I5: an index above 64 MB', () => {
  expect(() => parseShardIndex(new Uint8Array(91 * 2 ** 20), 'index')).toThrow(/the index is 91 MB; the limit is 64 MB/);
});

describe('I7: the Hugging Face cache is made of links', () => {
  const make = (blobs: string) => {
    const repo = join(folder, 'hub', 'models--a--b');
    const snapshot = join(repo, 'snapshots', 'abc');
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(join(folder, blobs), { recursive: true });
    folderWith(undefined, join(folder, blobs));
    for (const name of [shardName(1), shardName(2), 'model.safetensors.index.json'])
      symlinkSync(join(folder, blobs, name), join(snapshot, name));
    return join(snapshot, 'model.safetensors.index.json');
  };
  test('links to its own blobs are followed', () => {
    const reader = openShardedSafetensors(make('hub/models--a--b/blobs'));
    expect([...reader.read('c')]).toEqual([4, 5, 6]);
    reader.close();
  });
  test.each(['elsewhere', 'hub/models--a--c/blobs', 'hub/models--a--b/blobs2'])('links to %s are not', (blobs) => {
    expect(() => openShardedSafetensors(make(blobs))).toThrow(/link leads out of the Hugging Face cache/);
  });
});

test('a file that is swapped for a link 1,000 times while it is opened: nothing outside the folder is ever read', async () => {
  const inside = join(folder, 'in');
  mkdirSync(inside);
  const path = folderWith(undefined, inside);
  const shard = join(inside, shardName(2));
  writeFileSync(join(folder, 'secret'), safetensorsBytes([tensor('c', 66, 66, 66)]));
  writeFileSync(join(folder, 'keep'), safetensorsBytes([tensor('c', 4, 5, 6)]));
  const script = `const fs = require('fs'); const [shard, secret, keep] = process.argv.slice(1); process.send('go');
    for (;;) { fs.symlinkSync(secret, shard + '.a'); fs.renameSync(shard + '.a', shard); fs.copyFileSync(keep, shard + '.b'); fs.renameSync(shard + '.b', shard); }`;
  const child = spawn(process.execPath, ['-e', script, shard, join(folder, 'secret'), join(folder, 'keep')], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  await new Promise((resolve) => child.once('message', resolve));
  const seen = { read: 0, refused: 0 };
  for (let tries = 0; tries < 1000; tries++) {
    try {
      const reader = openShardedSafetensors(path);
      expect([...reader.read('c')]).toEqual([4, 5, 6]);
      reader.close();
      seen.read++;
    } catch (error) {
      if ((error as Error).name !== 'CheckpointError') throw error;
      seen.refused++;
    }
  }
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  expect(seen.read).toBeGreaterThan(0);
  expect(seen.refused).toBeGreaterThan(0);
});
