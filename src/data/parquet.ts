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
import { checkFooter, checkPages } from './parquet-pages.ts';
import { FrameWalk } from './zstd.ts';

/** Rows are many and short, or few and long: a stretch has at most this many. */
const BATCH_ROWS = 16_384;

/** Opens the file and reads its footer. Columns that are not named are neither read nor decoded. */
export async function openParquet(path: string, only?: readonly string[]): Promise<OpenTable> {
  const file = await RangeFile.open(path);
  try {
    if (file.byteLength < 12) throw new Error('it is too short');
    const footerBytes = new DataView(await file.slice(file.byteLength - 8)).getUint32(0, true);
    if (footerBytes > file.byteLength - 12) throw new Error(`a footer of ${footerBytes} bytes, the file has ${file.byteLength}`);
    checkFooter(new Uint8Array(await file.slice(file.byteLength - 8 - footerBytes, file.byteLength - 8)));
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
  columns: { name: string; bytes: number; from: number; to: number }[];
}

/** The row groups, once nothing in the footer contradicts the file. */
function checkedGroups(metadata: FileMetaData, fileBytes: number): Group[] {
  let inAll = 0;
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
      const from = Number(m.dictionary_page_offset || m.data_page_offset);
      const to = from + Number(m.total_compressed_size);
      inAll += to - from;
      // Columns lie one behind the other: none is read twice.
      if (to > fileBytes || inAll > fileBytes) throw new Error(`the columns of ${g + 1} row groups lie outside of the file`);
      return { name: m.path_in_schema[0], bytes, from, to };
    });
    if (columns.length === 0 && rows > 0) throw new Error(`row group ${g} has ${rows} rows and no column`);
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
  const schema = parquetSchema(metadata);
  const roundings = new Map(schema.children.map((c) => [c.element.name, rounding(c)]));
  let before = 0;
  for (const [g, group] of groups.entries()) {
    const { rows, columns } = group;
    await checkColumns(file, metadata.row_groups[g], schema, group, only, compressors);
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

/** The pages of the columns that will be read, before the decoder believes them. */
async function checkColumns(
  file: RangeFile,
  told: FileMetaData['row_groups'][number],
  schema: SchemaTree,
  { rows, columns }: Group,
  only: readonly string[] | undefined,
  compressors: Compressors,
): Promise<void> {
  for (const [c, { name, from, to }] of columns.entries()) {
    if (only && !only.includes(name)) continue;
    const { type, codec, num_values, path_in_schema } = told.columns[c].meta_data!;
    const path = pathOf(schema, path_in_schema);
    const decompress = compressors[codec];
    checkPages(new Uint8Array(await file.slice(from, to)), {
      type,
      typeLength: path.at(-1)!.element.type_length ?? 0,
      maxRepetition: path.filter(({ element }) => element.repetition_type === 'REPEATED').length,
      maxDefinition: path.filter(({ element }) => element.repetition_type !== 'REQUIRED').length,
      flat: path.length === 1 && path[0].element.repetition_type !== 'REPEATED',
      values: Number(num_values),
      rows,
      decompress: (bytes, length) => {
        const page = codec === 'UNCOMPRESSED' || !decompress ? bytes : decompress(bytes, length);
        if (page.length !== length) throw new Error(`a page of ${page.length} bytes that should have ${length}`);
        return page;
      },
    });
  }
}

/** The schema's elements down to a column, without its root. */
function pathOf(root: SchemaTree, names: readonly string[]): SchemaTree[] {
  const path: SchemaTree[] = [];
  let at: SchemaTree | undefined = root;
  for (const name of names) {
    at = at.children.find((child) => child.element.name === name);
    if (!at) throw new Error(`column ${names.join('.')} is not in the schema`);
    path.push(at);
  }
  if (path.length === 0) throw new Error('a column without a name');
  return path;
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

/** Decompressors that give no more than the page says, than their format can make of so few bytes (`most` of each), and than the limit in all. */
function limitedCompressors(fileBytes: number): Compressors {
  const count = expansionLimit(2 * fileBytes); // pages are looked at before they are read
  const limited =
    (decompress: (input: Uint8Array, length: number) => Uint8Array, most = Number.POSITIVE_INFINITY) =>
    (input: Uint8Array, length: number): Uint8Array => {
      count(length);
      if (length > most * input.length + 64) throw new Error(`a page of ${input.length} bytes that would become ${length}`);
      // A page of no value: some programs compress nothing into a byte, which the LZ4 decoder takes for a cut block.
      return length === 0 ? new Uint8Array() : decompress(input, length);
    };
  return {
    GZIP: limited((input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) }), 1040),
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
    }, 22),
    LZ4: limited(published.LZ4!, 256),
    LZ4_RAW: limited(published.LZ4_RAW!, 256),
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
