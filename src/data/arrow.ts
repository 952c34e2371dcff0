/**
 * Arrow IPC, file and stream, a record batch at a time, through apache-arrow. Runs in a process of its own (table.ts).
 *
 * A stream is messages one after the other; a file has its magic before them, and an index with the schema behind:
 *     FF FF FF FF · u32 bytes of the header · header (a flatbuffer; it says how long the body is) · body
 */
import { isUtf8 } from 'node:buffer';
import type { RecordBatch } from 'apache-arrow';
import { allowElements, expansionLimit, MAX_PART_BYTES, type OpenTable, plain, RangeFile, textOrBytes } from './table-limits.ts';
import { FrameWalk } from './zstd.ts';

const ROWS = 8192;
const MAX_HEADER_BYTES = 64 << 20;

export async function openArrow(path: string, only?: readonly string[]): Promise<OpenTable> {
  const arrow = await import('apache-arrow');
  const file = await RangeFile.open(path);
  try {
    await registerCodecs(file.byteLength);
    const head = Buffer.from(await file.slice(0, Math.min(6, file.byteLength)));
    const isFile = head.toString('latin1') === 'ARROW1';
    const state = { at: 0, bodyBytes: file.byteLength };
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
          if (batch.numRows > 8 * state.bodyBytes + ROWS) throw new Error(`${batch.numRows} rows in ${state.bodyBytes} bytes`);
          done++;
          allowElements(state.bodyBytes);
          const share = isFile ? done / batchCount : state.at / file.byteLength;
          const read = columns.map((name, c) => (wanted.has(name) ? columnReader(batch, c) : undefined));
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
function columnReader(batch: RecordBatch, column: number): (i: number) => unknown {
  const vector = batch.getChildAt(column)!;
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
async function registerCodecs(fileBytes: number): Promise<void> {
  const [{ compressionRegistry, CompressionType }, { decompress }, { compressors }] = await Promise.all([
    import('apache-arrow'),
    import('fzstd'),
    import('hyparquet-compressors'),
  ]);
  const count = expansionLimit(fileBytes);
  compressionRegistry.set(CompressionType.ZSTD, {
    decode(bytes) {
      const walk = new FrameWalk('buffer');
      walk.add(bytes);
      walk.end();
      const out = decompress(bytes);
      count(out.length);
      return out;
    },
  });
  compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: (bytes) => lz4Frame(bytes, compressors.LZ4_RAW!, count) });
}

/** An LZ4 frame of independent or linked blocks (LZ4 frame format 1.6.2): linked ones would need the output before them, so all blocks decode into one buffer. */
function lz4Frame(
  bytes: Uint8Array,
  block: (input: Uint8Array, length: number) => Uint8Array,
  count: (bytes: number) => void,
): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== 0x184d2204) throw new Error('no LZ4 frame');
  const flags = bytes[4];
  if (flags >> 6 !== 1 || (flags & 1) === 1) throw new Error('an LZ4 frame of another version, or with a dictionary');
  const independent = (flags & 32) !== 0;
  const maxBlock = [0, 0, 0, 0, 64 << 10, 256 << 10, 1 << 20, 4 << 20][(bytes[5] >> 4) & 7];
  if (maxBlock === 0) throw new Error('an LZ4 frame with blocks of no size');
  let at = 6 + ((flags & 8) !== 0 ? 8 : 0) + 1;
  const parts: Uint8Array[] = [];
  for (;;) {
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0) break;
    const length = size & 0x7fffffff;
    if (at + length > bytes.length) throw new Error('an LZ4 block that is cut');
    const input = bytes.subarray(at, at + length);
    at += length + ((flags & 16) !== 0 ? 4 : 0);
    if (size >>> 31) {
      count(length);
      parts.push(input);
      continue;
    }
    if (!independent && parts.length > 0) throw new Error('LZ4 blocks that depend on one another');
    const outputLength = lz4Length(input);
    if (outputLength > maxBlock) throw new Error(`an LZ4 block of ${outputLength} bytes`);
    count(outputLength);
    parts.push(block(input, outputLength));
  }
  return Buffer.concat(parts);
}

/** Bytes that an LZ4 block stands for. */
function lz4Length(input: Uint8Array): number {
  let length = 0;
  for (let i = 0; i < input.length; ) {
    const token = input[i++];
    let literals = token >> 4;
    if (literals === 15) for (let more = 255; more === 255; literals += more) more = input[i++] ?? 0;
    length += literals;
    i += literals + 2;
    if (i > input.length) break; // the last sequence has no match
    let match = token & 15;
    if (match === 15) for (let more = 255; more === 255; match += more) more = input[i++] ?? 0;
    length += match + 4;
  }
  return length;
}
