/**
 * Whether the pages of a Parquet column hold as many values as they say. The decoder takes a count at its word: a run of four bytes may ask for 2³⁰ values, a
 * page of ten for 2³¹. Here the runs, levels and lengths of each page are added up first, without decoding a value.
 *
 * Format: parquet-format, "Data Pages", "RLE / Bit-Packing Hybrid", "Delta Encoding"; headers are Thrift structs in its compact protocol.
 */

/** A column of one row group, as far as its pages can contradict it. */
export interface Chunk {
  type: string;
  typeLength: number;
  maxRepetition: number;
  maxDefinition: number;
  /** No lists, no structs: a value a row. */
  flat: boolean;
  values: number;
  rows: number;
  /** The page's bytes; its argument is as it lies in the file, and of what length it should become. */
  decompress: (bytes: Uint8Array, length: number) => Uint8Array;
}

/** Values that a run may have beyond the last one: writers fill up groups of eight, some of them many. */
const PADDING = 512;
const MAX_PAGE_VALUES = 2 ** 26;
/** Values in a block of deltas; programs write 128 to 2048. */
const MAX_BLOCK = 8192;

/** Throws when the pages in these bytes do not have what the chunk, and they themselves, say. */
export function checkPages(bytes: Uint8Array, chunk: Chunk): void {
  if (chunk.flat ? chunk.values !== chunk.rows : chunk.rows > chunk.values)
    throw new Error(`${chunk.values} values in ${chunk.rows} rows`);
  let seen = 0;
  let at = 0;
  while (at < bytes.length - 1 && (!chunk.flat || seen < chunk.rows)) {
    const { header, end } = pageHeader(bytes, at);
    const size = number(header[3]);
    if (!(size >= 0 && size <= bytes.length - end))
      throw new Error(`a page of ${size} bytes where ${bytes.length - end} are left`);
    const body = bytes.subarray(end, end + size);
    const length = number(header[2]);
    if (!(length >= 0)) throw new Error(`a page of ${length} bytes`);
    const [v1, dictionary, v2] = [header[5], header[7], header[8]].map((h) => (typeof h === 'object' ? h : undefined));
    if (header[1] === 0 && v1) seen += dataPage(chunk.decompress(body, length), v1, chunk);
    else if (header[1] === 3 && v2) seen += dataPageV2(body, length, v2, chunk);
    else if (header[1] === 2 && dictionary)
      plain(chunk.decompress(body, length).length, count(dictionary[1], MAX_PAGE_VALUES), chunk);
    else throw new Error(`a page of type ${String(header[1])}`);
    if (seen > chunk.values) throw new Error(`more than the ${chunk.values} values of its column in its pages`);
    at = end + size;
  }
  if (seen !== chunk.values) throw new Error(`${seen} of the ${chunk.values} values of a column in its pages`);
}

const ENCODINGS = { plain: 0, plainDictionary: 2, rle: 3, delta: 5, deltaLength: 6, deltaBytes: 7, dictionary: 8, split: 9 };

function dataPage(page: Uint8Array, header: Thrift, chunk: Chunk): number {
  const values = count(header[1], MAX_PAGE_VALUES);
  let at = 0;
  let given = values;
  for (const most of [chunk.maxRepetition, chunk.maxDefinition]) {
    if (most === 0) continue;
    const end = at + 4 + uint32(page, at);
    const full = runs(page, at + 4, end, widthOf(most), values, most);
    if (most === chunk.maxDefinition) given = full;
    at = end;
  }
  encoded(page, at, number(header[2]), given, chunk);
  return values;
}

function dataPageV2(body: Uint8Array, length: number, header: Thrift, chunk: Chunk): number {
  const values = count(header[1], MAX_PAGE_VALUES);
  const given = values - count(header[2], values);
  const definition = count(header[5], body.length);
  const levels = definition + count(header[6], body.length - definition);
  const repetition = levels - definition;
  if (chunk.maxRepetition > 0) runs(body, 0, repetition, widthOf(chunk.maxRepetition), values);
  if (chunk.maxDefinition > 0) runs(body, repetition, levels, widthOf(chunk.maxDefinition), values);
  if (length < levels) throw new Error(`a page of ${length} bytes with ${levels} of levels`);
  const rest = body.subarray(levels);
  encoded(header[7] === false ? rest : chunk.decompress(rest, length - levels), 0, number(header[4]), given, chunk);
  return values;
}

/** So many values, from byte `at` on. */
function encoded(page: Uint8Array, at: number, encoding: number, values: number, chunk: Chunk): void {
  const left = page.length - at;
  if (values === 0) return;
  if (encoding === ENCODINGS.plain) plain(left, values, chunk);
  else if (encoding === ENCODINGS.split) {
    if (values * bitsOf(chunk) > 8 * left) throw tooMany(values, left);
  } else if (encoding === ENCODINGS.rle && chunk.type === 'BOOLEAN') runs(page, at + 4, at + 4 + uint32(page, at), 1, values);
  else if (encoding === ENCODINGS.dictionary || encoding === ENCODINGS.plainDictionary || encoding === ENCODINGS.rle) {
    if (left < 1) throw tooMany(values, left);
    if (page[at] > 32) throw new Error(`numbers of ${page[at]} bits`);
    // Numbers of no bits need no runs, but where there are some they are followed.
    if (page[at] > 0 || left > 1) runs(page, at + 1, page.length, page[at], values);
  } else if (encoding === ENCODINGS.delta || encoding === ENCODINGS.deltaLength || encoding === ENCODINGS.deltaBytes)
    deltas(page, at, values);
}

function plain(bytes: number, values: number, chunk: Chunk): void {
  if (values * bitsOf(chunk) > 8 * bytes) throw tooMany(values, bytes);
}

const BITS: Record<string, number> = { BOOLEAN: 1, INT32: 32, INT64: 64, INT96: 96, FLOAT: 32, DOUBLE: 64, BYTE_ARRAY: 32 };
const bitsOf = ({ type, typeLength }: Chunk): number => BITS[type] ?? 8 * typeLength;
const tooMany = (values: number, bytes: number): Error => new Error(`${values} values in ${bytes} bytes`);

/** Deltas in blocks: each costs a byte for its least one and one for each of its miniblocks. */
function deltas(page: Uint8Array, at: number, values: number): void {
  const reader = { bytes: page, at };
  const block = varint(reader);
  const parts = varint(reader);
  const total = varint(reader);
  if (!(block >= 1 && block <= MAX_BLOCK && parts >= 1 && parts <= block && block % parts === 0))
    throw new Error(`deltas in blocks of ${block} in ${parts} parts`);
  if (total !== values) throw new Error(`${total} deltas for ${values} values`);
  const blocks = Math.ceil((values - 1) / block);
  if (blocks * 2 > page.length - reader.at) throw tooMany(values, page.length - at);
}

/** Runs of a number that is repeated, and of packed numbers, from `at` to `end`. Returns how many of the first `values` are `wanted`. */
function runs(page: Uint8Array, at: number, end: number, width: number, values: number, wanted = -1): number {
  if (end > page.length) throw new Error(`levels of ${end - at} bytes where ${page.length - at} are left`);
  const reader = { bytes: page, at };
  let seen = 0;
  let found = 0;
  while (seen < values) {
    if (reader.at >= end) throw new Error(`${seen} of ${values} numbers in ${end - at} bytes`);
    const head = varint(reader);
    const left = values - seen;
    const length = head & 1 ? 8 * Math.floor(head / 2) : Math.floor(head / 2);
    if (length > left + PADDING) throw new Error(`a run of ${length} numbers where ${left} are left`);
    const now = Math.min(length, left);
    if (head & 1) {
      if (Math.ceil((now * width) / 8) > end - reader.at) throw new Error(`${length} packed numbers in ${end - reader.at} bytes`);
      if (wanted >= 0) found += packed(page, reader.at, width, now, wanted);
      reader.at += (length / 8) * width;
    } else {
      let value = 0;
      for (let i = 0; i < width; i += 8) value += page[reader.at++] * 2 ** i;
      if (value === wanted) found += now;
    }
    seen += length;
  }
  return found;
}

/** How many of the packed numbers are `wanted`. Widths of levels, at most 8 bits. */
function packed(page: Uint8Array, at: number, width: number, numbers: number, wanted: number): number {
  const mask = (1 << width) - 1;
  let found = 0;
  for (let i = 0, bit = 8 * at; i < numbers; i++, bit += width) {
    const byte = bit >> 3;
    const two = page[byte] | ((page[byte + 1] ?? 0) << 8);
    if (((two >> (bit & 7)) & mask) === wanted) found++;
  }
  return found;
}

const widthOf = (most: number): number => 32 - Math.clz32(most);
const number = (value: ThriftValue | undefined): number => (typeof value === 'number' ? value : Number.NaN);

function count(value: ThriftValue | undefined, most: number): number {
  const n = number(value);
  if (!(n >= 0 && n <= most)) throw new Error(`a page of ${n} values or bytes where there may be ${most}`);
  return n;
}

function uint32(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw new Error('a page that ends in its levels');
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}

type ThriftValue = number | boolean | Thrift;
/** Numbers, truth values and structs by the number of their field; anything else is passed over. */
interface Thrift {
  [field: number]: ThriftValue;
}
interface Reader {
  bytes: Uint8Array;
  at: number;
}

function pageHeader(bytes: Uint8Array, at: number): { header: Thrift; end: number } {
  const reader = { bytes, at };
  return { header: struct(reader, 0), end: reader.at };
}

/** Throws when these bytes are no Thrift struct, or a list in it claims more elements than there are bytes. */
export function checkFooter(bytes: Uint8Array): void {
  struct({ bytes, at: 0 }, 0);
}

const MAX_DEPTH = 32;
function struct(reader: Reader, depth: number): Thrift {
  if (depth > MAX_DEPTH) throw new Error('Thrift structs without end');
  const fields: Thrift = {};
  let field = 0;
  for (;;) {
    const head = byte(reader);
    const type = head & 15;
    if (type === 0) return fields;
    field = head >> 4 ? field + (head >> 4) : zigzag(reader);
    const value = element(reader, type, depth);
    if (value !== undefined) fields[field] = value;
  }
}

function element(reader: Reader, type: number, depth: number): ThriftValue | undefined {
  switch (type) {
    case 1:
    case 2:
      return type === 1;
    case 3:
      return byte(reader);
    case 4:
    case 5:
    case 6:
      return zigzag(reader);
    case 7:
      skip(reader, 8);
      return undefined;
    case 8:
      skip(reader, varint(reader));
      return undefined;
    case 9: {
      const head = byte(reader);
      const length = head >> 4 === 15 ? varint(reader) : head >> 4;
      if (length > reader.bytes.length - reader.at)
        throw new Error(`a list of ${length} where ${reader.bytes.length - reader.at} bytes are left`);
      for (let i = 0; i < length; i++) element(reader, (head & 15) <= 2 ? 3 : head & 15, depth + 1);
      return undefined;
    }
    case 12:
      return struct(reader, depth + 1);
    default:
      throw new Error(`a Thrift field of type ${type}`);
  }
}

function byte(reader: Reader): number {
  if (reader.at >= reader.bytes.length) throw new Error('a Thrift struct that is cut off');
  return reader.bytes[reader.at++];
}
function skip(reader: Reader, bytes: number): void {
  if (bytes > reader.bytes.length - reader.at) throw new Error('a Thrift struct that is cut off');
  reader.at += bytes;
}
function varint(reader: Reader): number {
  let value = 0;
  for (let i = 0; i < 10; i++) {
    const next = byte(reader);
    value += (next & 127) * 2 ** (7 * i);
    if (next < 128) return value;
  }
  throw new Error('a number of more than ten bytes');
}
function zigzag(reader: Reader): number {
  const n = varint(reader);
  return n % 2 === 0 ? n / 2 : -(n + 1) / 2;
}
