import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { quietly, readFully, readSmallFile, realFs, writeFileAtomically } from './file-system.ts';
import { fromFloat32, toFloat32 } from './floats.ts';
import { type FolderTrust, openInFolder } from './inside-folder.ts';
import type { SafetensorsReader, TensorToWrite } from './safetensors.ts';
import { type SafetensorsDtype, tensorBytes, type TensorEntry } from './safetensors-header.ts';
import type { ReadAt } from './stored-zip.ts';
import { parseStrictJson, toPlain } from './strict-json.ts';

// TensorFlow.js: model.json names the tensors in order (the weights manifest); their bytes follow each other through the shard files of a group.

const dtypes: Record<string, SafetensorsDtype> = { float32: 'F32', int32: 'I32', uint8: 'U8', bool: 'BOOL', complex64: 'C64' };
const MAX_TENSORS = 100_000;
const MAX_SHARDS = 10_000;
const MAX_DIMS = 8;

/** How a tensor is stored: as it is, as float16, or as whole numbers q with value = scale · q + min. */
interface Coding {
  bytes: number;
  half?: boolean;
  linear?: { width: 1 | 2; min: number; scale: number };
}

interface Entry extends TensorEntry {
  group: number;
  coding: Coding;
}

export interface TfjsReader extends SafetensorsReader {
  /** What the file says beside the weights: `userDefinedMetadata`, as plain values. */
  notes: Record<string, unknown>;
}

/**
 * Opens the weights of a TensorFlow.js `model.json`. Linear quantisation is undone on reading (the tensors are F32), float16 stays F16.
 * @throws CheckpointError TFJS, DTYPE, DUP_KEY, SHARD_*, SIZE_MISMATCH, DATA_TRUNCATED, TRAILING_BYTES, LIMIT, INT_OVERFLOW
 */
export function openTfjs(path: string, trust: FolderTrust = {}): TfjsReader {
  const fds: number[] = [];
  const close = () => {
    for (const fd of fds.splice(0)) quietly(() => realFs.closeSync(fd));
  };
  const open = (shard: string) => {
    const fd = openInFolder(dirname(path), shard, trust);
    fds.push(fd);
    const opened = realFs.fstatSync(fd);
    const readAt: ReadAt = (position, length) => {
      const bytes = new Uint8Array(length);
      const now = realFs.fstatSync(fd);
      if (readFully(realFs, fd, bytes, position) < length || now.size !== opened.size || now.mtimeMs !== opened.mtimeMs)
        throw new CheckpointError('CHANGED', shard, 'file changed while it was read, or ends too early', 'Read it again');
      return bytes;
    };
    return { size: opened.size, readAt };
  };
  try {
    return readModel(readSmallFile(path), open, path, close);
  } catch (error) {
    close();
    throw error;
  }
}

/** The same from memory: model.json, and each shard by its name. */
export function parseTfjs(json: Uint8Array, shards: ReadonlyMap<string, Uint8Array>, file = 'model.json'): TfjsReader {
  const open = (name: string) => {
    const bytes = shards.get(name);
    if (!bytes) throw new CheckpointError('SHARD_MISSING', file, `${name} is missing`, 'Download it again');
    return { size: bytes.length, readAt: ((at, length) => bytes.slice(at, at + length)) as ReadAt };
  };
  return readModel(json, open, file, () => {});
}

type Open = (shard: string) => { size: number; readAt: ReadAt };

function readModel(json: Uint8Array, open: Open, file: string, close: () => void): TfjsReader {
  const model = parseStrictJson(json, { file, codes: { json: 'TFJS', utf8: 'TFJS' }, maxDepth: 256 });
  const fault = (detail: string) =>
    new CheckpointError('TFJS', file, detail, 'This is not a model.json of TensorFlow.js, or it is damaged');
  const groups = model instanceof Map ? model.get('weightsManifest') : undefined;
  if (!Array.isArray(groups)) throw fault('there is no list weightsManifest');
  const tensors = new Map<string, Entry>();
  const parts: ReturnType<Open>[][] = [];
  const names = new Set<string>();
  for (const [g, group] of groups.entries()) {
    if (!(group instanceof Map)) throw fault(`group ${g} is not an object`);
    const [paths, weights] = [group.get('paths'), group.get('weights')];
    if (!Array.isArray(paths) || !Array.isArray(weights)) throw fault(`group ${g} lacks paths or weights`);
    if (names.size + paths.length > MAX_SHARDS) throw new CheckpointError('LIMIT', file, `more than ${MAX_SHARDS} shards`);
    const shards = paths.map((name) => {
      if (typeof name !== 'string') throw fault(`a path of group ${g} is not a name`);
      if (names.has(name)) throw new CheckpointError('DUP_KEY', file, `shard ${quote(name)} is listed twice`);
      names.add(name);
      return open(name);
    });
    let at = 0;
    for (const weight of weights) {
      if (tensors.size === MAX_TENSORS) throw new CheckpointError('LIMIT', file, `more than ${MAX_TENSORS} tensors`);
      const { name, ...entry } = readSpec(weight, file);
      if (tensors.has(name)) throw new CheckpointError('DUP_KEY', file, `tensor ${quote(name)} appears twice`);
      tensors.set(name, { ...entry, byteOffset: at, group: g });
      at += entry.coding.bytes;
      if (at > Number.MAX_SAFE_INTEGER) throw new CheckpointError('INT_OVERFLOW', file, `${quote(name)} ends behind 2⁵³ bytes`);
    }
    const size = shards.reduce((sum, shard) => sum + shard.size, 0);
    if (at > size)
      throw new CheckpointError(
        'DATA_TRUNCATED',
        file,
        `group ${g} needs ${at} bytes, its shards have ${size}`,
        'Download it again',
      );
    if (at < size) throw new CheckpointError('TRAILING_BYTES', file, `${size - at} bytes after the last tensor of group ${g}`);
    parts.push(shards);
  }
  const read = (name: string): Uint8Array => {
    const t = tensors.get(name);
    if (!t)
      throw new CheckpointError('NO_TENSOR', file, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
    return decode(gather(parts[t.group], t.byteOffset, t.coding.bytes), t.coding);
  };
  const readInto = (name: string, offset: number, target: Uint8Array) => {
    const bytes = read(name);
    if (!(offset >= 0 && offset + target.length <= bytes.length))
      throw new RangeError(
        `readInto: bytes ${offset}…${offset + target.length} are outside tensor ${quote(name)}\n  it has ${bytes.length}`,
      );
    target.set(bytes.subarray(offset, offset + target.length));
  };
  const notes = toPlain((model as Map<string, never>).get('userDefinedMetadata') ?? new Map()) as Record<string, unknown>;
  return { metadata: new Map(), tensors, notes, read, readInto, close };
}

/** One entry of the manifest. */
function readSpec(
  weight: unknown,
  file: string,
): { name: string; dtype: SafetensorsDtype; shape: number[]; byteLength: number; coding: Coding } {
  const fault = (detail: string) =>
    new CheckpointError('TFJS', file, detail, 'This is not a model.json of TensorFlow.js, or it is damaged');
  if (!(weight instanceof Map)) throw fault('a weight is not an object');
  const [name, shape, type, quantization] = ['name', 'shape', 'dtype', 'quantization'].map((key) => weight.get(key));
  if (typeof name !== 'string' || name.length > 1024 || name.includes('\0'))
    throw fault('a weight has no name, or a name that is too long');
  if (!Array.isArray(shape) || !shape.every((n) => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0))
    throw fault(`the shape of ${quote(name)} is no list of whole numbers ≥ 0`);
  if (shape.length > MAX_DIMS) throw new CheckpointError('LIMIT', file, `${quote(name)} has more than ${MAX_DIMS} dimensions`);
  const dtype = typeof type === 'string' && Object.hasOwn(dtypes, type) ? dtypes[type] : undefined;
  if (!dtype) throw new CheckpointError('DTYPE', file, `unknown dtype ${quote(String(type))} for ${quote(name)}`);
  const known = { name, dtype, shape: shape as number[] };
  const byteLength = tensorBytes(name, dtype, shape, file);
  if (quantization === undefined || quantization === null) return { ...known, byteLength, coding: { bytes: byteLength } };
  if (!(quantization instanceof Map) || dtype !== 'F32') throw fault(`${quote(name)} is quantised in a way that is not known`);
  const [coded, min, scale] = ['dtype', 'min', 'scale'].map((key) => quantization.get(key));
  if (coded === 'float16')
    return { ...known, dtype: 'F16', byteLength: byteLength / 2, coding: { bytes: byteLength / 2, half: true } };
  const width = coded === 'uint8' ? 1 : coded === 'uint16' ? 2 : undefined;
  if (!width || typeof min !== 'number' || typeof scale !== 'number')
    throw fault(`${quote(name)} is quantised in a way that is not known`);
  return { ...known, byteLength, coding: { bytes: (byteLength / 4) * width, linear: { width, min, scale } } };
}

/** Bytes `from` … `from + length` of shards that follow each other. */
function gather(shards: readonly { size: number; readAt: ReadAt }[], from: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  let start = 0;
  for (const { size, readAt } of shards) {
    const [begin, end] = [Math.max(from, start), Math.min(from + length, start + size)];
    if (begin < end) out.set(readAt(begin - start, end - begin), begin - from);
    start += size;
  }
  return out;
}

function decode(bytes: Uint8Array, { linear }: Coding): Uint8Array {
  if (!linear) return bytes;
  const q = linear.width === 1 ? bytes : new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  const values = Float32Array.from(q, (x) => x * linear.scale + linear.min);
  return new Uint8Array(values.buffer);
}

export interface SaveTfjsOptions {
  /** `float16` halves the file; `uint8` makes it a quarter, with value = scale · q + min for each tensor. */
  quantization?: 'float16' | 'uint8';
  /** A browser caches files of a few megabytes; the last shard has the rest. */
  shardBytes?: number;
  /** Kept as `userDefinedMetadata`: config.json of the model. */
  notes?: Record<string, unknown>;
}

/**
 * Writes `tensors` (F32, BF16 and F16; whole numbers as I32, U8, BOOL) as model.json and shards into `folder`, model.json last. It has weights
 * and no graph: `tf.io.loadWeights(manifest, prefix)` reads it.
 * @throws CheckpointError DTYPE, EXISTS (a model.json is there already)
 */
export function saveTfjs(
  folder: string,
  tensors: Iterable<TensorToWrite>,
  options: SaveTfjsOptions = {},
): { files: string[]; bytes: number } {
  const { quantization, shardBytes = 4 * 2 ** 20, notes } = options;
  const path = join(folder, 'model.json');
  if (existsSync(path)) throw new CheckpointError('EXISTS', path, 'the file is there already', 'Choose another folder', 1);
  mkdirSync(folder, { recursive: true });
  const all = [...tensors];
  const sizes = all.map((t) => codedBytes(t, quantization, path));
  const total = sizes.reduce((a, b) => a + b, 0);
  const shards = Math.max(1, Math.ceil(total / shardBytes));
  const names = Array.from({ length: shards }, (_, i) => `group1-shard${i + 1}of${shards}.bin`);
  const weights: object[] = [];
  let shard = new Uint8Array(Math.min(shardBytes, total));
  let [filled, written] = [0, 0];
  const flush = () => {
    writeFileAtomically(join(folder, names[written++]), shard.subarray(0, filled));
    shard = new Uint8Array(Math.min(shardBytes, total - written * shardBytes > 0 ? total - written * shardBytes : 0));
    filled = 0;
  };
  for (const t of all) {
    const { spec, bytes } = encode(t, quantization);
    weights.push(spec);
    for (let at = 0; at < bytes.length; ) {
      const n = Math.min(bytes.length - at, shard.length - filled);
      shard.set(bytes.subarray(at, at + n), filled);
      at += n;
      filled += n;
      if (filled === shard.length) flush();
    }
  }
  while (written < shards) flush();
  const model = {
    format: 'weights',
    generatedBy: 'qkv',
    convertedBy: null,
    modelTopology: null,
    weightsManifest: [{ paths: names, weights }],
    ...(notes ? { userDefinedMetadata: notes } : {}),
  };
  writeFileAtomically(path, JSON.stringify(model));
  return { files: [...names, 'model.json'], bytes: total };
}

const writable: Partial<Record<SafetensorsDtype, string>> = { I32: 'int32', U8: 'uint8', BOOL: 'bool' };
const isFloat = (dtype: SafetensorsDtype): dtype is 'F32' | 'F16' | 'BF16' =>
  dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';

function codedBytes({ name, dtype, shape }: TensorToWrite, quantization: SaveTfjsOptions['quantization'], file: string): number {
  const values = shape.reduce((a, b) => a * b, 1);
  if (isFloat(dtype)) return values * (quantization === 'uint8' ? 1 : quantization === 'float16' ? 2 : 4);
  if (!writable[dtype])
    throw new CheckpointError('DTYPE', file, `${quote(name)} is ${dtype}, which TensorFlow.js has no name for`, '', 1);
  return tensorBytes(name, dtype, shape, file);
}

function encode(t: TensorToWrite, quantization: SaveTfjsOptions['quantization']): { spec: object; bytes: Uint8Array } {
  const raw = typeof t.bytes === 'function' ? t.bytes() : t.bytes;
  const spec = { name: t.name, shape: [...t.shape] };
  if (!isFloat(t.dtype)) return { spec: { ...spec, dtype: writable[t.dtype] }, bytes: raw };
  const values = toFloat32(t.dtype, raw);
  if (quantization === undefined)
    return { spec: { ...spec, dtype: 'float32' }, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
  if (quantization === 'float16')
    return {
      spec: { ...spec, dtype: 'float32', quantization: { dtype: 'float16', original_dtype: 'float32' } },
      bytes: fromFloat32('F16', values),
    };
  const [min, max] = values.reduce(
    ([a, b], x) => [Math.min(a, x), Math.max(b, x)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
  const scale = max > min ? (max - min) / 255 : 1;
  const low = values.length > 0 ? min : 0;
  const bytes = Uint8Array.from(values, (x) => Math.round((x - low) / scale));
  return {
    spec: { ...spec, dtype: 'float32', quantization: { dtype: 'uint8', min: low, scale, original_dtype: 'float32' } },
    bytes,
  };
}
