/**
 * Arrow IPC, file and stream, a record batch at a time, through apache-arrow. Runs in a process of its own (table.ts).
 *
 * A stream is messages one after the other; a file has its magic before them, and an index with the schema behind:
 *     FF FF FF FF · u32 bytes of the header · header (a flatbuffer; it says how long the body is) · body
 */
import { isUtf8 } from 'node:buffer';
import type { DataType, RecordBatch } from 'apache-arrow';
import { checkFooter, checkMessage } from './flatbuffers.ts';
import {
  allowElements,
  elements,
  expansionLimit,
  MAX_PART_BYTES,
  type OpenTable,
  plain,
  RangeFile,
  textOrBytes,
} from './table-limits.ts';
import { FrameWalk } from './zstd.ts';

const ROWS = 8192;
const MAX_HEADER_BYTES = 64 << 20;

export async function openArrow(path: string, only?: readonly string[]): Promise<OpenTable> {
  const arrow = await import('apache-arrow');
  const file = await RangeFile.open(path);
  try {
    const head = Buffer.from(await file.slice(0, Math.min(6, file.byteLength)));
    const isFile = head.toString('latin1') === 'ARROW1';
    const state = { at: 0, bodyBytes: file.byteLength };
    let unpacked = 0;
    await registerCodecs(file.byteLength, (bytes) => {
      unpacked += bytes;
    });
    if (isFile) await checkFile(file);
    const reader = await (isFile
      ? arrow.RecordBatchReader.from(file.handle)
      : arrow.RecordBatchReader.from(messages(file, state)));
    await reader.open({ autoDestroy: false });
    const batchCount = isFile ? (reader as unknown as { numRecordBatches: number }).numRecordBatches : 0;
    const columns = reader.schema.fields.map((f) => f.name);
    const wanted = new Set(only ?? columns);
    return {
      columns,
      rows: -1,
      async *batches() {
        let done = 0;
        for await (const batch of reader) {
          const bytes = state.bodyBytes + unpacked;
          unpacked = 0;
          if (batch.numRows > 8 * bytes + ROWS) throw new Error(`${batch.numRows} rows in ${bytes} bytes`);
          done++;
          allowElements(bytes);
          const share = isFile ? done / batchCount : state.at / file.byteLength;
          const read = columns.map((name, c) => (wanted.has(name) ? columnReader(batch, c, arrow.DataType) : undefined));
          for (let from = 0; from < batch.numRows; from += ROWS) {
            const rows: Record<string, unknown>[] = [];
            for (let i = from; i < Math.min(from + ROWS, batch.numRows); i++) {
              const row: Record<string, unknown> = {};
              for (const [c, get] of read.entries()) if (get) row[columns[c]] = get(i);
              rows.push(row);
            }
            yield { rows, share };
          }
          await file.check();
        }
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

type Buffers = { values?: Uint8Array; valueOffsets?: Int32Array | BigInt64Array; length: number };

/** The values of one column; text is checked as bytes, all of a batch at once. */
function columnReader(batch: RecordBatch, column: number, is: typeof DataType): (i: number) => unknown {
  const vector = batch.getChildAt(column)!;
  const convert = converter(vector.type, is);
  if (convert) return (i) => convert(vector.get(i));
  const [data] = vector.data;
  // A dictionary has numbers as its values and the texts behind them.
  const texts = (vector.type as { dictionary?: unknown }).dictionary
    ? ((data as unknown as { dictionary: { data: Buffers[] } }).dictionary?.data ?? [])
    : [data as unknown as Buffers];
  const isText = /(^|, )(Large)?Utf8(>|$)/.test(String(vector.type));
  if (!isText || texts.every(({ values, valueOffsets }) => !values || !valueOffsets || isUtf8(values)))
    return (i) => plain(vector.get(i));
  const textAt = (i: number): string | Uint8Array => {
    for (const { values, valueOffsets, length } of texts) {
      if (i < length) return textOrBytes(values!.subarray(Number(valueOffsets![i]), Number(valueOffsets![i + 1])));
      i -= length;
    }
    throw new Error('a text outside of its dictionary');
  };
  const codes = texts[0] === (data as unknown) ? undefined : (data as unknown as { values: ArrayLike<number | bigint> }).values;
  return (i) => (vector.isValid(i) ? textAt(codes ? Number(codes[i]) : i) : null);
}

type Convert = (value: unknown) => unknown;

/** For types that apache-arrow gives as bare numbers, and those that hold them: dates and timestamps (milliseconds) as ISO 8601, decimals as numbers. */
function converter(type: DataType, is: typeof DataType): Convert | undefined {
  const given =
    (convert: Convert): Convert =>
    (v) =>
      v === null || v === undefined ? null : convert(v);
  if (is.isDate(type) || is.isTimestamp(type)) return given((v) => plain(new Date(Number(v))));
  if (is.isDecimal(type)) return given((v) => decimal(v as Uint32Array, type.scale));
  if (is.isDictionary(type)) return converter(type.dictionary, is);
  if (is.isList(type) || is.isFixedSizeList(type)) {
    const element = converter(type.children[0].type, is);
    return element && given((v) => Array.from(elements(v as Iterable<unknown>), element));
  }
  if (is.isStruct(type)) {
    const fields = type.children.map((field) => [field.name, converter(field.type, is) ?? plain] as const);
    if (fields.every(([, convert]) => convert === plain)) return undefined;
    return given((v) =>
      Object.fromEntries(fields.map(([name, convert]) => [name, convert((v as Record<string, unknown>)[name])])),
    );
  }
  return undefined;
}

/** Two's complement of 128 or 256 bits, the lowest word first. */
function decimal(words: Uint32Array, scale: number): number {
  const bits = words.reduceRight((n, word) => (n << 32n) | BigInt(word), 0n);
  return Number(BigInt.asIntN(32 * words.length, bits)) / 10 ** scale;
}

/** The messages as one stream, each whole, once its lengths were found to be inside the file. */
async function* messages(file: RangeFile, state: { at: number; bodyBytes: number }): AsyncGenerator<Uint8Array> {
  let at = 0;
  let first = true;
  while (at + 8 <= file.byteLength) {
    const prefix = new DataView(await file.slice(at, at + 8));
    // Before Arrow 0.15 there was no marker, only the length.
    const marked = prefix.getUint32(0, true) === 0xffffffff;
    if (!marked)
      throw new Error(first ? 'it does not begin like Arrow IPC, or is older than Arrow 0.15' : `no message at byte ${at}`);
    const headerBytes = prefix.getInt32(4, true);
    if (headerBytes === 0) break; // end of the stream
    if (headerBytes < 0 || headerBytes > MAX_HEADER_BYTES || at + 8 + headerBytes > file.byteLength)
      throw new Error(`a message of ${headerBytes} bytes at byte ${at}, the file has ${file.byteLength}`);
    const header = new DataView(await file.slice(at + 8, at + 8 + headerBytes));
    const bodyBytes = bodyLength(header);
    checkMessage(new Uint8Array(header.buffer), bodyBytes);
    const end = at + 8 + headerBytes + bodyBytes;
    if (bodyBytes < 0 || bodyBytes > MAX_PART_BYTES || end > file.byteLength)
      throw new Error(`a message with ${bodyBytes} bytes at byte ${at}, the file has ${file.byteLength}`);
    state.at = end;
    state.bodyBytes = bodyBytes;
    yield new Uint8Array(await file.slice(at, end));
    at = end;
    first = false;
  }
  if (first) throw new Error('it has no message');
}

/** The footer of a file and the header of each message that it names; their bodies have their places in the file, none of them twice. */
async function checkFile(file: RangeFile): Promise<void> {
  const end = file.byteLength - 10; // i32 bytes of the footer, and the magic
  const footerBytes = end < 8 ? -1 : new DataView(await file.slice(end, end + 4)).getInt32(0, true);
  if (!(footerBytes > 0 && footerBytes <= Math.min(end - 8, MAX_HEADER_BYTES)))
    throw new Error(`a footer of ${footerBytes} bytes, the file has ${file.byteLength}`);
  let inAll = 0;
  for (const { at, kind } of checkFooter(new Uint8Array(await file.slice(end - footerBytes, end)))) {
    const prefix = new DataView(await file.slice(at, at + 8));
    const from = prefix.getUint32(0, true) === 0xffffffff ? 8 : 4;
    const headerBytes = prefix.getInt32(from - 4, true);
    if (headerBytes <= 0 || headerBytes > MAX_HEADER_BYTES) throw new Error(`a message of ${headerBytes} bytes at byte ${at}`);
    const header = new DataView(await file.slice(at + from, at + from + headerBytes));
    const bodyBytes = bodyLength(header);
    // Where another message lies, its reader looks for the right one without end.
    const is = checkMessage(new Uint8Array(header.buffer), bodyBytes);
    if (is !== kind) throw new Error(`a message of type ${is} at byte ${at}, not of type ${kind}`);
    inAll += headerBytes + bodyBytes;
    if (bodyBytes < 0 || bodyBytes > MAX_PART_BYTES || inAll > file.byteLength)
      throw new Error(`a message with ${bodyBytes} bytes at byte ${at}, the file has ${file.byteLength}`);
  }
}

/** Field 3 of the flatbuffer table `Message`: bodyLength, i64. */
function bodyLength(header: DataView): number {
  const table = header.getUint32(0, true);
  const vtable = table - header.getInt32(table, true);
  const size = header.getUint16(vtable, true);
  const place = size >= 12 ? header.getUint16(vtable + 10, true) : 0;
  const length = place === 0 ? 0n : header.getBigInt64(table + place, true);
  return length > BigInt(Number.MAX_SAFE_INTEGER) || length < 0n ? -1 : Number(length);
}

/** Buffers may be compressed one by one (Feather files are): Zstandard, and LZ4 frames. */
async function registerCodecs(fileBytes: number, unpacked: (bytes: number) => void): Promise<void> {
  const [{ compressionRegistry, CompressionType }, { decompress }] = await Promise.all([import('apache-arrow'), import('fzstd')]);
  const limit = expansionLimit(fileBytes);
  const count = (bytes: number) => {
    limit(bytes);
    unpacked(bytes);
  };
  compressionRegistry.set(CompressionType.ZSTD, {
    decode(bytes) {
      const walk = new FrameWalk('buffer', Math.max(8 << 20, 1000 * bytes.length));
      walk.add(bytes);
      walk.end();
      const out = decompress(bytes);
      count(out.length);
      return out.slice(); // numbers lie in it: it has to begin at a multiple of eight bytes
    },
  });
  compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: (bytes) => lz4Frame(bytes, count) });
}

/** An LZ4 frame (frame format 1.6.2) of blocks, which may refer to what is before them. Lengths are found first, so that all decode into one buffer. */
function lz4Frame(bytes: Uint8Array, count: (bytes: number) => void): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== 0x184d2204) throw new Error('no LZ4 frame');
  const flags = bytes[4];
  if (flags >> 6 !== 1 || (flags & 1) === 1) throw new Error('an LZ4 frame of another version, or with a dictionary');
  const maxBlock = [0, 0, 0, 0, 64 << 10, 256 << 10, 1 << 20, 4 << 20][(bytes[5] >> 4) & 7];
  if (maxBlock === 0) throw new Error('an LZ4 frame with blocks of no size');
  let at = 6 + ((flags & 8) !== 0 ? 8 : 0) + 1;
  const blocks: { input: Uint8Array; stored: boolean }[] = [];
  let total = 0;
  for (let size = view.getUint32(at, true); size !== 0; size = view.getUint32(at, true)) {
    at += 4;
    const end = at + (size & 0x7fffffff);
    if (end > bytes.length) throw new Error('an LZ4 block that is cut');
    const input = bytes.subarray(at, end);
    at = end + ((flags & 16) !== 0 ? 4 : 0);
    const stored = size >>> 31 === 1;
    const length = stored ? input.length : lz4Block(input);
    if (length > maxBlock) throw new Error(`an LZ4 block of ${length} bytes`);
    count(length);
    total += length;
    blocks.push({ input, stored });
  }
  const output = new Uint8Array(total);
  let to = 0;
  for (const { input, stored } of blocks) {
    if (stored) output.set(input, to);
    to += stored ? input.length : lz4Block(input, output, to);
  }
  return output;
}

/** Decodes an LZ4 block to `output` from `to` on, or only counts; the bytes that it stands for. */
function lz4Block(input: Uint8Array, output?: Uint8Array, to = 0): number {
  let [i, o] = [0, to];
  const extended = (length: number): number => {
    if (length === 15)
      for (let more = 255; more === 255; length += more) {
        if (i >= input.length) throw new Error('an LZ4 block that is cut');
        more = input[i++];
      }
    return length;
  };
  while (i < input.length) {
    const token = input[i++];
    const literals = extended(token >> 4);
    if (i + literals > input.length) throw new Error('an LZ4 block that is cut');
    output?.set(input.subarray(i, i + literals), o);
    i += literals;
    o += literals;
    if (i >= input.length) break; // the last sequence has no match
    const distance = input[i] | (input[i + 1] << 8);
    i += 2;
    const match = 4 + extended(token & 15);
    if (output) {
      if (distance === 0 || distance > o) throw new Error('an LZ4 match before the beginning');
      for (let k = 0; k < match; k++) output[o + k] = output[o + k - distance];
    }
    o += match;
  }
  return o - to;
}
