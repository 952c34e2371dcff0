import { crc32 } from 'node:zlib';

// Builders of PyTorch files by hand: a pickle assembler and a zip writer with every field open to abuse.

const u16 = (n: number) => [n & 255, (n >> 8) & 255];
const u32 = (n: number) => [n & 255, (n >>> 8) & 255, (n >>> 16) & 255, (n >>> 24) & 255];
const u64 = (n: number) => [...u32(n % 2 ** 32), ...u32(Math.floor(n / 2 ** 32))];
const ascii = (s: string) => [...Buffer.from(s)];

/** Pieces of a pickle (protocol 2). */
export const pickle = {
  start: [0x80, 2],
  stop: [0x2e],
  mark: [0x28],
  none: [0x4e],
  yes: [0x88],
  no: [0x89],
  int: (n: number) => [0x4a, ...u32(n)],
  text: (s: string) => [0x58, ...u32(Buffer.byteLength(s)), ...ascii(s)],
  global: (module: string, name: string) => [0x63, ...ascii(`${module}\n${name}\n`)],
  tuple: (...items: number[][]) => [0x28, ...items.flat(), 0x74],
  list: (...items: number[][]) => [0x5d, 0x28, ...items.flat(), 0x65],
  dict: (...pairs: [string, number[]][]) => [0x7d, 0x28, ...pairs.flatMap(([k, v]) => [...pickle.text(k), ...v]), 0x75],
  reduce: (callee: number[], ...args: number[][]) => [...callee, ...pickle.tuple(...args), 0x52],
  persistent: (id: number[]) => [...id, 0x51],
};

export const orderedDict = [...pickle.global('collections', 'OrderedDict'), 0x29, 0x52];
export const storage = (type: string, key: string, values: number) =>
  pickle.persistent(
    pickle.tuple(pickle.text('storage'), pickle.global('torch', type), pickle.text(key), pickle.text('cpu'), pickle.int(values)),
  );
const numbers = (ns: number[]) => pickle.tuple(...ns.map(pickle.int));

/** `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`. */
export const tensor = (from: number[], offset: number, size: number[], stride: number[]) =>
  pickle.reduce(
    pickle.global('torch._utils', '_rebuild_tensor_v2'),
    from,
    pickle.int(offset),
    numbers(size),
    numbers(stride),
    pickle.no,
    orderedDict,
  );

export const program = (...body: number[][]) => Uint8Array.from([...pickle.start, ...body.flat(), ...pickle.stop]);

export interface Part {
  name: string;
  data: Uint8Array;
  method?: number;
  flags?: number;
  /** What the local header says instead of the truth. */
  localSize?: number;
  localName?: string;
  localCrc?: number;
  /** What the directory says instead of the truth. */
  size?: number;
  packed?: number;
  offset?: number;
  crc?: number;
  comment?: string;
  /** Sizes in a descriptor behind the data, as PyTorch writes them. */
  descriptor?: boolean;
}

export interface ZipFaults {
  prefix?: Uint8Array;
  comment?: string;
  count?: number;
  start?: number;
  gap?: number;
  /** `field`: the extra field of each entry in the directory, instead of the true one. */
  zip64?: boolean | { start?: number; count?: number; field?: number[] };
  disk?: number;
}

/** A stored zip archive. */
export function zip(
  parts: Part[],
  { prefix = new Uint8Array(), comment = '', count, start, gap = 0, zip64, disk = 0 }: ZipFaults = {},
): Uint8Array {
  const out = [...prefix];
  const directory: number[] = [];
  for (const part of parts) {
    const { name, data, method = 0, descriptor = false, flags = descriptor ? 0x0808 : 0x0800 } = part;
    const at = out.length;
    const crc = crc32(data);
    const localSize = part.localSize ?? (descriptor ? 0 : data.length);
    const localName = ascii(part.localName ?? name);
    out.push(
      ...u32(0x04034b50),
      ...u16(20),
      ...u16(flags),
      ...u16(method),
      0,
      0,
      0,
      0,
      ...u32(part.localCrc ?? (descriptor ? 0 : crc)),
    );
    out.push(...u32(localSize), ...u32(localSize), ...u16(localName.length), ...u16(0), ...localName);
    for (const byte of data) out.push(byte);
    if (descriptor) out.push(...u32(0x08074b50), ...u32(crc), ...u32(data.length), ...u32(data.length));
    for (let i = 0; i < gap; i++) out.push(0);
    const told = typeof zip64 === 'object' ? zip64.field : undefined;
    const wide =
      told ??
      (zip64
        ? [...u16(1), ...u16(24), ...u64(part.size ?? data.length), ...u64(part.packed ?? data.length), ...u64(part.offset ?? at)]
        : []);
    const narrow = (n: number) => u32(zip64 ? 0xffffffff : n);
    directory.push(
      ...u32(0x02014b50),
      ...u16(20),
      ...u16(20),
      ...u16(flags),
      ...u16(method),
      0,
      0,
      0,
      0,
      ...u32(part.crc ?? crc),
    );
    directory.push(
      ...narrow(part.packed ?? data.length),
      ...narrow(part.size ?? data.length),
      ...u16(ascii(name).length),
      ...u16(wide.length),
    );
    directory.push(
      ...u16((part.comment ?? '').length),
      ...u16(0),
      ...u16(0),
      ...u32(0),
      ...narrow(part.offset ?? at),
      ...ascii(name),
      ...wide,
      ...ascii(part.comment ?? ''),
    );
  }
  const from = start ?? out.length;
  const entries = count ?? parts.length;
  out.push(...directory);
  if (zip64) {
    const at = out.length;
    const told = typeof zip64 === 'object' ? zip64 : {};
    out.push(
      ...u32(0x06064b50),
      ...u64(44),
      ...u16(45),
      ...u16(45),
      ...u32(0),
      ...u32(0),
      ...u64(told.count ?? entries),
      ...u64(told.count ?? entries),
    );
    out.push(...u64(directory.length), ...u64(told.start ?? from), ...u32(0x07064b50), ...u32(0), ...u64(at), ...u32(1));
  }
  const end = zip64
    ? [...u16(0xffff), ...u16(0xffff), ...u32(0xffffffff), ...u32(0xffffffff)]
    : [...u16(entries), ...u16(entries), ...u32(directory.length), ...u32(from)];
  out.push(...u32(0x06054b50), ...u16(disk), ...u16(disk), ...end, ...u16(comment.length), ...ascii(comment));
  return Uint8Array.from(out);
}

/** A stored zip of any size, as pieces to be written at their places: a number stands for that many bytes that are never written (a hole). */
export function sparseZip(parts: [name: string, data: Uint8Array | number][]): {
  pieces: { at: number; bytes: Uint8Array }[];
  size: number;
} {
  const pieces: { at: number; bytes: Uint8Array }[] = [];
  const directory: number[] = [];
  let at = 0;
  const push = (bytes: number[] | Uint8Array) => {
    pieces.push({ at, bytes: Uint8Array.from(bytes) });
    at += bytes.length;
  };
  for (const [name, data] of parts) {
    const start = at;
    const length = typeof data === 'number' ? data : data.length;
    const crc = typeof data === 'number' ? 0 : crc32(data);
    const common = [...u16(0x0800), ...u16(0), ...u32(0), ...u32(crc), ...u32(length), ...u32(length), ...u16(name.length)];
    push([...u32(0x04034b50), ...u16(20), ...common, ...u16(0), ...ascii(name)]);
    if (typeof data === 'number') at += data;
    else push(data);
    const wide = start > 0xfffffffe ? [...u16(1), ...u16(8), ...u64(start)] : [];
    directory.push(...u32(0x02014b50), ...u16(45), ...u16(45), ...common, ...u16(wide.length), ...Array(10).fill(0));
    directory.push(...u32(wide.length > 0 ? 0xffffffff : start), ...ascii(name), ...wide);
  }
  const from = at;
  push(directory);
  const record = at;
  const count = u64(parts.length);
  push([
    ...u32(0x06064b50),
    ...u64(44),
    ...u16(45),
    ...u16(45),
    ...u64(0),
    ...count,
    ...count,
    ...u64(directory.length),
    ...u64(from),
  ]);
  push([...u32(0x07064b50), ...u32(0), ...u64(record), ...u32(1)]);
  push([...u32(0x06054b50), ...u32(0), ...Array(12).fill(255), 0, 0]);
  return { pieces, size: at };
}

/** A `.pt` archive around a pickle and its storages. */
export function archive(
  body: Uint8Array,
  storages: Record<string, Uint8Array> = {},
  faults: ZipFaults & { byteorder?: string; descriptor?: boolean } = {},
): Uint8Array {
  const { byteorder = 'little', descriptor = false, ...rest } = faults;
  const part = (name: string, data: Uint8Array): Part => ({ name: `model/${name}`, data, descriptor });
  return zip(
    [
      part('data.pkl', body),
      part('byteorder', Buffer.from(byteorder)),
      ...Object.entries(storages).map(([k, d]) => part(`data/${k}`, d)),
      part('version', Buffer.from('3\n')),
    ],
    rest,
  );
}

/** The file of before 1.6. */
export function legacy(
  object: number[],
  storages: [key: string, values: number, data: Uint8Array][],
  { little = true, magic = '6cfc9c46f9206aa85019' } = {},
): Uint8Array {
  const system = pickle.dict(['protocol_version', pickle.int(1001)], ['little_endian', little ? pickle.yes : pickle.no]);
  return Uint8Array.from(
    Buffer.concat([
      program([0x8a, 10, ...Buffer.from(magic, 'hex')]),
      program(pickle.int(1001)),
      program(system),
      program(object),
      program(pickle.list(...storages.map(([key]) => pickle.text(key)))),
      ...storages.map(([, values, data]) => Buffer.from([...u64(values), ...data])),
    ]),
  );
}
