import { basename, dirname } from 'node:path';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { crc32c, maskedCrc32c } from './crc32c.ts';
import { quietly, readFully, realFs } from './file-system.ts';
import { type FolderTrust, openInFolder } from './inside-folder.ts';
import { decodeUtf8 } from './json-scanner.ts';
import type { SafetensorsReader } from './safetensors.ts';
import { type SafetensorsDtype, tensorBytes, type TensorEntry } from './safetensors-header.ts';
import { ByteCursor, readSortedTable } from './sorted-table.ts';
import type { ReadAt } from './stored-zip.ts';

// TensorFlow's checkpoint: NAME.index is a sorted table of tensor name → where its bytes are; NAME.data-00000-of-0000N are the bytes. What
// `tf.train.Saver` has written since TensorFlow 0.12, and what Google published BERT in.

/** `DataType` of tensorflow/core/framework/types.proto. Strings, resources and quantised types are passed over. */
const dtypes = new Map<number, SafetensorsDtype>([
  [1, 'F32'],
  [2, 'F64'],
  [3, 'I32'],
  [4, 'U8'],
  [5, 'I16'],
  [6, 'I8'],
  [8, 'C64'],
  [9, 'I64'],
  [10, 'BOOL'],
  [14, 'BF16'],
  [17, 'U16'],
  [19, 'F16'],
  [22, 'U32'],
  [23, 'U64'],
]);
const MAX_TENSORS = 100_000;
const MAX_SHARDS = 10_000;
const MAX_DIMS = 8;
const MAX_INDEX = 64 * 2 ** 20;
const HINT = 'This is not the index of a TensorFlow checkpoint, or it is damaged';

interface Shard {
  size: number;
  readAt: ReadAt;
}

interface Entry extends TensorEntry {
  shard: number;
  crc32c: number;
}

/**
 * Opens a checkpoint by its index file. Tensors keep TensorFlow's names and layouts (`tensorflow-names.ts` has Hugging Face's); their checksums
 * are held against the index when they are read.
 * @throws CheckpointError TF_INDEX, TF_ENTRY, CORRUPT, DTYPE, OVERLAP, SIZE_MISMATCH, DATA_TRUNCATED, SHARD_MISSING, LIMIT
 */
export function openTensorflowCheckpoint(indexPath: string, trust: FolderTrust = {}): SafetensorsReader {
  const folder = dirname(indexPath);
  const bytes = readIndex(openInFolder(folder, basename(indexPath), trust), indexPath);
  const name = indexPath.replace(/\.index$/, '');
  const fds: number[] = [];
  const close = () => {
    for (const fd of fds.splice(0)) quietly(() => realFs.closeSync(fd));
  };
  const open = (shard: number, shards: number): Shard => {
    const five = (n: number) => String(n).padStart(5, '0');
    const file = `${name}.data-${five(shard)}-of-${five(shards)}`;
    const fd = openInFolder(folder, basename(file), trust);
    fds.push(fd);
    const opened = realFs.fstatSync(fd);
    const readAt: ReadAt = (position, length) => {
      const target = new Uint8Array(length);
      const now = realFs.fstatSync(fd);
      if (readFully(realFs, fd, target, position) < length || now.size !== opened.size || now.mtimeMs !== opened.mtimeMs)
        throw new CheckpointError('CHANGED', file, 'file changed while it was read, or ends too early', 'Read it again');
      return target;
    };
    return { size: opened.size, readAt };
  };
  try {
    return readCheckpoint(bytes, open, indexPath, close);
  } catch (error) {
    close();
    throw error;
  }
}

function readIndex(fd: number, file: string): Uint8Array {
  try {
    const { size } = realFs.fstatSync(fd);
    if (size > MAX_INDEX) throw new CheckpointError('LIMIT', file, `the index has ${size} bytes; the limit is ${MAX_INDEX}`);
    const bytes = new Uint8Array(size);
    return bytes.subarray(0, readFully(realFs, fd, bytes, 0));
  } finally {
    realFs.closeSync(fd);
  }
}

/** The same from memory: the index, and the data of each shard. */
export function parseTensorflowCheckpoint(index: Uint8Array, data: readonly Uint8Array[], file = 'index'): SafetensorsReader {
  const open = (shard: number, shards: number): Shard => {
    if (shards !== data.length)
      throw new CheckpointError('SHARD_MISSING', file, `${shards} shards are needed, ${data.length} are here`);
    return { size: data[shard].length, readAt: (at, length) => data[shard].slice(at, at + length) };
  };
  return readCheckpoint(index, open, file, () => {});
}

function readCheckpoint(
  bytes: Uint8Array,
  open: (shard: number, shards: number) => Shard,
  file: string,
  close: () => void,
): SafetensorsReader {
  const table = readSortedTable(bytes, file, MAX_TENSORS + 1);
  const head = table.shift();
  if (head?.[0].length !== 0)
    throw new CheckpointError('TF_INDEX', file, 'the entry that describes the checkpoint is missing', HINT);
  const shardCount = readHeader(head[1], file);
  const shards = Array.from({ length: shardCount }, (_, i) => open(i, shardCount));
  const tensors = new Map<string, Entry>();
  const places: [shard: number, offset: number, size: number, name: string][] = [];
  for (const [key, value] of table) {
    const name = decodeUtf8(key, file, 'tensor name', 'TF_INDEX');
    if (name.includes('\0'))
      throw new CheckpointError('TENSOR_NAME', file, 'tensor name has a NUL byte (a part of a partitioned variable)');
    const { dtype, shape, shard, offset, size, crc } = readEntry(value, name, file);
    if (shard >= shardCount) throw entryFault(file, name, `lies in shard ${shard} of ${shardCount}`);
    if (size > shards[shard].size - offset) {
      const detail = `${quote(name)} ends at byte ${offset + size} of shard ${shard}, which has ${shards[shard].size}`;
      throw new CheckpointError('DATA_TRUNCATED', file, detail, 'Download it again');
    }
    places.push([shard, offset, size, name]);
    const known = dtypes.get(dtype);
    if (!known) continue; // text, or a kind of number that no weights have: it keeps its place, and nobody reads it
    const needed = tensorBytes(name, known, shape, file);
    if (needed !== size) {
      const detail = `${quote(name)}: shape [${shape}] ${known} needs ${needed} bytes, the index gives ${size}`;
      throw new CheckpointError('SIZE_MISMATCH', file, detail);
    }
    tensors.set(name, { dtype: known, shape, byteOffset: offset, byteLength: size, shard, crc32c: crc });
  }
  checkOverlaps(places, file);
  const read = (name: string): Uint8Array => {
    const t = tensors.get(name);
    if (!t)
      throw new CheckpointError('NO_TENSOR', file, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
    const found = shards[t.shard].readAt(t.byteOffset, t.byteLength);
    if (maskedCrc32c(crc32c(found)) !== t.crc32c)
      throw new CheckpointError('CORRUPT', file, `the checksum of ${quote(name)} differs from the index`, 'Download it again');
    return found;
  };
  const readInto = (name: string, offset: number, target: Uint8Array) => {
    const all = read(name);
    if (!(offset >= 0 && offset + target.length <= all.length))
      throw new RangeError(
        `readInto: bytes ${offset}…${offset + target.length} are outside tensor ${quote(name)}\n  it has ${all.length}`,
      );
    target.set(all.subarray(offset, offset + target.length));
  };
  return { metadata: new Map(), tensors, read, readInto, close };
}

const entryFault = (file: string, name: string, detail: string) =>
  new CheckpointError('TF_ENTRY', file, `${quote(name)} ${detail}`, HINT);

/** Two tensors on the same bytes are refused; gaps are not: a writer may align. */
function checkOverlaps(places: [shard: number, offset: number, size: number, name: string][], file: string): void {
  places.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
  let [shard, end] = [-1, 0];
  for (const [inShard, offset, size, name] of places) {
    if (inShard !== shard) [shard, end] = [inShard, 0];
    if (offset < end) throw new CheckpointError('OVERLAP', file, `${quote(name)} starts at ${offset}, expected ${end} or later`);
    end = offset + size;
  }
}

/** BundleHeaderProto → number of data files. */
function readHeader(bytes: Uint8Array, file: string): number {
  let shards = 0;
  for (const { field, number } of fieldsOf(bytes, file)) {
    if (field === 1) shards = number ?? 0;
    if (field === 2 && number !== 0)
      throw new CheckpointError('TF_ENTRY', file, 'the checkpoint was written on a big-endian machine');
  }
  if (shards < 1 || shards > MAX_SHARDS)
    throw new CheckpointError('LIMIT', file, `${shards} data files; 1 to ${MAX_SHARDS} are possible`);
  return shards;
}

/** BundleEntryProto. */
function readEntry(bytes: Uint8Array, name: string, file: string) {
  let [dtype, shard, offset, size, crc] = [0, 0, 0, 0, 0];
  let shape: number[] = [];
  for (const { field, number, bytes: inner } of fieldsOf(bytes, file)) {
    if (field === 1) dtype = number ?? -1;
    else if (field === 2) shape = readShape(inner ?? new Uint8Array(), name, file);
    else if (field === 3) shard = number ?? -1;
    else if (field === 4) offset = number ?? -1;
    else if (field === 5) size = number ?? -1;
    else if (field === 6) crc = number ?? -1;
    else if (field === 7) throw entryFault(file, name, 'is a partitioned variable, which is not read. Save it as one');
  }
  if (Math.min(dtype, shard, offset, size, crc) < 0 || dtype === 0)
    throw entryFault(file, name, 'has a field of another kind, or no type');
  if (offset + size > Number.MAX_SAFE_INTEGER)
    throw new CheckpointError('INT_OVERFLOW', file, `${quote(name)} ends behind 2⁵³ bytes`);
  return { dtype, shape, shard, offset, size, crc };
}

/** TensorShapeProto: a list of dimensions, each a message with its size (0 when left out). */
function readShape(bytes: Uint8Array, name: string, file: string): number[] {
  const shape: number[] = [];
  for (const { field, number, bytes: dim } of fieldsOf(bytes, file)) {
    if (field === 3 && number !== 0) throw entryFault(file, name, 'has no shape');
    if (field !== 2) continue;
    if (shape.length === MAX_DIMS)
      throw new CheckpointError('LIMIT', file, `${quote(name)} has more than ${MAX_DIMS} dimensions`);
    const size = fieldsOf(dim ?? new Uint8Array(), file).filter((f) => f.field === 1);
    shape.push(size.at(-1)?.number ?? 0);
  }
  return shape;
}

interface Field {
  field: number;
  number?: number;
  bytes?: Uint8Array;
}

/** The fields of a protobuf message, one level deep. A negative int64 is above 2⁵³ − 1 and thereby refused. */
function fieldsOf(bytes: Uint8Array, file: string): Field[] {
  const cursor = new ByteCursor(bytes, file);
  const fields: Field[] = [];
  while (cursor.left > 0) {
    const tag = cursor.varint('a tag');
    const [field, kind] = [Math.floor(tag / 8), tag % 8];
    if (kind === 0) fields.push({ field, number: cursor.varint('a number') });
    else if (kind === 2) fields.push({ field, bytes: cursor.take(cursor.varint('a length'), 'a message') });
    else if (kind === 5 || kind === 1) {
      const raw = cursor.take(kind === 5 ? 4 : 8, 'a number');
      const number = kind === 5 ? new DataView(raw.buffer, raw.byteOffset, 4).getUint32(0, true) : undefined;
      fields.push({ field, number });
    } else throw new CheckpointError('TF_INDEX', file, `a field of kind ${kind} in the index`, HINT);
  }
  return fields;
}
