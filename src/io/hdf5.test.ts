import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { CheckpointError } from './checkpoint-error.ts';
import { openHdf5, parseHdf5 } from './hdf5.ts';
import { kerasNames, renamed } from './tensorflow-names.ts';
import { openWeights } from './weights.ts';

// The golden file is Keras' (test/parity/tensorflow/make_tensorflow.py); the second reader is jsfive, which knows all of HDF5.
const folder = mkdtempSync(join(tmpdir(), 'qkv-hdf5-'));
afterAll(() => rmSync(folder, { recursive: true }));
const golden = (name: string): { path: string; bytes: Uint8Array } => {
  const bytes = new Uint8Array(
    gunzipSync(readFileSync(join(import.meta.dirname, `../../test/parity/tensorflow/keras/${name}.gz`))),
  );
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return { path, bytes };
};
const { path, bytes } = golden('tf_model.h5');
const { File } = await import('jsfive' as string); // it has no types

interface Node {
  keys?: string[];
  get?(key: string): Node;
  shape?: number[];
  value?: ArrayLike<number>;
}

test('7.1.1 arrays, their paths, shapes and values are those that jsfive reads', () => {
  const reader = openHdf5(path);
  const seen: string[] = [];
  const walk = (node: Node, at: string) => {
    if (Array.isArray(node.keys)) for (const key of node.keys) walk(node.get!(key), at === '' ? key : `${at}/${key}`);
    else {
      seen.push(at);
      expect(reader.tensors.get(at)?.shape, at).toEqual(node.shape);
      expect([...new Float32Array(reader.read(at).buffer)], at).toEqual([...Array.from(node.value!)]);
    }
  };
  walk(new File(bytes.slice().buffer, 'x') as unknown as Node, '');
  expect(seen.length).toBeGreaterThan(50);
  expect(seen.sort()).toEqual([...reader.tensors.keys()].sort());
  const window = new Uint8Array(8);
  const name = seen.find((at) => at.endsWith('word_embeddings/weight:0'))!;
  reader.readInto(name, 16, window);
  expect([...window]).toEqual([...reader.read(name).subarray(16, 24)]);
  expect(() => reader.readInto(name, 4 * 29 * 6, window)).toThrow(RangeError);
  reader.close();
});

test('names of Keras, and the tied embedding that is saved twice', () => {
  expect(kerasNames('bert/tf_bert_model/bert/encoder/layer_._11/output/dense/kernel:0')).toEqual({
    name: 'bert.encoder.layer.11.output.dense.weight',
    transposed: true,
  });
  expect(kerasNames('mlm___cls/tf_bert/mlm___cls/predictions/bias:0')?.name).toBe('cls.predictions.bias');
  expect(kerasNames('distilbert/tf_distil/distilbert/transformer/layer_._0/sa_layer_norm/gamma:0')?.name).toBe(
    'distilbert.transformer.layer.0.sa_layer_norm.weight',
  );
  expect(kerasNames('top_level_model_weights')).toBeUndefined();
  const reader = renamed(parseHdf5(bytes), kerasNames, 'x');
  expect([...reader.tensors.keys()].filter((name) => name.endsWith('word_embeddings.weight'))).toHaveLength(1);
  const clash = () => renamed(reader, () => ({ name: 'one' }), 'x');
  expect(clash).toThrow(expect.objectContaining({ code: 'DUP_KEY' }));
});

test('the weights of Keras 3 are read by their own names, and refused as a model, with a way out', () => {
  const { path } = golden('small.weights.h5'); // keras 3.15.1: Dense(2), LayerNormalization, Dense(1)
  const reader = openHdf5(path);
  expect([...reader.tensors].map(([name, { shape }]) => [name, [...shape]])).toEqual([
    ['layers/dense/vars/0', [3, 2]],
    ['layers/dense/vars/1', [2]],
    ['layers/dense_1/vars/0', [2, 1]],
    ['layers/dense_1/vars/1', [1]],
    ['layers/layer_normalization/vars/0', [2]],
    ['layers/layer_normalization/vars/1', [2]],
  ]);
  const first = [...new Float32Array(reader.read('layers/dense/vars/0').buffer)];
  const keras = [
    -0.5280049443244934, 0.794081449508667, 0.9604876041412354, -0.34344756603240967, -1.026512622833252, -0.8537018299102783,
  ];
  expect(first).toEqual(keras);
  reader.close();
  const asModel = () => openWeights(path);
  expect(asModel).toThrow(expect.objectContaining({ code: 'KERAS3' }));
  expect(asModel).toThrow(/layers\/dense\/vars\/0[\s\S]*safetensors/);
});

const codeOf = (damage: (b: Uint8Array, view: DataView) => unknown): string => {
  const copy = bytes.slice();
  try {
    const other = damage(copy, new DataView(copy.buffer));
    parseHdf5(other instanceof Uint8Array ? other : copy);
    return 'none';
  } catch (error) {
    if (error instanceof CheckpointError) return error.code;
    throw error;
  }
};
/** Where the n-th structure with this mark begins. */
const find = (mark: string, n = 0): number => {
  let at = -1;
  for (let i = 0; i <= n; i++) at = Buffer.from(bytes).indexOf(mark, at + 1, 'latin1');
  return at;
};

test('refused: other versions, cut files, addresses and lengths outside, loops, shared branches', () => {
  expect(codeOf((b) => b.subarray(0, 90))).toBe('HDF5');
  expect(codeOf((b) => void (b[1] = 0))).toBe('HDF5');
  expect(codeOf((b) => void (b[8] = 2))).toBe('HDF5');
  expect(codeOf((b) => void (b[13] = 4))).toBe('HDF5');
  expect(codeOf((b) => b.subarray(0, b.length - 1))).toBe('DATA_TRUNCATED');
  expect(codeOf((b) => Uint8Array.from([...b, 0]))).toBe('TRAILING_BYTES');
  expect(codeOf((_, v) => v.setBigUint64(64, 2n ** 63n, true))).toBe('HDF5'); // the root's header
  const tree = find('TREE');
  expect(codeOf((_, v) => v.setUint16(tree + 6, 65535, true))).toBe('HDF5');
  expect(codeOf((_, v) => v.setBigUint64(tree + 32, BigInt(tree), true))).toBe('HDF5'); // its own child
  expect(codeOf((b) => void (b[tree + 5] = 200))).toBe('HDF5');
  const symbols = find('SNOD');
  expect(codeOf((_, v) => v.setUint16(symbols + 6, 60000, true))).toBe('HDF5');
  expect(codeOf((_, v) => v.setBigUint64(symbols + 8 + 8, v.getBigUint64(64, true), true))).toBe('HDF5'); // a group inside itself
  expect(codeOf((_, v) => v.setBigUint64(symbols + 8 + 40 + 8, v.getBigUint64(symbols + 16, true), true))).toBe('HDF5'); // one object, two names
  expect(codeOf((_, v) => v.setBigUint64(symbols + 8, 2n ** 40n, true))).toBe('HDF5'); // a name behind its heap
  const heap = find('HEAP');
  expect(codeOf((_, v) => v.setBigUint64(heap + 8, 2n ** 40n, true))).toBe('HDF5');
  // Levels that lead to the same node again and again: 8¹² ways in a few hundred bytes.
  const shared = codeOf((b, v) => {
    for (let level = 12; level > 0; level--) {
      const at = 4096 + 256 * (12 - level);
      b.set([0x54, 0x52, 0x45, 0x45, 0, level, 8, 0], at);
      for (let k = 0; k < 8; k++) v.setBigUint64(at + 32 + 16 * k, BigInt(at + 256), true);
    }
    const rootHeap = v.getBigUint64(88, true);
    const header = Number(v.getBigUint64(64, true));
    for (let i = header; i < header + 200; i += 8) if (v.getBigUint64(i + 8, true) === rootHeap) v.setBigUint64(i, 4096n, true);
  });
  expect(shared).toBe('HDF5');
});

test('refused: arrays that overlap, or whose size is not shape × dtype, chunks, filters, links', () => {
  const reader = parseHdf5(bytes);
  const [[, a], [, b]] = [...reader.tensors].filter(([, t]) => t.shape.length === 2);
  /** Where the layout message of a tensor names its data. */
  const layoutOf = (offset: number) => {
    const view = new DataView(bytes.buffer);
    for (let i = 0; i + 8 < bytes.length; i++)
      if (bytes[i - 2] === 3 && bytes[i - 1] === 1 && view.getBigUint64(i, true) === BigInt(offset)) return i;
    throw new Error('no layout');
  };
  const at = layoutOf(a.byteOffset);
  expect(codeOf((_, v) => v.setBigUint64(at, BigInt(b.byteOffset), true))).toBe('OVERLAP');
  expect(codeOf((_, v) => v.setBigUint64(at + 8, 4n, true))).toBe('SIZE_MISMATCH');
  expect(codeOf((_, v) => v.setBigUint64(at, BigInt(bytes.length - 8), true))).toBe('DATA_TRUNCATED');
  expect(codeOf((_, v) => v.setBigUint64(at, BigInt(bytes.length), true))).toBe('HDF5');
  expect(codeOf((x) => void (x[at - 1] = 2))).toBe('HDF5'); // chunked
  expect(codeOf((x) => void (x[at - 2] = 4))).toBe('HDF5'); // layout of libver="latest"
  expect(codeOf((_, v) => v.setUint32(find('SNOD') + 8 + 16, 2, true))).toBe('HDF5'); // symbolic link
});
