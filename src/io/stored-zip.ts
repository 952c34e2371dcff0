import { CheckpointError, quote } from './checkpoint-error.ts';
import { firstBadUtf8 } from './json-scanner.ts';

// The zip archives that PyTorch writes: entries stored without compression, one after the other from byte 0. Anything else is refused,
// because two zip readers that disagree about a file see two files.

export interface ZipEntry {
  name: string;
  /** Where the bytes of the entry lie in the file. */
  byteOffset: number;
  byteLength: number;
  crc32: number;
}

/** Reads `length` bytes at `position`. */
export type ReadAt = (position: number, length: number) => Uint8Array;

export const MAX_ENTRIES = 10_000;
const MAX_DIRECTORY = 16 * 2 ** 20;
const NO_32 = 0xffffffff;

/**
 * Reads the directory of an archive of `size` bytes and checks it against every local header.
 * @throws CheckpointError ZIP (rows Z1 and Z2)
 */
export function readStoredZip(readAt: ReadAt, size: number, file: string): Map<string, ZipEntry> {
  const fault = (detail: string) =>
    new CheckpointError('ZIP', file, detail, 'This is not a file that torch.save wrote, or it is damaged');
  const { start, end, count } = findDirectory(readAt, size, fault);
  const bytes = readAt(start, end - start);
  const directory = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries = new Map<string, ZipEntry>();
  const spans: { name: string; from: number; to: number }[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > bytes.length || directory.getUint32(at, true) !== 0x02014b50)
      throw fault(`the central directory ends after ${i} of ${count} entries`);
    const nameLength = directory.getUint16(at + 28, true);
    const extraLength = directory.getUint16(at + 30, true);
    const commentLength = directory.getUint16(at + 32, true);
    const next = at + 46 + nameLength + extraLength + commentLength;
    if (next > bytes.length) throw fault(`entry ${i} leaves the central directory`);
    const name = checkName(bytes.subarray(at + 46, at + 46 + nameLength), fault);
    if (entries.has(name)) throw fault(`entry ${quote(name)} appears twice`);
    if (commentLength > 0) throw fault(`entry ${quote(name)} has a comment`);
    const flags = directory.getUint16(at + 8, true);
    if ((flags & 0x2041) !== 0) throw fault(`entry ${quote(name)} is encrypted`);
    if (directory.getUint16(at + 10, true) !== 0) throw fault(`entry ${quote(name)} is compressed; torch.save stores`);
    const extra = bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const fields = [directory.getUint32(at + 24, true), directory.getUint32(at + 20, true), directory.getUint32(at + 42, true)];
    const [length, packed, header] = widen(fields, extra, name, fault);
    if (packed !== length)
      throw fault(`entry ${quote(name)}: ${packed} bytes in the archive, ${length} outside, although it is stored`);
    const crc32 = directory.getUint32(at + 16, true);
    const { data, to } = checkLocalHeader(readAt, { name, header, length, crc32, flags, limit: start }, fault);
    entries.set(name, { name, byteOffset: data, byteLength: length, crc32 });
    spans.push({ name, from: header, to });
    at = next;
  }
  if (at !== bytes.length) throw fault(`${bytes.length - at} bytes after the last entry of the central directory`);
  checkSpans(spans, start, fault);
  return entries;
}

type Fault = (detail: string) => CheckpointError;

/** The end record must be the last 22 bytes: no comment, in which a second archive could hide. */
function findDirectory(readAt: ReadAt, size: number, fault: Fault): { start: number; end: number; count: number } {
  if (size < 22) throw fault(`a file of ${size} bytes is too short for a zip archive`);
  const tail = readAt(size - 22, 22);
  const view = new DataView(tail.buffer, tail.byteOffset, 22);
  if (view.getUint32(0, true) !== 0x06054b50 || view.getUint16(20, true) !== 0) {
    throw fault('the zip archive does not end with its directory (cut, or followed by something else)');
  }
  let [count, total, length, start] = [
    view.getUint16(8, true),
    view.getUint16(10, true),
    view.getUint32(12, true),
    view.getUint32(16, true),
  ];
  let end = size - 22;
  if (view.getUint32(4, true) !== 0 || count !== total) throw fault('the zip archive is one of several disks');
  const locator = size >= 42 ? readAt(size - 42, 20) : new Uint8Array(20);
  const locatorView = new DataView(locator.buffer, locator.byteOffset, 20);
  if (locatorView.getUint32(0, true) === 0x07064b50) {
    const at = safe(locatorView.getBigUint64(8, true), fault);
    if (at + 56 !== size - 42) throw fault('the zip64 record is not where its locator says');
    const record = readAt(at, 56);
    const wide = new DataView(record.buffer, record.byteOffset, 56);
    if (wide.getUint32(0, true) !== 0x06064b50 || wide.getBigUint64(4, true) !== 44n) throw fault('the zip64 record is damaged');
    const values = [32, 40, 48].map((offset) => safe(wide.getBigUint64(offset, true), fault));
    const agree = (narrow: number, most: number, value: number) => narrow === most || narrow === value;
    if (!agree(total, 0xffff, values[0]) || !agree(length, NO_32, values[1]) || !agree(start, NO_32, values[2])) {
      throw fault('the two end records of the zip archive disagree');
    }
    [count, length, start] = values;
    end = at;
  }
  if (start + length !== end) throw fault(`the central directory is said to end at ${start + length}, it ends at ${end}`);
  if (count > MAX_ENTRIES || length > MAX_DIRECTORY)
    throw fault(`${count} entries in ${length} bytes of directory; the limits are ${MAX_ENTRIES} and ${MAX_DIRECTORY}`);
  return { start, end, count };
}

function safe(value: bigint, fault: Fault): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw fault(`${value} is too large for a size or a place in a file`);
  return Number(value);
}

function checkName(bytes: Uint8Array, fault: Fault): string {
  if (firstBadUtf8(bytes) >= 0) throw fault('an entry name is not UTF-8');
  const name = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  const leaves =
    name.startsWith('/') || /[\\:\0]/.test(name) || name.split('/').some((part) => part === '..' || part === '.' || part === '');
  if (name === '' || leaves) throw fault(`entry name ${quote(name)} leaves the archive`);
  return name;
}

/** Sizes that do not fit 32 bits stand in the zip64 field of `extra`, in the order of `fields`. */
function widen(fields: number[], extra: Uint8Array, name: string, fault: Fault): number[] {
  if (!fields.includes(NO_32)) return fields;
  const view = new DataView(extra.buffer, extra.byteOffset, extra.length);
  for (let at = 0; at + 4 <= extra.length; ) {
    const [id, length] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (at + 4 + length > extra.length) break;
    if (id === 1) {
      let next = at + 4;
      return fields.map((value) => {
        if (value !== NO_32) return value;
        if (next + 8 > at + 4 + length) throw fault(`entry ${quote(name)}: its zip64 field is too short`);
        next += 8;
        return safe(view.getBigUint64(next - 8, true), fault);
      });
    }
    at += 4 + length;
  }
  throw fault(`entry ${quote(name)} lacks its zip64 field`);
}

interface Expected {
  name: string;
  header: number;
  length: number;
  crc32: number;
  flags: number;
  /** Where the central directory starts. */
  limit: number;
}

/** The header before the data must tell the same as the directory; with bit 3 its sizes are 0 and a descriptor behind the data has them. */
function checkLocalHeader(
  readAt: ReadAt,
  { name, header, length, crc32, flags, limit }: Expected,
  fault: Fault,
): { data: number; to: number } {
  const say = (what: string) => fault(`entry ${quote(name)}: central directory and local header disagree on the ${what}`);
  if (header + 30 > limit) throw fault(`entry ${quote(name)} lies behind the end of the archive`);
  const fixed = readAt(header, 30);
  const view = new DataView(fixed.buffer, fixed.byteOffset, 30);
  if (view.getUint32(0, true) !== 0x04034b50) throw fault(`entry ${quote(name)} has no local header at ${header}`);
  if (view.getUint16(6, true) !== flags) throw say('flags');
  if (view.getUint16(8, true) !== 0) throw say('method');
  const [nameLength, extraLength] = [view.getUint16(26, true), view.getUint16(28, true)];
  const data = header + 30 + nameLength + extraLength;
  if (data + length > limit) throw fault(`entry ${quote(name)} of ${length} bytes leaves the archive`);
  const rest = readAt(header + 30, nameLength + extraLength);
  if (Buffer.compare(rest.subarray(0, nameLength), new TextEncoder().encode(name)) !== 0) throw say('name');
  const sizes = [view.getUint32(22, true), view.getUint32(18, true)];
  const localCrc = view.getUint32(14, true);
  const later = (flags & 8) !== 0 && localCrc === 0 && (sizes[0] === 0 || sizes[0] === NO_32);
  if (later && length > 0) return { data, to: data + length + checkDescriptor(readAt, data + length, length, crc32, limit, say) };
  const [outside, packed] = widen(sizes, rest.subarray(nameLength), name, fault);
  if (outside !== length || packed !== length) throw say('size');
  if (localCrc !== crc32) throw say('checksum');
  return { data, to: data + length };
}

/** Behind the data: signature, checksum, the size twice, in 32 or 64 bits. Returns its length. */
function checkDescriptor(
  readAt: ReadAt,
  at: number,
  length: number,
  crc32: number,
  limit: number,
  say: (what: string) => CheckpointError,
): number {
  const bytes = readAt(at, Math.min(24, limit - at));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 16 || view.getUint32(0, true) !== 0x08074b50 || view.getUint32(4, true) !== crc32) throw say('checksum');
  if (view.getUint32(8, true) === length && view.getUint32(12, true) === length) return 16;
  if (bytes.length >= 24 && view.getBigUint64(8, true) === BigInt(length) && view.getBigUint64(16, true) === BigInt(length))
    return 24;
  throw say('size');
}

/** Entries follow each other from byte 0 to the directory; a descriptor (16 or 24 bytes) may stand between, nothing else may overlap. */
function checkSpans(spans: { name: string; from: number; to: number }[], directory: number, fault: Fault): void {
  spans.sort((a, b) => a.from - b.from);
  let end = 0;
  for (const { name, from, to } of spans) {
    if (from < end) throw fault(`entry ${quote(name)} overlaps the one before it`);
    if (from - end > 24) throw fault(`${from - end} bytes before entry ${quote(name)} belong to no entry`);
    end = to;
  }
  if (directory - end > 24) throw fault(`${directory - end} bytes before the central directory belong to no entry`);
}
