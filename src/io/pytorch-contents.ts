// The two containers of PyTorch: a zip archive (since 1.6), and before that pickles and storages one after the other.

import { crc32 } from 'node:zlib';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { type Meaning, PyDict, PyList, type PickleValue, readPickle } from './pickle.ts';
import { meaningOf, refuse, type Storage, view } from './pytorch-objects.ts';
import { dtypeBits } from './safetensors-header.ts';
import { type ReadAt, readStoredZip } from './stored-zip.ts';

const MAX_PICKLE = 64 * 2 ** 20;

export interface Contents {
  value: PickleValue;
  /** Where the bytes of each storage lie. */
  storages: Map<string, { byteOffset: number; byteLength: number; crc32?: number }>;
}

export function readArchive(readAt: ReadAt, size: number, file: string): Contents {
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
    checkCrc(crc32(bytes), entry.crc32, name, file);
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

export function checkCrc(found: number, expected: number, name: string, file: string): void {
  if (found !== expected)
    throw new CheckpointError('CORRUPT', file, `checksum of ${quote(name)} differs from the archive's`, 'Download it again');
}

/** Before 1.6: pickles of a magic number, a version, the machine, the object, and the storage keys; then count and bytes of each storage. */
export function readLegacy(readAt: ReadAt, size: number, file: string): Contents {
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
