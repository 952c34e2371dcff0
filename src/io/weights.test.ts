import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { archive, pickle, program, storage, tensor } from '../../test/reliability/pytorch-files.ts';
import { safetensorsBytes } from './safetensors.ts';
import { openWeights } from './weights.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'qkv-weights-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const safe = (name: string) => safetensorsBytes([{ name, dtype: 'U8', shape: [2], bytes: Uint8Array.of(1, 2) }]);
const torch = (name: string) =>
  archive(program(pickle.dict([name, tensor(storage('ByteStorage', '0', 2), 0, [2], [1])])), { 0: Uint8Array.of(3, 4) });
const put = (name: string, bytes: Uint8Array | string) => writeFileSync(join(folder, name), bytes);
const tensorsOf = (path: string) => {
  const reader = openWeights(path);
  const all = [...reader.tensors.keys()].map((name) => [name, ...reader.read(name)]);
  reader.close();
  return all;
};

test('a folder: PyTorch when there is nothing better, shards, then one safetensors file before all', () => {
  expect(() => openWeights(folder)).toThrow(expect.objectContaining({ code: 'NO_WEIGHTS', exitCode: 3 }));
  put('pytorch_model-00001-of-00002.bin', torch('a'));
  put('pytorch_model-00002-of-00002.bin', torch('b'));
  const map = { a: 'pytorch_model-00001-of-00002.bin', b: 'pytorch_model-00002-of-00002.bin' };
  put('pytorch_model.bin.index.json', JSON.stringify({ metadata: { total_size: 4 }, weight_map: map }));
  expect(tensorsOf(folder)).toEqual([['a', 3, 4], ['b', 3, 4]]); // biome-ignore format: a table
  // As transformers 4 writes it where both are one tied weight; more than there is, is missing.
  put('pytorch_model.bin.index.json', JSON.stringify({ metadata: { total_size: 2 }, weight_map: map }));
  expect(tensorsOf(folder)).toHaveLength(2);
  put('pytorch_model.bin.index.json', JSON.stringify({ metadata: { total_size: 5 }, weight_map: map }));
  expect(() => openWeights(folder)).toThrow('total_size is 5, the tensors have 4 bytes');
  put('pytorch_model.bin', torch('c'));
  expect(tensorsOf(folder)).toEqual([['c', 3, 4]]);
  put('x.safetensors', safe('d'));
  put('model.safetensors.index.json', JSON.stringify({ weight_map: { d: 'x.safetensors' } }));
  expect(tensorsOf(folder)).toEqual([['d', 1, 2]]);
  put('model.safetensors', safe('e'));
  expect(tensorsOf(folder)).toEqual([['e', 1, 2]]);
});

test('Keras 3 is refused with its way out, alone in a folder, too', () => {
  const keras = mkdtempSync(join(tmpdir(), 'qkv-weights-keras-'));
  writeFileSync(join(keras, 'model.keras'), 'PK');
  for (const path of [keras, join(keras, 'model.keras')]) {
    expect(() => openWeights(path)).toThrow(expect.objectContaining({ code: 'KERAS3' }));
    expect(() => openWeights(path)).toThrow('as safetensors under the names of Hugging Face');
  }
  rmSync(keras, { recursive: true });
});

test('a damaged safetensors file is not passed over for a pickle beside it', () => {
  put('pytorch_model.bin', torch('c'));
  put('model.safetensors', safe('e').slice(0, -1));
  expect(() => openWeights(folder)).toThrow(expect.objectContaining({ code: 'DATA_TRUNCATED' }));
});

test('one file by its name; a pickle named safetensors is refused, and so are unknown names', () => {
  put('w.pth', torch('c'));
  put('w.safetensors', safe('d'));
  put('evil.safetensors', torch('c'));
  expect(tensorsOf(join(folder, 'w.pth'))).toEqual([['c', 3, 4]]);
  expect(tensorsOf(join(folder, 'w.safetensors'))).toEqual([['d', 1, 2]]);
  expect(() => openWeights(join(folder, 'evil.safetensors'))).toThrow(expect.objectContaining({ code: 'HEADER_TOO_LARGE' }));
  copyFileSync(join(folder, 'w.pth'), join(folder, 'w.txt'));
  expect(() => openWeights(join(folder, 'w.txt'))).toThrow(expect.objectContaining({ code: 'NO_WEIGHTS' }));
  expect(() => openWeights(join(folder, 'none.pt'))).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
});

test('a link in a folder is refused; a link that a person names is theirs to follow', () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'qkv-weights-else-'));
  writeFileSync(join(elsewhere, 'w.safetensors'), safe('d'));
  symlinkSync(join(elsewhere, 'w.safetensors'), join(folder, 'model.safetensors'));
  expect(() => openWeights(folder)).toThrow(expect.objectContaining({ code: 'SHARD_FILE' }));
  expect(tensorsOf(join(folder, 'model.safetensors'))).toEqual([['d', 1, 2]]);
  rmSync(elsewhere, { recursive: true });
});
