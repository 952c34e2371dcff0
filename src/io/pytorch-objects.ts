// What the pickle of a PyTorch file may say: storages, and tensors as windows on them. It is interpreted, never run.

import { CheckpointError, quote } from './checkpoint-error.ts';
import { type Meaning, PyDict, PyGlobal, PyList, PyTuple, type PickleValue } from './pickle.ts';
import type { SafetensorsDtype } from './safetensors-header.ts';

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

const MAX_TENSORS = 100_000;
const MAX_DIMS = 8;

export class Storage {
  constructor(
    readonly key: string,
    readonly dtype: SafetensorsDtype,
    readonly values: number,
  ) {}
}

/** A window on a storage: value (i, j, …) lies at `offset` + i · strides[0] + j · strides[1] + … (all in values, not bytes). */
export class View {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: number[],
    readonly strides: number[],
  ) {}
}

export function refuse(file: string, detail: string): never {
  throw new CheckpointError('PICKLE_UNSAFE', file, detail, 'It was refused; nothing was run');
}
export const view = (file: string, detail: string) => new CheckpointError('VIEW', file, detail, 'The file is damaged');
const isCount = (value: PickleValue): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** The three functions and the storage classes that a dictionary of tensors mentions; here they only describe. */
export function meaningOf(file: string, declared = new Map<string, Storage>()): Meaning {
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
export function collectViews(value: PickleValue, file: string): Map<string, View> {
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
