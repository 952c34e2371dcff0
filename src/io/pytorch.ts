import { constants } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { openRegular, PIECE_BYTES, quietly, readFully, realFs } from './file-system.ts';
import { checkCrc, type Contents, readArchive, readLegacy } from './pytorch-contents.ts';
import { collectViews, type View, view } from './pytorch-objects.ts';
import type { SafetensorsReader } from './safetensors.ts';
import { dtypeBits, tensorBytes, type TensorEntry } from './safetensors-header.ts';
import type { ReadAt } from './stored-zip.ts';

// PyTorch's `.pt`, `.pth` and `.bin`: a pickle of a dictionary whose tensors point into raw storages. The pickle is interpreted, never run.

/**
 * Opens a file that `torch.save` wrote: a dictionary of tensors, or dictionaries within dictionaries (their keys are joined with dots).
 * The result reads like a safetensors file; other values in the file are passed over.
 * @param fd an open file descriptor to use instead of opening `path`; `close()` closes it
 * @throws CheckpointError PICKLE_UNSAFE, PICKLE, ZIP, VIEW, DUP_KEY, LIMIT (reliability.md §4, rows Z1, Z2, P1, P2)
 */
export function openPytorch(path: string, { fd = openRegular(path) }: { fd?: number } = {}): SafetensorsReader {
  try {
    const opened = realFs.fstatSync(fd);
    const readAt = (position: number, length: number) => {
      if (length > constants.MAX_LENGTH)
        throw new CheckpointError(
          'LIMIT',
          path,
          `a storage of ${length} bytes; this version of Node holds at most ${constants.MAX_LENGTH} in one piece`,
          'Save its tensors with clone(), each with a storage of its own, or as safetensors',
        );
      const bytes = new Uint8Array(length);
      const now = realFs.fstatSync(fd);
      if (readFully(realFs, fd, bytes, position) < length || now.size !== opened.size || now.mtimeMs !== opened.mtimeMs) {
        throw new CheckpointError('CHANGED', path, 'file changed while it was read, or ends too early', 'Read it again');
      }
      return bytes;
    };
    return readPytorch(readAt, opened.size, path, () => realFs.closeSync(fd));
  } catch (error) {
    quietly(() => realFs.closeSync(fd));
    throw error;
  }
}

/** The same for a file that is in memory already. */
export function parsePytorch(bytes: Uint8Array, file = 'pytorch'): SafetensorsReader {
  return readPytorch(
    (position, length) => bytes.slice(position, position + length),
    bytes.length,
    file,
    () => {},
  );
}

function readPytorch(readAt: ReadAt, size: number, file: string, close: () => void): SafetensorsReader {
  const first = readAt(0, Math.min(4, size));
  const zipped = first[0] === 0x50 && first[1] === 0x4b;
  if (!zipped && first[0] !== 0x80) {
    throw new CheckpointError(
      'ZIP',
      file,
      'the file is neither a zip archive nor a pickle',
      'This is not a file that torch.save wrote',
    );
  }
  const { value, storages } = zipped ? readArchive(readAt, size, file) : readLegacy(readAt, size, file);
  return makeReader(collectViews(value, file), storages, readAt, file, close);
}

function makeReader(
  views: Map<string, View>,
  storages: Contents['storages'],
  readAt: ReadAt,
  file: string,
  close: () => void,
): SafetensorsReader {
  const tensors = new Map<string, TensorEntry>();
  for (const [name, { storage, offset, shape, strides }] of views) {
    const width = dtypeBits[storage.dtype] / 8;
    const byteLength = tensorBytes(name, storage.dtype, shape, file);
    const held = storages.get(storage.key);
    if (!held) throw new CheckpointError('ZIP', file, `${quote(name)}: its storage ${quote(storage.key)} is not in the file`);
    if (held.byteLength !== storage.values * width) {
      throw view(
        file,
        `${quote(name)}: its storage has ${held.byteLength} bytes, ${storage.values} values of ${storage.dtype} are said to be there`,
      );
    }
    if (strides.length !== shape.length)
      throw view(file, `${quote(name)} has ${shape.length} sizes and ${strides.length} strides`);
    if (byteLength > 0) {
      const end = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i], offset) + 1;
      if (!(end <= storage.values))
        throw view(file, `${quote(name)}: view ends at element ${end} of a storage with ${storage.values}`);
      if (byteLength > held.byteLength)
        throw view(file, `${quote(name)}: ${byteLength / width} values from a storage with ${storage.values} (a stride of 0)`);
    }
    tensors.set(name, { dtype: storage.dtype, shape, byteOffset: held.byteOffset + offset * width, byteLength });
  }
  const checked = new Set<string>();
  const tied = tiedViews(views);
  const read = (name: string) => {
    const tensor = tensors.get(name);
    if (!tensor)
      throw new CheckpointError('NO_TENSOR', file, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
    const { storage, strides, offset } = views.get(name)!;
    const held = storages.get(storage.key)!;
    const whole = isContiguous(tensor.shape, strides);
    const bytes = whole ? readAt(tensor.byteOffset, tensor.byteLength) : readAt(held.byteOffset, held.byteLength);
    if (held.crc32 !== undefined && !checked.has(storage.key)) {
      const found = bytes.length === held.byteLength ? crc32(bytes) : crcInPieces(readAt, held);
      checkCrc(found, held.crc32, `data/${storage.key}`, file);
      checked.add(storage.key);
    }
    return whole ? bytes : gather(bytes, tensor, strides, offset);
  };
  const readInto = (name: string, offset: number, target: Uint8Array) => {
    const bytes = read(name);
    if (!(offset >= 0 && offset + target.length <= bytes.length)) {
      throw new RangeError(
        `readInto: bytes ${offset}…${offset + target.length} are outside tensor ${quote(name)}\n  it has ${bytes.length} bytes`,
      );
    }
    target.set(bytes.subarray(offset, offset + target.length));
  };
  return { metadata: new Map(), tensors, tied, read, readInto, close };
}

/** The checksum of a storage of which a tensor shows a part: it may be larger than the memory. */
function crcInPieces(readAt: ReadAt, { byteOffset, byteLength }: { byteOffset: number; byteLength: number }): number {
  let crc = 0;
  for (let at = 0; at < byteLength; at += PIECE_BYTES)
    crc = crc32(readAt(byteOffset + at, Math.min(PIECE_BYTES, byteLength - at)), crc);
  return crc;
}

/** Tensors that show the same window of the same storage as an earlier one → that one's name. */
function tiedViews(views: Map<string, View>): Map<string, string> {
  const first = new Map<string, string>();
  const tied = new Map<string, string>();
  for (const [name, { storage, offset, shape, strides }] of views) {
    const window = JSON.stringify([storage.key, offset, shape, strides]);
    if (first.has(window)) tied.set(name, first.get(window)!);
    else first.set(window, name);
  }
  return tied;
}

/** Row-major and without gaps: each stride is the product of the sizes behind it. */
function isContiguous(shape: number[], strides: number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return false;
    expected *= shape[i];
  }
  return true;
}

/** Copies the values of a view out of its storage, in row-major order. */
function gather(storage: Uint8Array, { dtype, shape, byteLength }: TensorEntry, strides: number[], offset: number): Uint8Array {
  const width = dtypeBits[dtype] / 8;
  const out = new Uint8Array(byteLength);
  const index = shape.map(() => 0);
  let from = offset;
  for (let at = 0; at < byteLength; at += width) {
    for (let b = 0; b < width; b++) out[at + b] = storage[from * width + b];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}
