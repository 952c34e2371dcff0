import { CheckpointError, quote } from './checkpoint-error.ts';
import { crc32c, maskedCrc32c } from './crc32c.ts';

// LevelDB's sorted table, in which TensorFlow keeps the index of a checkpoint. Blocks of entries, each with a checksum; an entry's key says how
// many bytes it shares with the one before; one more block lists the blocks; the last 48 bytes say where that one is.

const FOOTER = 48;
const MAGIC = 0xdb4775248b80fb57n;
const TRAILER = 5; // kind of compression, CRC

const fault = (file: string, detail: string) =>
  new CheckpointError('TF_INDEX', file, detail, 'This is not the index of a TensorFlow checkpoint, or it is damaged');

/** Reads numbers from a message; every length is held against the bytes that are left. */
export class ByteCursor {
  at = 0;
  constructor(
    readonly bytes: Uint8Array,
    readonly file: string,
  ) {}

  get left(): number {
    return this.bytes.length - this.at;
  }
  /** Seven bits a byte, the low ones first. @throws CheckpointError TF_INDEX when it has no end, INT_OVERFLOW above 2⁵³ − 1 */
  varint(what: string): number {
    let value = 0;
    for (let scale = 1, i = 0; i < 10; i++, scale *= 128) {
      if (this.left === 0) break;
      const byte = this.bytes[this.at++];
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) throw new CheckpointError('INT_OVERFLOW', this.file, `${what} is above 2⁵³ − 1`);
        return value;
      }
    }
    throw fault(this.file, `${what} has no end`);
  }
  take(n: number, what: string): Uint8Array {
    if (n > this.left) throw fault(this.file, `${what} claims ${n} bytes, ${this.left} follow`);
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }
}

/**
 * The entries of a table in memory, keys strictly ascending.
 * @throws CheckpointError TF_INDEX (damaged), CORRUPT (checksum), LIMIT (more than `maxEntries`, keys above 1024 bytes)
 */
export function readSortedTable(bytes: Uint8Array, file: string, maxEntries: number): [key: Uint8Array, value: Uint8Array][] {
  if (bytes.length < FOOTER) throw fault(file, `the file has ${bytes.length} bytes; a table ends with ${FOOTER}`);
  const footer = new ByteCursor(bytes.subarray(bytes.length - FOOTER), file);
  const magic = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 8, 8).getBigUint64(0, true);
  if (magic !== MAGIC) throw fault(file, 'the mark at its end is missing');
  const meta = handle(footer, file);
  const index = handle(footer, file);
  block(bytes, meta, file);
  const entries: [Uint8Array, Uint8Array][] = [];
  let end = 0;
  for (const [last, value] of block(bytes, index, file, maxEntries)) {
    const where = new ByteCursor(value, file);
    const at = handle(where, file);
    if (where.left > 0) throw fault(file, 'bytes follow the place of a block');
    if (at.offset < end) throw fault(file, `a block at byte ${at.offset} lies over the one before, which ends at ${end}`);
    end = at.offset + at.size + TRAILER;
    if (end > index.offset) throw fault(file, `a block ends at byte ${end}, behind the list of blocks`);
    for (const entry of block(bytes, at, file, maxEntries - entries.length)) {
      const before = entries.at(-1)?.[0];
      if (before && compare(before, entry[0]) >= 0) throw fault(file, `key ${say(entry[0])} comes after ${say(before)}`);
      entries.push(entry);
    }
    if (entries.length > 0 && compare(entries.at(-1)![0], last) > 0)
      throw fault(file, `a block is listed up to ${say(last)}, and holds ${say(entries.at(-1)![0])}`);
  }
  return entries;
}

interface Handle {
  offset: number;
  size: number;
}

const handle = (from: ByteCursor, _file: string): Handle => ({
  offset: from.varint('the place of a block'),
  size: from.varint('the size of a block'),
});

/** Entries of one block. The restart points at its end are for searching; they must fit the entries all the same. */
function block(bytes: Uint8Array, { offset, size }: Handle, file: string, maxEntries = 0): [Uint8Array, Uint8Array][] {
  const end = offset + size + TRAILER;
  if (end > bytes.length - FOOTER) throw fault(file, `a block ends at byte ${end}, the table at ${bytes.length - FOOTER}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, size + TRAILER);
  const kind = bytes[offset + size];
  if (kind !== 0) {
    const detail = `a block is compressed (kind ${kind}), which TensorFlow's own writer does not do`;
    throw new CheckpointError('TF_INDEX', file, detail, 'Save the checkpoint again with a current TensorFlow');
  }
  if (maskedCrc32c(crc32c(bytes.subarray(offset, offset + size + 1))) !== view.getUint32(size + 1, true))
    throw new CheckpointError('CORRUPT', file, `the checksum of the block at byte ${offset} is wrong`, 'Download it again');
  const restarts = size >= 4 ? view.getUint32(size - 4, true) : 0;
  const body = size - 4 - 4 * restarts;
  if (restarts < 1 || body < 0) throw fault(file, `a block of ${size} bytes claims ${restarts} restart points`);

  const cursor = new ByteCursor(bytes.subarray(offset, offset + body), file);
  const entries: [Uint8Array, Uint8Array][] = [];
  let key: Uint8Array = new Uint8Array();
  let restart = 0;
  while (cursor.left > 0) {
    const start = cursor.at;
    const shared = cursor.varint('a shared length');
    const unshared = cursor.varint('a key length');
    const valueLength = cursor.varint('a value length');
    if (restart < restarts && view.getUint32(body + 4 * restart, true) === start) {
      if (shared !== 0) throw fault(file, 'a restart point lies on a key that is not whole');
      restart++;
    }
    if (shared > key.length) throw fault(file, `a key shares ${shared} bytes with one of ${key.length}`);
    if (shared + unshared > 1024)
      throw new CheckpointError('LIMIT', file, `a key of ${shared + unshared} bytes; the limit is 1024`);
    if (entries.length === maxEntries)
      throw new CheckpointError('LIMIT', file, `more than ${maxEntries} entries in the index; the limit is 100000 tensors`);
    const next = new Uint8Array(shared + unshared);
    next.set(key.subarray(0, shared));
    next.set(cursor.take(unshared, 'a key'), shared);
    entries.push([(key = next), cursor.take(valueLength, 'a value')]);
  }
  if (entries.length > 0 ? restart !== restarts : view.getUint32(body, true) !== 0)
    throw fault(file, `${restarts - restart} restart points lie between entries`);
  return entries;
}

function compare(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}
const say = (key: Uint8Array) => quote(Buffer.from(key).toString('latin1'));
