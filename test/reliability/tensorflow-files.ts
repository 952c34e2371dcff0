import { crc32c, maskedCrc32c } from '../../src/io/crc32c.ts';

// Writers of the small containers that TensorFlow's files are made of, for tests that need damaged ones. Written from the format pages, not from the readers.

const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))]);
const text = (s: string): number[] => [...new TextEncoder().encode(s)];
const message = (field: number, bytes: readonly number[]): number[] => [
  ...varint(8 * field + 2),
  ...varint(bytes.length),
  ...bytes,
];
const number = (field: number, n: number): number[] => [...varint(8 * field), ...varint(n)];
const le32 = (n: number): number[] => [n & 255, (n >>> 8) & 255, (n >>> 16) & 255, n >>> 24];

export interface EntryFields {
  dtype?: number;
  shape?: number[];
  shard?: number;
  offset?: number;
  size?: number;
  crc?: number;
}

/** BundleEntryProto */
export const entryBytes = ({ dtype = 1, shape = [], shard = 0, offset = 0, size = 0, crc = 0 }: EntryFields): number[] => [
  ...number(1, dtype),
  ...message(
    2,
    shape.flatMap((n) => message(2, number(1, n))),
  ),
  ...number(3, shard),
  ...number(4, offset),
  ...number(5, size),
  0x35,
  ...le32(crc),
];

/** BundleHeaderProto */
export const headerBytes = (shards: number, endian = 0): number[] => [...number(1, shards), ...(endian ? number(2, endian) : [])];

export type Row = [key: string, value: readonly number[]];

function blockBytes(rows: readonly Row[], share = true): number[] {
  const body: number[] = [];
  let before: number[] = [];
  for (const [key, value] of rows) {
    const bytes = text(key);
    let shared = 0;
    while (share && before.length > 0 && shared < Math.min(before.length, bytes.length) && before[shared] === bytes[shared])
      shared++;
    body.push(...varint(shared), ...varint(bytes.length - shared), ...varint(value.length), ...bytes.slice(shared), ...value);
    before = bytes;
  }
  body.push(...le32(0), ...le32(1), 0);
  return [...body, ...le32(maskedCrc32c(crc32c(Uint8Array.from(body))))];
}

/** A sorted table, its rows in blocks of `perBlock`. */
export function tableBytes(rows: readonly Row[], perBlock = 100): Uint8Array {
  const out: number[] = [];
  const index: Row[] = [];
  for (let i = 0; i < rows.length; i += perBlock) {
    const part = rows.slice(i, i + perBlock);
    const block = blockBytes(part);
    index.push([part.at(-1)![0], [...varint(out.length), ...varint(block.length - 5)]]);
    out.push(...block);
  }
  const place = (block: number[]) => {
    const handle = [...varint(out.length), ...varint(block.length - 5)];
    out.push(...block);
    return handle;
  };
  const handles = [...place(blockBytes([])), ...place(blockBytes(index))];
  out.push(...handles, ...new Array(40 - handles.length).fill(0));
  out.push(0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb);
  return Uint8Array.from(out);
}

/** Makes the checksums of all blocks of `table` right again, as far as its footer and index can be read. */
export function sealTable(table: Uint8Array): Uint8Array {
  const seal = (offset: number, size: number) => {
    if (!(offset >= 0 && size >= 0 && offset + size + 5 <= table.length - 48)) return;
    const crc = maskedCrc32c(crc32c(table.subarray(offset, offset + size + 1)));
    table.set(le32(crc), offset + size + 1);
  };
  const read = (at: number): [number, number] => {
    let [value, scale] = [0, 1];
    for (; at < table.length; at++, scale *= 128) {
      value += (table[at] & 127) * scale;
      if (table[at] < 128) return [value, at + 1];
    }
    return [value, at];
  };
  let at = table.length - 48;
  const numbers: number[] = [];
  for (let i = 0; i < 4; i++) {
    const [value, next] = read(at);
    numbers.push(value);
    at = next;
  }
  const [, , index, size] = numbers;
  seal(numbers[0], numbers[1]);
  for (let i = index; i < index + size - 8 && i < table.length - 48; ) {
    const [shared, a] = read(i);
    const [unshared, b] = read(a);
    const [length, c] = read(b);
    if (shared > 1024 || unshared > 1024) break;
    const [offset, d] = read(c + unshared);
    seal(offset, read(d)[0]);
    i = c + unshared + Math.max(1, length);
  }
  seal(index, size);
  return table;
}
