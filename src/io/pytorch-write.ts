import { crc32 } from 'node:zlib';
import { CheckpointError, quote, sayBytes } from './checkpoint-error.ts';
import { PIECE_BYTES, realFs, writeFileVia } from './file-system.ts';
import { storageDtypes } from './pytorch-objects.ts';
import type { Sink, TensorToWrite } from './safetensors.ts';
import { dtypeBits, type SafetensorsDtype, tensorBytes } from './safetensors-header.ts';
import { MAX_ENTRIES } from './stored-zip.ts';

// What `torch.save(state_dict)` writes since PyTorch 1.6: a stored zip archive of data.pkl (a pickle of protocol 2: an OrderedDict of
// `_rebuild_tensor_v2` calls), byteorder, data/0, data/1 … (one raw storage each) and version.

const storageTypes = new Map(Object.entries(storageDtypes).map(([type, dtype]) => [dtype, type]));
/** Where storages begin: multiples of a cache line, as PyTorch places them, so that a file can be mapped. */
const ALIGNMENT = 64;
const MAX_32 = 0xffffffff;
const folder = 'archive';

/**
 * Writes a file that `torch.load(path, weights_only=True)` and `openPytorch` read, streaming; the old file is replaced as a whole by a rename after fsync.
 * Entries that have the same `bytes` (the same array or function) share one storage: tied tensors are stored once. The same input gives the same bytes.
 * @throws CheckpointError before the first byte: DTYPE (PyTorch has no such storage), DUP_KEY, LIMIT (4 GB in one storage, 9,997 storages); later BYTES (not as many as the shape says)
 */
export function writePytorch(path: string, entries: Iterable<TensorToWrite>, { fs = realFs } = {}): void {
  const { pickle, storages } = describe([...entries], path);
  const ascii = (text: string) => ({ length: text.length, bytes: () => Buffer.from(text, 'latin1') });
  const members = [
    { name: 'data.pkl', length: pickle.length, bytes: () => pickle },
    { name: 'byteorder', ...ascii('little') },
    ...storages.map((storage, i) => ({ name: `data/${i}`, ...storage })),
    { name: 'version', ...ascii('3\n') },
  ];
  const largest = storages.reduce((most, { length }) => Math.max(most, length), 0);
  if (members.length > MAX_ENTRIES || largest >= MAX_32)
    throw new CheckpointError(
      'LIMIT',
      path,
      `${storages.length} tensors of up to ${sayBytes(largest)} do not fit one PyTorch file: at most ${MAX_ENTRIES - 3}, each below 4.3 GB`,
      'Write a smaller type (--dtype f16), or safetensors (--to hf)',
      1,
    );
  writeFileVia(path, (sink) => writeStoredZip(sink, members, path), fs);
}

export interface Member {
  name: string;
  length: number;
  bytes: () => Uint8Array;
}

/** The pickle, and the storages that it names 0, 1, 2 … */
function describe(entries: TensorToWrite[], file: string): { pickle: Uint8Array; storages: Omit<Member, 'name'>[] } {
  const storages: { length: number; bytes: () => Uint8Array }[] = [];
  const known = new Map<TensorToWrite['bytes'], { key: number; dtype: SafetensorsDtype; length: number }>();
  const names = new Set<string>();
  const items: Uint8Array[] = [];
  for (const { name, dtype, shape, bytes } of entries) {
    const type = storageTypes.get(dtype);
    if (type === undefined)
      throw new CheckpointError('DTYPE', file, `${quote(name)} is ${dtype}, for which PyTorch has no storage`, 'Use --to hf', 1);
    if (names.has(name)) throw new CheckpointError('DUP_KEY', file, `tensor ${quote(name)} comes twice`, '', 1);
    names.add(name);
    const length = tensorBytes(name, dtype, shape, file);
    const shared = known.get(bytes) ?? { key: storages.length, dtype, length };
    if (shared.dtype !== dtype || shared.length !== length)
      throw new CheckpointError('BYTES', file, `${quote(name)} shares the bytes of a tensor of another type or size`, '', 1);
    if (shared.key === storages.length) {
      known.set(bytes, shared);
      storages.push({ length, bytes: typeof bytes === 'function' ? bytes : () => bytes });
    }
    const values = (8 * length) / dtypeBits[dtype];
    items.push(op.text(name), rebuildTensor({ type, key: String(shared.key), values, shape }));
  }
  return { pickle: Buffer.concat([op.start, op.emptyDict, op.mark, ...items, op.setItems, op.stop]), storages };
}

const bytesOf = (text: string, ...more: Uint8Array[]) => Buffer.concat([Buffer.from(text, 'latin1'), ...more]);
const u32 = (n: number) => new Uint8Array(new Uint32Array([n]).buffer);
const u64 = (n: number) => new Uint8Array(new BigUint64Array([BigInt(n)]).buffer);
const named = (full: string) => bytesOf(`c${full.replace(/\.(?=\w+$)/, '\n')}\n`);
const op = {
  start: bytesOf('\x80\x02'),
  stop: bytesOf('.'),
  mark: bytesOf('('),
  setItems: bytesOf('u'),
  emptyDict: Buffer.concat([named('collections.OrderedDict'), bytesOf(')R')]),
  text(text: string) {
    const utf8 = Buffer.from(text);
    return bytesOf('X', u32(utf8.length), utf8);
  },
  /** BININT in 32 bits, LONG1 of 8 bytes above. */
  number: (n: number) => (n < 2 ** 31 ? bytesOf('J', u32(n)) : bytesOf('\x8a\x08', u64(n))),
  tuple: (items: Uint8Array[]) => Buffer.concat([op.mark, ...items, bytesOf('t')]),
};

/** `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`, row-major from the storage's first value. */
function rebuildTensor(of: { type: string; key: string; values: number; shape: readonly number[] }): Uint8Array {
  const { type, key, values, shape } = of;
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const storage = [op.text('storage'), named(type), op.text(key), op.text('cpu'), op.number(values)];
  const numbers = (list: readonly number[]) => op.tuple(list.map(op.number));
  const args = [op.tuple(storage), bytesOf('Q'), op.number(0), numbers(shape), numbers(strides), bytesOf('\x89'), op.emptyDict];
  return Buffer.concat([named('torch._utils._rebuild_tensor_v2'), op.tuple(args), bytesOf('R')]);
}

/**
 * A stored zip: each member's data begin at a multiple of 64 (an extra field fills the gap); checksum and size stand in a descriptor behind them and in
 * the directory, so that every member is asked for its bytes once. Places from `wideFrom` on stand in fields of zip64, as PyTorch writes them.
 */
export function writeStoredZip(sink: Sink, members: Member[], file: string, wideFrom = MAX_32): void {
  const directory: Uint8Array[] = [];
  let at = 0;
  const write = (bytes: Uint8Array) => {
    for (let i = 0; i < bytes.length; i += PIECE_BYTES) sink.write(bytes.subarray(i, i + PIECE_BYTES));
    at += bytes.length;
  };
  for (const member of members) {
    const path = Buffer.from(`${folder}/${member.name}`);
    const start = at;
    const extra = 4 + ((ALIGNMENT - ((start + 30 + path.length + 4) % ALIGNMENT)) % ALIGNMENT);
    // version 2.0, flags 8 (descriptor) and 0x800 (UTF-8), stored, no time (1 January 1980)
    const common = [20, 0x0808, 0, 0, 0x21];
    write(record(0x04034b50, common, [0, 0, 0], [path.length, extra]));
    write(Buffer.concat([path, u16(0x4246), u16(extra - 4), new Uint8Array(extra - 4)]));
    const data = member.bytes();
    if (data.length !== member.length)
      throw new CheckpointError(
        'BYTES',
        file,
        `${member.name} came with ${data.length} bytes, its shape needs ${member.length}`,
        '',
        1,
      );
    write(data);
    const sizes = [crc32(data), data.length, data.length];
    write(record(0x08074b50, [], sizes, []));
    const wide = start >= wideFrom;
    const more = wide ? Buffer.concat([u16(1), u16(8), u64(start)]) : new Uint8Array();
    directory.push(record(0x02014b50, [wide ? 45 : 20, ...common], sizes, [path.length, more.length, 0, 0, 0, 0, 0]));
    directory.push(u32(wide ? MAX_32 : start), path, more);
  }
  const [start, bytes] = [at, Buffer.concat(directory)];
  const wide = start >= wideFrom;
  const count = members.length;
  write(bytes);
  if (wide) {
    const end = at;
    const sizes = [count, count, bytes.length, start].map(u64);
    write(Buffer.concat([u32(0x06064b50), u64(44), u16(45), u16(45), u32(0), u32(0), ...sizes])); // the record of zip64
    write(Buffer.concat([u32(0x07064b50), u32(0), u64(end), u32(1)])); // and where it stands
  }
  write(record(0x06054b50, [0, 0, count, count], [bytes.length, wide ? MAX_32 : start], [0]));
}

const u16 = (n: number) => new Uint8Array(new Uint16Array([n]).buffer);
/** A signature, 16-bit fields, 32-bit fields, 16-bit fields. */
const record = (signature: number, first: number[], wide: number[], last: number[]) =>
  Buffer.concat([u32(signature), ...first.map(u16), ...wide.map(u32), ...last.map(u16)]);
