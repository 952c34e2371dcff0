import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { entryBytes, type EntryFields, headerBytes, type Row, tableBytes } from '../../test/reliability/tensorflow-files.ts';
import type { MaskedLM } from '../models/index.ts';
import { dispose } from '../nn/index.ts';
import { scope, type Tensor } from '../tensor/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { crc32c, maskedCrc32c } from './crc32c.ts';
import { toFloat32 } from './floats.ts';
import { loadEncoder } from './hugging-face-bert.ts';
import { openTensorflowCheckpoint, parseTensorflowCheckpoint } from './tensorflow-checkpoint.ts';
import { openWeights, weightsKind } from './weights.ts';

// Golden files by TensorFlow 2.21 and transformers 4.57.1: test/parity/tensorflow/make_tensorflow.py.
const golden = join(import.meta.dirname, '../../test/parity/tensorflow');
const expected = JSON.parse(readFileSync(join(golden, 'expected.json'), 'utf8'));

test('CRC-32C: the check value of the polynomial, and any cut', () => {
  const nine = new TextEncoder().encode('123456789');
  expect(crc32c(nine)).toBe(0xe3069283);
  for (let cut = 0; cut <= 9; cut++) expect(crc32c(nine.subarray(cut), crc32c(nine.subarray(0, cut)))).toBe(0xe3069283);
  const long = Uint8Array.from({ length: 1000 }, (_, i) => i * 31);
  let slow = 0xffffffff;
  for (const byte of long) {
    slow ^= byte;
    for (let k = 0; k < 8; k++) slow = slow & 1 ? (slow >>> 1) ^ 0x82f63b78 : slow >>> 1;
  }
  expect(crc32c(long)).toBe((slow ^ 0xffffffff) >>> 0);
});

/** The golden folder; Keras' file is kept packed. */
function unpacked(kind: string): { path: string } & Disposable {
  if (kind !== 'keras') return { path: join(golden, kind), [Symbol.dispose]: () => {} };
  const path = mkdtempSync(join(tmpdir(), 'qkv-keras-'));
  cpSync(join(golden, kind, 'config.json'), join(path, 'config.json'));
  writeFileSync(join(path, 'tf_model.h5'), gunzipSync(readFileSync(join(golden, kind, 'tf_model.h5.gz'))));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

test.each(['google', 'keras'])(
  '7.1.1 BERT from TensorFlow (%s): hidden states of every layer and logits ≤ 1e-4 beside TFBertForPreTraining',
  (kind) => {
    using _ = scope('parity');
    using folder = unpacked(kind);
    const { model, task, fresh } = loadEncoder(folder.path);
    expect([task, fresh]).toEqual(['maskedLM', []]);
    const hidden: Tensor[] = [];
    const record = (key: string, value: Tensor) => {
      if (key === 'embeddings' || key.endsWith('.output')) hidden.push(value);
    };
    const lengths = expected.mask.map((row: number[]) => row.reduce((a, b) => a + b, 0));
    const segments = Int32Array.from(expected.segments.flat());
    const logits = (model as MaskedLM).forward(Int32Array.from(expected.ids.flat()), [2, 5], { lengths, segments, record });
    const largest = (t: Tensor, theirs: number[]) =>
      Math.max(...[...t.readSync()].map((x, i) => Math.abs(Number(x) - theirs[i])));
    expect(hidden).toHaveLength(expected.hidden.length);
    for (const [i, h] of hidden.entries()) expect(largest(h, expected.hidden[i].flat(2))).toBeLessThan(1e-4);
    expect(largest(logits, expected.logits.flat(2))).toBeLessThan(1e-4);
    dispose(model);
  },
);

test('what the containers are called; slots of the optimiser and the step are no weights', () => {
  expect(weightsKind(join(golden, 'google/bert_model.ckpt.index'))).toBe('TensorFlow checkpoint');
  const weights = openWeights(join(golden, 'google'));
  expect([...weights.tensors.keys()].filter((name) => /adam|step/.test(name))).toEqual([]);
  expect(weights.tensors.get('bert.encoder.layer.1.intermediate.dense.weight')?.shape).toEqual([10, 6]);
  weights.close();
});

test('7.1.1 every dtype, two shards, a scalar and an empty tensor as TensorFlow wrote them; text is passed over', () => {
  const reader = openTensorflowCheckpoint(join(golden, 'dtypes/all.ckpt.index'));
  const floats = (name: string) => [...toFloat32(reader.tensors.get(name)!.dtype, reader.read(name))];
  for (const name of ['float16', 'float32', 'float64']) expect(floats(`${name}/x`)).toEqual([-3, -2, -1, 0, 1, 2]);
  expect(floats('bfloat16/x')).toEqual([1.5, -2]);
  expect(floats('scalar')).toEqual([2.5]);
  expect(reader.tensors.get('empty')).toMatchObject({ dtype: 'F32', shape: [0, 4], byteLength: 0 });
  const view = (name: string) => new DataView(reader.read(name).buffer);
  expect(view('int8/x').getInt8(0)).toBe(-3);
  expect(view('int16/x').getInt16(2, true)).toBe(-2);
  expect(view('int32/x').getInt32(4, true)).toBe(-2);
  expect(view('int64/x').getBigInt64(0, true)).toBe(-3n);
  expect(view('uint16/x').getUint16(10, true)).toBe(5);
  expect(view('uint32/x').getUint32(20, true)).toBe(5);
  expect(view('uint64/x').getBigUint64(40, true)).toBe(5n);
  expect([...reader.read('bool/x')]).toEqual([1, 0]);
  expect(reader.tensors.has('text')).toBe(false);
  const window = new Uint8Array(4);
  reader.readInto('float32/x', 8, window);
  expect(new DataView(window.buffer).getFloat32(0, true)).toBe(-1);
  expect(() => reader.readInto('float32/x', 24, window)).toThrow(RangeError);
  reader.close();
});

// From here on: bytes of our own.
const data = Uint8Array.from({ length: 48 }, (_, i) => i);
const crcOf = (from: number, to: number) => maskedCrc32c(crc32c(data.subarray(from, to)));
const whole: EntryFields = { shape: [2, 3], size: 24, crc: crcOf(0, 24) };
const rows = (entries: [string, EntryFields][], header = headerBytes(1)): Row[] => [
  ['', header],
  ...entries.map(([name, fields]): Row => [name, entryBytes(fields)]),
];
const parse = (table: Uint8Array, shards = [data]) => parseTensorflowCheckpoint(table, shards);
const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof CheckpointError) return error.code;
    throw error;
  }
  return 'none';
};

test('a table in one block and in many says the same', () => {
  const names = Array.from({ length: 30 }, (_, i) => `layer_${String(i).padStart(2, '0')}/kernel`);
  const entries = names.map((name): [string, EntryFields] => [name, { shape: [0], size: 0 }]);
  for (const perBlock of [1, 4, 100]) expect([...parse(tableBytes(rows(entries), perBlock)).tensors.keys()]).toEqual(names);
});

test.each([
  [
    'overlap',
    [
      ['a', whole],
      ['b', { ...whole, offset: 20 }],
    ],
    'OVERLAP',
  ],
  ['size other than shape × dtype', [['a', { ...whole, size: 20 }]], 'SIZE_MISMATCH'],
  ['behind the end', [['a', { ...whole, offset: 40 }]], 'DATA_TRUNCATED'],
  ['offset 2⁵³ − 1', [['a', { ...whole, offset: 2 ** 53 - 1 }]], 'INT_OVERFLOW'],
  ['a shard that is not there', [['a', { ...whole, shard: 1 }]], 'TF_ENTRY'],
  ['a shape that overflows', [['a', { ...whole, shape: [2 ** 32, 2 ** 32] }]], 'INT_OVERFLOW'],
  ['nine dimensions', [['a', { ...whole, shape: Array(9).fill(1) }]], 'LIMIT'],
  ['no type', [['a', { ...whole, dtype: 0 }]], 'TF_ENTRY'],
  [
    'keys out of order',
    [
      ['b', whole],
      ['a', { ...whole, offset: 24 }],
    ],
    'TF_INDEX',
  ],
  [
    'a key twice',
    [
      ['a', whole],
      ['a', { ...whole, offset: 24 }],
    ],
    'TF_INDEX',
  ],
  ['a NUL in a name', [['a\0b', whole]], 'TENSOR_NAME'],
  ['a name of 1025 bytes', [['x'.repeat(1025), whole]], 'LIMIT'],
] as [string, [string, EntryFields][], string][])('refused: %s', (_, entries, code) => {
  expect(codeOf(() => parse(tableBytes(rows(entries))))).toBe(code);
});

test('refused: no header, no shards, too many, big-endian, partitioned, missing shard, wrong checksums, compression, no end mark', () => {
  expect(codeOf(() => parse(tableBytes([['a', entryBytes(whole)]])))).toBe('TF_INDEX');
  expect(codeOf(() => parse(tableBytes(rows([], headerBytes(0)))))).toBe('LIMIT');
  expect(codeOf(() => parse(tableBytes(rows([], headerBytes(10_001)))))).toBe('LIMIT');
  expect(codeOf(() => parse(tableBytes(rows([], headerBytes(1, 1)))))).toBe('TF_ENTRY');
  expect(codeOf(() => parse(tableBytes(rows([], headerBytes(2)))))).toBe('SHARD_MISSING');
  expect(
    codeOf(() =>
      parse(
        tableBytes([
          ['', headerBytes(1)],
          ['a', [...entryBytes(whole), 0x3a, 0]],
        ]),
      ),
    ),
  ).toBe('TF_ENTRY');
  const reader = parse(tableBytes(rows([['a', { ...whole, crc: 1 }]])));
  expect(codeOf(() => reader.read('a'))).toBe('CORRUPT');
  expect(codeOf(() => reader.read('z'))).toBe('NO_TENSOR');
  const good = tableBytes(rows([['a', whole]]));
  expect([...parse(good).read('a')]).toEqual([...data.subarray(0, 24)]);
  for (let i = 0; i < good.length - 48; i++) {
    const bad = good.slice();
    bad[i] ^= 4;
    expect(['CORRUPT', 'TF_INDEX'], `byte ${i}`).toContain(codeOf(() => parse(bad)));
  }
  for (let length = 0; length < good.length; length++) expect(codeOf(() => parse(good.subarray(0, length)))).toBe('TF_INDEX');
});

test('refused: a data file that is a link out of the folder, or missing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-tf-'));
  try {
    const index = join(folder, 'bert_model.ckpt.index');
    copyFileSync(join(golden, 'google/bert_model.ckpt.index'), index);
    expect(codeOf(() => openTensorflowCheckpoint(index))).toBe('SHARD_MISSING');
    symlinkSync(join(golden, 'google/bert_model.ckpt.data-00000-of-00001'), join(folder, 'bert_model.ckpt.data-00000-of-00001'));
    expect(codeOf(() => openTensorflowCheckpoint(index))).toBe('SHARD_FILE');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
