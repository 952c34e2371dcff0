import { CheckpointError, quote } from './checkpoint-error.ts';
import { type FileSystem, openRegular, PIECE_BYTES, quietly, readFully, realFs, writeFileVia } from './file-system.ts';
import { dtypeBits, headerLength, parseHeader, tensorBytes } from './safetensors-header.ts';
import type { Limits, SafetensorsDtype, SafetensorsHeader, TensorEntry } from './safetensors-header.ts';

/** An open file, or a folder of shards that reads like one. Tensors are read by position when asked for; nothing is kept in memory. */
export interface SafetensorsReader extends SafetensorsHeader {
  /** All bytes of a tensor, in a buffer of their own (so that `new Float32Array(bytes.buffer)` is aligned). */
  read(name: string): Uint8Array;
  /** Fills `target` from byte `offset` of a tensor on: a window of a tensor that is larger than memory. */
  readInto(name: string, offset: number, target: Uint8Array): void;
  /** Tensors that are the same memory as an earlier one → its name; only PyTorch's files say so. */
  readonly tied?: ReadonlyMap<string, string>;
  /** `readInto` reads what it is asked for and no more: a large tensor can pass through a small window. */
  readonly windows?: boolean;
  /** Where a tensor lies, for a backend that reads files itself; whoever reads so asks afterwards whether the files are still the same. */
  direct?: { of(name: string): { fd: number; position: number }; unchanged(): void };
  close(): void;
}

export interface OpenOptions extends Limits {
  fs?: FileSystem;
  /** An open file descriptor to use instead of opening `path`; `close()` closes it. */
  fd?: number;
}

/**
 * Opens a safetensors file and judges its header; see `parseHeader` for what is refused.
 * @throws CheckpointError with the codes of reliability.md §4, rows H1–H12 and T1–T12
 */
export function openSafetensors(
  path: string,
  { fs = realFs, fd = openRegular(path, fs), ...limits }: OpenOptions = {},
): SafetensorsReader {
  try {
    const opened = fs.fstatSync(fd);
    const first8 = new Uint8Array(8);
    const changed = () =>
      new CheckpointError('CHANGED', path, 'file changed while it was read (size or time of change differ)', 'Read it again');
    const unchanged = () => {
      const now = fs.fstatSync(fd);
      if (now.size !== opened.size || now.mtimeMs !== opened.mtimeMs || now.ino !== opened.ino) throw changed();
    };
    const readAt = (target: Uint8Array, position: number) => {
      const read = readFully(fs, fd, target, position);
      unchanged();
      if (read < target.length) throw changed();
    };
    if (opened.size >= 8) readAt(first8, 0);
    const json = new Uint8Array(headerLength(first8, opened.size, path));
    readAt(json, 8);
    const { metadata, tensors } = parseHeader(json, opened.size, path, limits);

    const readInto = (name: string, offset: number, target: Uint8Array) => {
      const tensor = findTensor(tensors, name, path);
      if (!(Number.isSafeInteger(offset) && offset >= 0 && offset + target.length <= tensor.byteLength)) {
        throw new RangeError(
          `readInto: bytes ${offset}…${offset + target.length} are outside tensor ${quote(name)}\n  it has ${tensor.byteLength} bytes`,
        );
      }
      readAt(target, tensor.byteOffset + offset);
    };
    const read = (name: string) => {
      const bytes = allocate(findTensor(tensors, name, path).byteLength, name, path);
      readInto(name, 0, bytes);
      return bytes;
    };
    return {
      metadata,
      tensors,
      read,
      readInto,
      windows: true,
      direct:
        fs === realFs ? { of: (name) => ({ fd, position: findTensor(tensors, name, path).byteOffset }), unchanged } : undefined,
      close: () => fs.closeSync(fd),
    };
  } catch (error) {
    quietly(() => fs.closeSync(fd));
    throw error;
  }
}

/** Judges and splits a safetensors file that is in memory already (a browser, a test); `read` returns views, not copies. */
export function parseSafetensors(
  bytes: Uint8Array,
  file = 'safetensors',
  limits: Limits = {},
): SafetensorsHeader & Pick<SafetensorsReader, 'read'> {
  const length = headerLength(bytes.subarray(0, 8), bytes.length, file);
  const header = parseHeader(bytes.subarray(8, 8 + length), bytes.length, file, limits);
  const read = (name: string) => {
    const { byteOffset, byteLength } = findTensor(header.tensors, name, file);
    return bytes.subarray(byteOffset, byteOffset + byteLength);
  };
  return { ...header, read };
}

function findTensor(tensors: Map<string, TensorEntry>, name: string, file: string): TensorEntry {
  const tensor = tensors.get(name);
  if (!tensor)
    throw new CheckpointError('NO_TENSOR', file, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
  return tensor;
}

function allocate(byteLength: number, name: string, file: string): Uint8Array {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    const detail = `tensor ${quote(name)} of ${byteLength} bytes does not fit in memory`;
    throw new CheckpointError('LIMIT', file, detail, 'Read it in windows (readInto)', 4, cause);
  }
}

/** A tensor to write. `bytes` may be a function, called when its turn comes, so that only one tensor need be in memory. */
export interface TensorToWrite {
  name: string;
  dtype: SafetensorsDtype;
  shape: readonly number[];
  /** Little-endian values in row-major order. */
  bytes: Uint8Array | (() => Uint8Array);
}

/** Where bytes go: a file, a hash, a buffer. */
export interface Sink {
  write(bytes: Uint8Array): void;
}

/**
 * Writes a safetensors file into `sink`: `{` first, header padded with spaces so that the data start at a multiple of 8, wide dtypes
 * first (otherwise in the order given) so that each tensor is aligned to its own width. The same input gives the same bytes.
 * The header is judged by our own reader before the first byte leaves: what we write we can read.
 * @returns bytes written
 * @throws CheckpointError as the reader would; BYTES when a tensor's bytes are not as many as its shape says
 */
export function writeSafetensorsTo(
  sink: Sink,
  entries: Iterable<TensorToWrite>,
  metadata: Metadata = {},
  file = 'safetensors',
): number {
  const sorted = [...entries].sort((a, b) => dtypeBits[b.dtype] - dtypeBits[a.dtype]);
  const { header, sizes, total } = layOut(sorted, metadata, file);
  sink.write(header);
  sorted.forEach(({ name, bytes }, i) => {
    const data = typeof bytes === 'function' ? bytes() : bytes;
    if (data.length !== sizes[i]) {
      throw new CheckpointError(
        'BYTES',
        file,
        `tensor ${quote(name)} came with ${data.length} bytes, its shape needs ${sizes[i]}`,
        '',
        1,
      );
    }
    for (let at = 0; at < data.length; at += PIECE_BYTES) sink.write(data.subarray(at, Math.min(at + PIECE_BYTES, data.length)));
  });
  return total;
}

export type Metadata = ReadonlyMap<string, string> | Readonly<Record<string, string>>;

function layOut(sorted: TensorToWrite[], metadata: Metadata, file: string) {
  const notes = metadata instanceof Map ? [...metadata] : Object.entries(metadata);
  const parts: string[] = [];
  const pair = ([key, value]: [string, string]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`;
  if (notes.length > 0) parts.push(`"__metadata__":{${notes.map(pair).join(',')}}`);
  const sizes: number[] = [];
  let end = 0;
  for (const { name, dtype, shape } of sorted) {
    if (name === '__metadata__') throw new CheckpointError('TENSOR_NAME', file, 'a tensor cannot be called __metadata__', '', 1);
    const bytes = tensorBytes(name, dtype, shape, file);
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${end},${end + bytes}]}`,
    );
    sizes.push(bytes);
    end += bytes;
  }
  const json = new TextEncoder().encode(`{${parts.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  const total = header.length + end;
  headerLength(header, total, file);
  parseHeader(header.subarray(8), total, file, { maxTensors: sorted.length });
  return { header, sizes, total };
}

/** The bytes of a small safetensors file. */
export function safetensorsBytes(entries: Iterable<TensorToWrite>, metadata: Metadata = {}): Uint8Array {
  const pieces: Uint8Array[] = [];
  const bytes = new Uint8Array(writeSafetensorsTo({ write: (piece) => void pieces.push(piece) }, entries, metadata));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * Writes a safetensors file at `path`, streaming; the old file, if any, is replaced as a whole by a rename after fsync.
 * A checkpoint of a run is saved by `saveCheckpoint` instead, which publishes all its files at once.
 */
export function writeSafetensors(
  path: string,
  entries: Iterable<TensorToWrite>,
  metadata: Metadata = {},
  { fs = realFs } = {},
): void {
  writeFileVia(path, (sink) => void writeSafetensorsTo(sink, entries, metadata, path), fs);
}
