// TensorFlow's and Keras' names and layouts → those of Hugging Face's files, from which everything else here is loaded.

import { CheckpointError, quote } from './checkpoint-error.ts';
import type { SafetensorsReader } from './safetensors.ts';
import { dtypeBits, type TensorEntry } from './safetensors-header.ts';

/** The name that a tensor gets, and whether its two axes change places; undefined leaves it out. */
export type Renaming = (name: string) => { name: string; transposed?: boolean } | undefined;

/**
 * Names of the BERT that Google published (also of ELECTRA, whose files are made the same way): `bert/encoder/layer_0/attention/self/query/kernel`.
 * A kernel is (dIn, dOut) there and (dOut, dIn) here. The optimiser's moments and the step are left out.
 */
export const googleBertNames: Renaming = (name) => {
  const parts = name.split('/');
  const last = parts.at(-1)!;
  if (/^(adam_[mv]|AdamWeightDecayOptimizer(_\d+)?|LAMB.*|global_step|beta[12]_power|.*\/\.ATTRIBUTES)$/.test(last))
    return undefined;
  if (/\.ATTRIBUTES|^_CHECKPOINTABLE_OBJECT_GRAPH|^save_counter/.test(name)) return undefined;
  const renamed = parts.flatMap((part) => {
    const layer = /^layer_(\d+)$/.exec(part);
    return layer ? ['layer', layer[1]] : [part];
  });
  const end = renamed.pop()!;
  if (end === 'kernel') return { name: [...renamed, 'weight'].join('.'), transposed: true };
  const simple = { gamma: 'weight', beta: 'bias', bias: 'bias', output_bias: 'bias', output_weights: 'weight' } as Record<
    string,
    string
  >;
  if (/_embeddings$/.test(end)) return { name: [...renamed, end, 'weight'].join('.') };
  return { name: [...renamed, Object.hasOwn(simple, end) ? simple[end] : end].join('.') };
};

/**
 * Names in a `tf_model.h5` that transformers saved: `bert/tf_bert_model/bert/encoder/layer_._0/…/kernel:0`. The first part is Keras' group, the
 * second the model object; `a___b` stands for b; the parts of a list are marked by `_._`.
 */
export const kerasNames: Renaming = (path) => {
  const parts = path.split('/');
  const own = parts.slice(2);
  if (own.length < 1 || !/:\d+$/.test(own.at(-1)!)) return undefined;
  const renamed = own.flatMap((part) =>
    part
      .replace(/:\d+$/, '')
      .replace(/^.*___/, '')
      .split('_._'),
  );
  const end = renamed.pop()!;
  const transposed = end === 'kernel';
  const simple = { kernel: 'weight', embeddings: 'weight', gamma: 'weight', beta: 'bias' } as Record<string, string>;
  return { name: [...renamed, Object.hasOwn(simple, end) ? simple[end] : end].join('.'), transposed };
};

/** Names in a TensorFlow.js file: those of qkv are Hugging Face's already; Keras' begin with the model object, or with the first layer. */
export const tfjsNames: Renaming = (name) =>
  name.includes('/') ? kerasNames(`x/${/^tf_/.test(name) ? '' : 'x/'}${name}${/:\d+$/.test(name) ? '' : ':0'}`) : { name };

/**
 * A view of `reader` under other names. Two tensors may get one name only if they have one shape (Keras saves the tied embedding of a head a
 * second time); the first of the file counts.
 * @throws CheckpointError DUP_KEY
 */
export function renamed(reader: SafetensorsReader, rename: Renaming, file: string): SafetensorsReader {
  const sources = new Map<string, { from: string; transposed: boolean }>();
  const tensors = new Map<string, TensorEntry>();
  for (const [from, entry] of reader.tensors) {
    const to = rename(from);
    if (!to) continue;
    const transposed = to.transposed === true && entry.shape.length === 2;
    const shape = transposed ? [entry.shape[1], entry.shape[0]] : entry.shape;
    const other = tensors.get(to.name);
    if (other) {
      if (`${other.shape}` === `${shape}` && other.dtype === entry.dtype) continue;
      throw new CheckpointError(
        'DUP_KEY',
        file,
        `${quote(sources.get(to.name)!.from)} and ${quote(from)} both are ${quote(to.name)}`,
      );
    }
    sources.set(to.name, { from, transposed });
    tensors.set(to.name, { ...entry, shape });
  }
  const read = (name: string): Uint8Array => {
    const source = sources.get(name);
    if (!source)
      throw new CheckpointError('NO_TENSOR', file, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
    const bytes = reader.read(source.from);
    const entry = tensors.get(name)!;
    return source.transposed ? transpose(bytes, entry.shape[1], entry.shape[0], dtypeBits[entry.dtype] / 8) : bytes;
  };
  const readInto = (name: string, offset: number, target: Uint8Array) => {
    const source = sources.get(name);
    if (source && !source.transposed) return reader.readInto(source.from, offset, target);
    const bytes = read(name);
    if (!(offset >= 0 && offset + target.length <= bytes.length))
      throw new RangeError(
        `readInto: bytes ${offset}…${offset + target.length} are outside tensor ${quote(name)}\n  it has ${bytes.length}`,
      );
    target.set(bytes.subarray(offset, offset + target.length));
  };
  return { metadata: reader.metadata, tensors, read, readInto, close: () => reader.close() };
}

/** (rows, columns) → (columns, rows); blocks of 32 × 32 stay in the cache. */
function transpose(bytes: Uint8Array, rows: number, columns: number, width: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  const make = (b: Uint8Array): { [i: number]: number } | { [i: number]: bigint } =>
    width === 1
      ? b
      : width === 2
        ? new Uint16Array(b.buffer, b.byteOffset, b.length / 2)
        : width === 4
          ? new Uint32Array(b.buffer, b.byteOffset, b.length / 4)
          : new BigUint64Array(b.buffer, b.byteOffset, b.length / 8);
  const [from, to] = [make(aligned) as number[], make(out) as number[]];
  for (let r0 = 0; r0 < rows; r0 += 32)
    for (let c0 = 0; c0 < columns; c0 += 32)
      for (let r = r0; r < Math.min(rows, r0 + 32); r++)
        for (let c = c0; c < Math.min(columns, c0 + 32); c++) to[c * rows + r] = from[r * columns + c];
  return out;
}
