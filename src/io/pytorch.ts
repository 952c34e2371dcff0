import { crc32 } from 'node:zlib';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { openRegular, quietly, readFully, realFs } from './file-system.ts';
import { type Meaning, PyDict, PyGlobal, PyList, PyTuple, type PickleValue, readPickle } from './pickle.ts';
import type { SafetensorsReader } from './safetensors.ts';
import { dtypeBits, type SafetensorsDtype, tensorBytes, type TensorEntry } from './safetensors-header.ts';
import { type ReadAt, readStoredZip } from './stored-zip.ts';

// PyTorch's `.pt`, `.pth` and `.bin`: a pickle of a dictionary whose tensors point into raw storages. The pickle is interpreted, never run.
// Two containers: a zip archive (since PyTorch 1.6), and before that pickles and storages one after the other.

/** What PyTorch calls the storages of each type. */
export const storageDtypes: Record<string, SafetensorsDtype> = {
  'torch.FloatStorage': 'F32',
  'torch.DoubleStorage': 'F64',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
  'torch.ComplexFloatStorage': 'C64',
};
const orderedDict = 'collections.OrderedDict';
const rebuildTensor = 'torch._utils._rebuild_tensor_v2';
const rebuildParameter = 'torch._utils._rebuild_parameter';

const MAX_PICKLE = 64 * 2 ** 20;
const MAX_TENSORS = 100_000;
const MAX_DIMS = 8;

class Storage {
  constructor(
    readonly key: string,
    readonly dtype: SafetensorsDtype,
    readonly values: number,
  ) {}
}

/** A window on a storage: value (i, j, …) lies at `offset` + i · strides[0] + j · strides[1] + … (all in values, not bytes). */
class View {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: number[],
    readonly strides: number[],
  ) {}
}

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

interface Contents {
  value: PickleValue;
  /** Where the bytes of each storage lie. */
  storages: Map<string, { byteOffset: number; byteLength: number; crc32?: number }>;
}

function readArchive(readAt: ReadAt, size: number, file: string): Contents {
  const entries = readStoredZip(readAt, size, file);
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1)
    throw new CheckpointError('ZIP', file, `the archive has ${pickles.length} files data.pkl; it must have one`);
  const folder = pickles[0].slice(0, -'data.pkl'.length);
  const read = (name: string, most: number) => {
    const entry = entries.get(name)!;
    if (entry.byteLength > most)
      throw new CheckpointError('LIMIT', file, `${name} has ${entry.byteLength} bytes; the limit is ${most}`);
    const bytes = readAt(entry.byteOffset, entry.byteLength);
    checkCrc(bytes, entry.crc32, name, file);
    return bytes;
  };
  if (entries.has(`${folder}byteorder`)) {
    const order = Buffer.from(read(`${folder}byteorder`, 16)).toString('latin1');
    if (order !== 'little') throw new CheckpointError('VIEW', file, `byte order ${quote(order)}; only "little" can be read`);
  }
  const { value, end } = readPickle(read(pickles[0], MAX_PICKLE), 0, file, meaningOf(file));
  if (end !== entries.get(pickles[0])!.byteLength)
    throw new CheckpointError('PICKLE', file, 'bytes follow the end of the pickle');
  const storages: Contents['storages'] = new Map();
  for (const [name, entry] of entries) {
    if (name.startsWith(`${folder}data/`)) storages.set(name.slice(folder.length + 5), entry);
  }
  return { value, storages };
}

function checkCrc(bytes: Uint8Array, expected: number, name: string, file: string): void {
  if (crc32(bytes) !== expected)
    throw new CheckpointError('CORRUPT', file, `checksum of ${quote(name)} differs from the archive's`, 'Download it again');
}

/** Before 1.6: pickles of a magic number, a version, the machine, the object, and the storage keys; then count and bytes of each storage. */
function readLegacy(readAt: ReadAt, size: number, file: string): Contents {
  const head = readAt(0, Math.min(size, MAX_PICKLE));
  const declared = new Map<string, Storage>();
  let at = 0;
  const next = (meaning: Meaning) => {
    const { value, end } = readPickle(head, at, file, meaning);
    at = end;
    return value;
  };
  const plain: Meaning = {
    allows: () => false,
    call: () => null,
    persistent: () => refuse(file, 'this file refers to a storage before its time'),
  };
  const notOurs = (detail: string) => new CheckpointError('PICKLE', file, detail, 'This is not a file that torch.save wrote');
  if (next(plain) !== 0x1950a86a20f9469cfc6cn) throw notOurs('the magic number is missing');
  if (next(plain) !== 1001) throw notOurs('the protocol version is not 1001');
  const system = next(plain);
  if (!(system instanceof PyDict) || system.entries.get('little_endian') !== true) {
    throw new CheckpointError('VIEW', file, 'the file was not written on a little-endian machine', 'Save it again on one');
  }
  const value = next(meaningOf(file, declared));
  const keys = next(plain);
  if (!(keys instanceof PyList)) throw notOurs('the list of storages is missing');
  const storages: Contents['storages'] = new Map();
  for (const key of keys.items) {
    const storage = typeof key === 'string' ? declared.get(key) : undefined;
    if (!storage || storages.has(storage.key)) throw notOurs('the list of storages does not fit the tensors');
    const count = size - at >= 8 ? new DataView(readAt(at, 8).buffer).getBigInt64(0, true) : -1n;
    if (count !== BigInt(storage.values))
      throw view(file, `storage ${quote(storage.key)} has ${count} values, its tensors say ${storage.values}`);
    const byteLength = (storage.values * dtypeBits[storage.dtype]) / 8;
    if (byteLength > size - at - 8)
      throw new CheckpointError(
        'DATA_TRUNCATED',
        file,
        `storage ${quote(storage.key)} ends behind the file`,
        'Download it again',
      );
    storages.set(storage.key, { byteOffset: at + 8, byteLength });
    at += 8 + byteLength;
  }
  if (at !== size) throw new CheckpointError('TRAILING_BYTES', file, `${size - at} bytes after the last storage`);
  return { value, storages };
}

function refuse(file: string, detail: string): never {
  throw new CheckpointError('PICKLE_UNSAFE', file, detail, 'It was refused; nothing was run');
}
const view = (file: string, detail: string) => new CheckpointError('VIEW', file, detail, 'The file is damaged');
const isCount = (value: PickleValue): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** The three functions and the storage classes that a dictionary of tensors mentions; here they only describe. */
function meaningOf(file: string, declared = new Map<string, Storage>()): Meaning {
  const counts = (value: PickleValue, what: string): number[] => {
    if (!(value instanceof PyTuple) || !value.items.every(isCount))
      throw view(file, `${what} of a tensor is not a tuple of whole numbers ≥ 0`);
    if (value.items.length > MAX_DIMS) throw new CheckpointError('LIMIT', file, `a tensor has more than ${MAX_DIMS} dimensions`);
    return value.items;
  };
  return {
    allows: (name) =>
      name === orderedDict || name === rebuildTensor || name === rebuildParameter || Object.hasOwn(storageDtypes, name),
    call(name, args) {
      if (name === orderedDict) {
        const empty = args.length === 0 || (args.length === 1 && args[0] instanceof PyList && args[0].items.length === 0);
        return empty ? new PyDict() : refuse(file, 'this file asks Python to make a dictionary from arguments');
      }
      if (name === rebuildParameter && args[0] instanceof View) return args[0];
      if (name === rebuildTensor && args.length >= 6 && args[0] instanceof Storage) {
        const [storage, offset, shape, strides] = args;
        if (!isCount(offset)) throw view(file, 'the offset of a tensor is not a whole number ≥ 0');
        return new View(storage, offset, counts(shape, 'the size'), counts(strides, 'the stride'));
      }
      return refuse(file, `this file asks Python to call \`${name}\` with arguments that make no tensor`);
    },
    persistent(id) {
      if (!(id instanceof PyTuple) || id.items[0] !== 'storage')
        refuse(file, 'this file has a persistent id that is not a storage');
      const [, type, key, , values, window] = id.items;
      const dtype = type instanceof PyGlobal ? storageDtypes[type.name] : undefined;
      if (!dtype || typeof key !== 'string' || !isCount(values) || (window !== undefined && window !== null)) {
        refuse(file, 'this file has a persistent id that is not a storage of a known type');
      }
      const known = declared.get(key);
      if (known && (known.dtype !== dtype || known.values !== values))
        throw view(file, `storage ${quote(key)} is described in two ways`);
      const storage = known ?? new Storage(key, dtype, values);
      declared.set(key, storage);
      return storage;
    },
  };
}

/** Tensors by name: keys joined with dots, through dictionaries and lists. */
function collectViews(value: PickleValue, file: string): Map<string, View> {
  const found = new Map<string, View>();
  let visited = 0;
  const walk = (node: PickleValue, path: string, depth: number) => {
    // The same container may be reached by many paths, so the walk has a ceiling of its own.
    if (++visited > 10 * MAX_TENSORS || depth > 64)
      throw new CheckpointError('LIMIT', file, 'the dictionaries of this file are too deep or too many');
    if (node instanceof View) {
      if (found.has(path)) throw new CheckpointError('DUP_KEY', file, `tensor ${quote(path)} appears twice`);
      if (path.includes('\0'))
        throw new CheckpointError('TENSOR_NAME', file, `tensor name has a NUL byte at position ${path.indexOf('\0')}`);
      if (found.size === MAX_TENSORS || path.length > 1024)
        throw new CheckpointError('LIMIT', file, `more than ${MAX_TENSORS} tensors, or a name above 1024 characters`);
      found.set(path, node);
    }
    const join = (key: string | number | boolean) => (path === '' ? String(key) : `${path}.${key}`);
    if (node instanceof PyDict) for (const [key, inner] of node.entries) walk(inner, join(key), depth + 1);
    if (node instanceof PyList || node instanceof PyTuple)
      for (const [i, inner] of node.items.entries()) walk(inner, join(i), depth + 1);
  };
  walk(value, '', 0);
  return found;
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
    if (held.crc32 !== undefined && !checked.has(storage.key)) {
      const bytes = readAt(held.byteOffset, held.byteLength);
      checkCrc(bytes, held.crc32, `data/${storage.key}`, file);
      checked.add(storage.key);
      return gather(bytes, tensor, strides, offset);
    }
    if (isContiguous(tensor.shape, strides)) return readAt(tensor.byteOffset, tensor.byteLength);
    return gather(readAt(held.byteOffset, held.byteLength), tensor, strides, offset);
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
  if (isContiguous(shape, strides)) return storage.slice(offset * width, offset * width + byteLength);
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
