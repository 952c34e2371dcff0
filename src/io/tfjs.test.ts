import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CheckpointError } from './checkpoint-error.ts';
import { toFloat32 } from './floats.ts';
import type { TensorToWrite } from './safetensors.ts';
import { tfjsNames } from './tensorflow-names.ts';
import { openTfjs, parseTfjs, saveTfjs } from './tfjs.ts';

// Golden files and their values by @tensorflow/tfjs-core 4.22: test/parity/tensorflow/make_tfjs.mjs.
const golden = join(import.meta.dirname, '../../test/parity/tensorflow/tfjs');

test('7.1.1 every coding that TensorFlow.js knows, through shards that cut a number, as tfjs-core decodes it', () => {
  const reader = openTfjs(join(golden, 'model.json'));
  const { expected } = JSON.parse(readFileSync(join(golden, 'expected.json'), 'utf8'));
  expect([...reader.tensors.keys()].sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { shape, values }] of Object.entries(expected as Record<string, { shape: number[]; values: number[] }>)) {
    const { dtype, shape: ours } = reader.tensors.get(name)!;
    const bytes = reader.read(name);
    const read = dtype === 'I32' ? new Int32Array(bytes.buffer) : dtype === 'BOOL' ? bytes : toFloat32(dtype, bytes);
    expect([name, ours, [...read]]).toEqual([name, shape, values]);
  }
  const window = new Uint8Array(4);
  reader.readInto('scalar', 0, window);
  expect(new Float32Array(window.buffer)[0]).toBe(2.5);
  reader.close();
});

const values = Float32Array.from({ length: 300 }, (_, i) => Math.sin(i) * 3);
const tensors: TensorToWrite[] = [
  { name: 'a.weight', dtype: 'F32', shape: [20, 15], bytes: new Uint8Array(values.buffer) },
  { name: 'ids', dtype: 'I32', shape: [2], bytes: new Uint8Array(Int32Array.of(7, -7).buffer) },
  { name: 'none', dtype: 'F32', shape: [0], bytes: new Uint8Array() },
  { name: 'one', dtype: 'BF16', shape: [1], bytes: Uint8Array.of(0xc0, 0x3f) },
];

test.each([
  [undefined, 0],
  ['float16', 2 ** -10],
  ['uint8', 6 / 255 / 2 + 1e-6],
] as const)('written with %s and read again: values within %s', (quantization, tolerance) => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-tfjs-'));
  try {
    const { files, bytes } = saveTfjs(folder, tensors, { quantization, shardBytes: 128, notes: { model_type: 'bert' } });
    expect(readdirSync(folder).sort()).toEqual([...files].sort());
    expect(files).toHaveLength(Math.ceil(bytes / 128) + 1);
    const reader = openTfjs(join(folder, 'model.json'));
    expect(reader.notes).toEqual({ model_type: 'bert' });
    const read = toFloat32(reader.tensors.get('a.weight')!.dtype, reader.read('a.weight'));
    expect(Math.max(...read.map((x, i) => Math.abs(x - values[i])))).toBeLessThanOrEqual(tolerance);
    expect([...new Int32Array(reader.read('ids').buffer)]).toEqual([7, -7]);
    expect(toFloat32(reader.tensors.get('one')!.dtype, reader.read('one'))[0]).toBe(1.5);
    reader.close();
    expect(() => saveTfjs(folder, tensors)).toThrow(expect.objectContaining({ code: 'EXISTS' }));
    expect(() => saveTfjs(join(folder, 'x'), [{ name: 'a', dtype: 'F64', shape: [0], bytes: new Uint8Array() }])).toThrow(
      expect.objectContaining({ code: 'DTYPE' }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('names: those of qkv stay, those of Keras become Hugging Face’s', () => {
  expect(tfjsNames('bert.pooler.dense.weight')).toEqual({ name: 'bert.pooler.dense.weight' });
  const kernel = { name: 'bert.encoder.layer.3.attention.self.query.weight', transposed: true };
  expect(tfjsNames('bert/encoder/layer_._3/attention/self/query/kernel')).toEqual(kernel);
  expect(tfjsNames('tf_bert_model/bert/encoder/layer_._3/attention/self/query/kernel:0')).toEqual(kernel);
});

const weight = { name: 'a', shape: [2], dtype: 'float32' };
const group = (more: object = {}, weights: unknown[] = [weight]) => ({ paths: ['s.bin'], weights, ...more });
const codeOf = (model: unknown, shards: [string, Uint8Array][] = [['s.bin', new Uint8Array(8)]]): string => {
  const json = typeof model === 'string' ? model : JSON.stringify(model);
  try {
    const reader = parseTfjs(new TextEncoder().encode(json), new Map(shards));
    for (const name of reader.tensors.keys()) reader.read(name);
    return 'none';
  } catch (error) {
    if (error instanceof CheckpointError) return error.code;
    throw error;
  }
};
const manifest = (more: object, weights?: unknown[]) => ({ weightsManifest: [group(more, weights)] });

test.each([
  ['sound', manifest({}), 'none'],
  ['not JSON', '{', 'TFJS'],
  ['a key twice', '{"weightsManifest":[],"weightsManifest":[]}', 'TFJS'],
  ['no manifest', {}, 'TFJS'],
  ['a group that is none', { weightsManifest: [1] }, 'TFJS'],
  ['no paths', manifest({ paths: undefined }), 'TFJS'],
  ['a shard that is missing', manifest({ paths: ['t.bin'] }), 'SHARD_MISSING'],
  ['a shard twice', manifest({ paths: ['s.bin', 's.bin'] }), 'DUP_KEY'],
  ['a path that is a number', manifest({ paths: [1] }), 'TFJS'],
  ['no shape', manifest({}, [{ ...weight, shape: undefined }]), 'TFJS'],
  ['a negative size', manifest({}, [{ ...weight, shape: [-2] }]), 'TFJS'],
  ['a broken size', manifest({}, [{ ...weight, shape: [1.5] }]), 'TFJS'],
  ['a size of 10³⁰', manifest({}, [{ ...weight, shape: [1e30] }]), 'TFJS'],
  ['a product that overflows', manifest({}, [{ ...weight, shape: [2 ** 40, 2 ** 40] }]), 'INT_OVERFLOW'],
  ['nine dimensions', manifest({}, [{ ...weight, shape: Array(9).fill(1) }]), 'LIMIT'],
  ['text', manifest({}, [{ ...weight, dtype: 'string' }]), 'DTYPE'],
  ['dtype __proto__', manifest({}, [{ ...weight, dtype: '__proto__' }]), 'DTYPE'],
  [
    'a tensor twice',
    manifest({}, [
      { ...weight, shape: [1] },
      { ...weight, shape: [1] },
    ]),
    'DUP_KEY',
  ],
  ['too short', manifest({}, [{ ...weight, shape: [3] }]), 'DATA_TRUNCATED'],
  ['too long', manifest({}, [{ ...weight, shape: [1] }]), 'TRAILING_BYTES'],
  ['an unknown quantisation', manifest({}, [{ ...weight, quantization: { dtype: 'int4' } }]), 'TFJS'],
  ['a scale that is text', manifest({}, [{ ...weight, quantization: { dtype: 'uint8', min: 0, scale: '1' } }]), 'TFJS'],
  ['a NUL in a name', manifest({}, [{ ...weight, name: 'a\0' }]), 'TFJS'],
])('model.json, %s: %s', (_, model, code) => expect(codeOf(model)).toBe(code));
