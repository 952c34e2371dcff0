/** Parquet, a stretch of a row group at a time, through hyparquet. Runs in a process of its own (table.ts). */
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import {
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type SchemaTree,
} from 'hyparquet';
import { compressors as published } from 'hyparquet-compressors';
import { allowElements, BATCH_BYTES, expansionLimit, type OpenTable, plain, RangeFile, textOrBytes } from './table-limits.ts';
import { FrameWalk } from './zstd.ts';

/** Rows are many and short, or few and long: a stretch has at most this many. */
const BATCH_ROWS = 16_384;

/** Opens the file and reads its footer. Columns that are not named are neither read nor decoded. */
export async function openParquet(path: string, only?: readonly string[]): Promise<OpenTable> {
  const file = await RangeFile.open(path);
  try {
    if (file.byteLength < 12) throw new Error('it is too short');
    const metadata = await parquetMetadataAsync(file);
    const columns = parquetSchema(metadata).children.map((c) => c.element.name);
    const groups = checkedGroups(metadata, file.byteLength);
    const rows = groups.reduce((sum, g) => sum + g.rows, 0);
    const wanted = only?.filter((c) => columns.includes(c));
    return {
      columns,
      rows,
      batches: () => batches(file, metadata, groups, wanted),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface Group {
  rows: number;
  columns: { name: string; bytes: number }[];
}

/** The row groups, once nothing in the footer contradicts the file. */
function checkedGroups(metadata: FileMetaData, fileBytes: number): Group[] {
  return metadata.row_groups.map((group, g) => {
    const rows = Number(group.num_rows);
    const inFile = (n: unknown) => Number.isSafeInteger(Number(n)) && Number(n) >= 0 && Number(n) <= fileBytes;
    if (!(Number.isSafeInteger(rows) && rows >= 0)) throw new Error(`row group ${g} has ${rows} rows`);
    const columns = group.columns.map(({ meta_data: m, file_path }) => {
      if (file_path) throw new Error('its columns lie in another file');
      if (!m) throw new Error(`a column of row group ${g} is not described`);
      if (!inFile(m.data_page_offset) || !inFile(m.total_compressed_size) || !inFile(m.dictionary_page_offset ?? 0))
        throw new Error(`column ${m.path_in_schema.join('.')} of row group ${g} lies outside of the file`);
      const bytes = Number(m.total_uncompressed_size);
      if (!(Number.isSafeInteger(bytes) && bytes >= 0)) throw new Error(`a column of ${bytes} bytes`);
      return { name: m.path_in_schema[0], bytes };
    });
    return { rows, columns };
  });
}

async function* batches(file: RangeFile, metadata: FileMetaData, groups: Group[], only: readonly string[] | undefined) {
  const compressors = limitedCompressors(file.byteLength);
  const total = Math.max(
    1,
    groups.reduce((sum, g) => sum + g.rows, 0),
  );
  if (only?.length === 0) {
    for (let done = 0; done < total; done += BATCH_ROWS)
      yield { rows: Array.from({ length: Math.min(BATCH_ROWS, total - done) }, () => ({})), share: done / total };
    return;
  }
  const roundings = new Map(parquetSchema(metadata).children.map((c) => [c.element.name, rounding(c)]));
  let before = 0;
  for (const { rows, columns } of groups) {
    const bytes = columns.reduce((sum, c) => sum + (only && !only.includes(c.name) ? 0 : c.bytes), 0);
    const step = Math.max(1, Math.min(BATCH_ROWS, rows, Math.floor(rows * Math.min(1, BATCH_BYTES / Math.max(1, bytes)))));
    // A group is read in several stretches: its bytes are fetched once.
    const held = holdingLast(file);
    for (let from = 0; from < rows; from += step) {
      const to = Math.min(rows, from + step);
      const read = await parquetReadObjects({
        file: held,
        metadata,
        rowStart: before + from,
        rowEnd: before + to,
        compressors,
        useOffsetIndex: true,
        parsers: { stringFromBytes: (b: Uint8Array) => b && (textOrBytes(b) as string) },
        ...(only ? { columns: [...only] } : {}),
      });
      if (read.length !== to - from) throw new Error(`row group with ${rows} rows gave ${read.length} for ${to - from}`);
      await file.check();
      allowElements(Math.max(bytes, file.byteLength));
      const valueIn = (name: string, value: unknown) => plain((roundings.get(name) ?? ((v) => v))(value));
      const plainRows = read.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, valueIn(k, v)])));
      yield { rows: plainRows, share: (before + to) / total };
    }
    before += rows;
  }
}

/** For columns with decimals in them: hyparquet multiplies by 10⁻ˢᶜᵃˡᵉ, which is off in the last digit. */
function rounding({ element, children }: SchemaTree): ((value: unknown) => unknown) | undefined {
  const own = children.length === 0 && element.converted_type === 'DECIMAL' ? (element.scale ?? 0) : undefined;
  const inside = children.map((c) => [c.element.name, rounding(c)] as const).filter(([, round]) => round);
  if (own === undefined && inside.length === 0) return undefined;
  const round = (value: unknown): unknown => {
    if (typeof value === 'number' && own !== undefined)
      return Math.abs(value) < 1e21 ? Number(value.toFixed(Math.min(100, own))) : value;
    if (Array.isArray(value)) return value.map(round);
    if (typeof value !== 'object' || value === null || value instanceof Date || value instanceof Uint8Array) return value;
    return {
      ...value,
      ...Object.fromEntries(inside.flatMap(([k, r]) => (k in value ? [[k, r!((value as Record<string, unknown>)[k])]] : []))),
    };
  };
  if (element.converted_type !== 'LIST') return round;
  // A list's values are arrays of its innermost level's.
  const [middle] = children;
  const item = middle.children.length === 1 ? rounding(middle.children[0]) : rounding(middle);
  return (value) => (Array.isArray(value) ? value.map((v) => item?.(v) ?? v) : value);
}

/** The file, with the last ranges that were read. */
function holdingLast(file: RangeFile) {
  const held = new Map<string, Promise<ArrayBuffer>>();
  return {
    byteLength: file.byteLength,
    slice(from: number, to?: number): Promise<ArrayBuffer> {
      const key = `${from} ${to}`;
      const range = held.get(key) ?? file.slice(from, to);
      held.set(key, range);
      if (held.size > 64) held.delete(held.keys().next().value!);
      range.catch(() => {});
      return range;
    },
  };
}

/** Decompressors that give no more than the page says, and no more than the limit in all. */
function limitedCompressors(fileBytes: number): Compressors {
  const count = expansionLimit(fileBytes);
  const limited =
    (decompress: (input: Uint8Array, length: number) => Uint8Array) =>
    (input: Uint8Array, length: number): Uint8Array => {
      count(length);
      // A page of no value: some programs compress nothing into a byte, which the LZ4 decoder takes for a cut block.
      return length === 0 ? new Uint8Array() : decompress(input, length);
    };
  return {
    GZIP: limited((input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) })),
    BROTLI: limited((input, length) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) })),
    ZSTD: limited((input, length) => {
      const walk = new FrameWalk('page', Math.max(1 << 20, 2 * length));
      walk.add(input);
      walk.end();
      return published.ZSTD!(input, length);
    }),
    SNAPPY: limited((input, length) => {
      if (snappyLength(input) !== length) throw new Error(`a Snappy page of another length than its ${length} bytes`);
      return published.SNAPPY!(input, length);
    }),
    LZ4: limited(published.LZ4!),
    LZ4_RAW: limited(published.LZ4_RAW!),
  };
}

/** The length that a Snappy block announces. */
function snappyLength(input: Uint8Array): number {
  let length = 0;
  for (let i = 0; i < 5; i++) {
    length += (input[i] & 127) * 2 ** (7 * i);
    if (input[i] < 128) break;
  }
  return length;
}
