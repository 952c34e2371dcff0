import { CheckpointError, quote } from './checkpoint-error.ts';
import { decodeUtf8, JsonScanner } from './json-scanner.ts';

// The safetensors format: u64 little-endian n · n bytes of JSON · the data. This file judges the JSON (pure: bytes in, a table out).

/** Bits of one value. The order is that of the format's own list: narrow first, which is also the order of alignment. */
export const dtypeBits = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type SafetensorsDtype = keyof typeof dtypeBits;

/** A tensor in a file: where its bytes lie. `byteOffset` counts from the start of the file. */
export interface TensorEntry {
  dtype: SafetensorsDtype;
  shape: number[];
  byteOffset: number;
  byteLength: number;
}

export interface SafetensorsHeader {
  /** The file's own notes (`__metadata__`), strings only. */
  metadata: Map<string, string>;
  /** Tensors in the order of their bytes. A `Map`: a tensor may be called `__proto__`. */
  tensors: Map<string, TensorEntry>;
}

export interface Limits {
  maxTensors?: number;
  maxDims?: number;
  maxNameBytes?: number;
}

/** The format's own ceiling for the header, in bytes: exactly 10⁸, not 100 · 2²⁰. */
export const MAX_HEADER_BYTES = 100_000_000;
const codes = { json: 'HEADER_JSON', utf8: 'HEADER_UTF8' };
const knownDtypes = new Map<string, number>(Object.entries(dtypeBits));

/**
 * Reads the length in the first bytes of a file of `fileSize` bytes → bytes of JSON that follow.
 * @throws CheckpointError HEADER_TRUNCATED, HEADER_TOO_LARGE, HEADER_LENGTH, HEADER_JSON (rows H1–H4)
 */
export function headerLength(first8: Uint8Array, fileSize: number, file: string): number {
  if (fileSize < 8) {
    const detail = `file has ${fileSize} bytes; a safetensors file starts with an 8-byte length`;
    throw new CheckpointError('HEADER_TRUNCATED', file, detail, 'Is the download complete?');
  }
  const length = new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true);
  const left = fileSize - 8;
  if (length > BigInt(MAX_HEADER_BYTES)) {
    const detail = `header length ${length} is over the limit of ${MAX_HEADER_BYTES}`;
    throw new CheckpointError('HEADER_TOO_LARGE', file, detail, 'This is not a safetensors file, or it is damaged');
  }
  if (length > BigInt(left)) {
    const detail = `header claims ${length} bytes, ${left} follow`;
    throw new CheckpointError('HEADER_LENGTH', file, detail, 'Is the download complete?');
  }
  if (length < 2n)
    throw new CheckpointError('HEADER_JSON', file, 'header is empty', 'This is not a safetensors file, or it is damaged');
  return Number(length);
}

/**
 * Judges a header: strict JSON, every field, and data that the tensors tile without hole or overlap from 0 to the end of the file.
 * @param json the bytes between the length and the data
 * @param fileSize bytes of the whole file
 * @throws CheckpointError with the codes of rows H5–H12 and T1–T11
 */
export function parseHeader(json: Uint8Array, fileSize: number, file: string, limits: Limits = {}): SafetensorsHeader {
  const text = decodeUtf8(json, file, 'header', codes.utf8);
  if (text.charCodeAt(0) === 0xfeff) {
    throw new CheckpointError(
      'HEADER_JSON',
      file,
      'unexpected character U+FEFF at the start of the header',
      'Remove the byte-order mark',
    );
  }
  const header = scanHeader(new JsonScanner(text, file, 'header', codes), limits);
  const end = checkTiling(header, 8 + json.length, file);
  checkCoverage(8 + json.length + end, fileSize, file);
  return header;
}

function scanHeader(scan: JsonScanner, { maxTensors = 100_000, maxDims = 8, maxNameBytes = 1024 }: Limits): SafetensorsHeader {
  const { file } = scan;
  const metadata = new Map<string, string>();
  const tensors = new Map<string, TensorEntry>();
  let hasMetadata = false;
  scan.take('{');
  if (!scan.closes('}')) {
    do {
      const name = scan.string();
      scan.take(':');
      if (name === '__metadata__') {
        if (hasMetadata) throw new CheckpointError('DUP_KEY', file, '__metadata__ appears twice in the header');
        hasMetadata = true;
        scanMetadata(scan, metadata);
        continue;
      }
      checkName(name, maxNameBytes, file);
      if (tensors.has(name)) throw new CheckpointError('DUP_KEY', file, `tensor ${quote(name)} appears twice`);
      if (tensors.size === maxTensors) {
        const detail = `more than ${maxTensors} tensors; the limit is ${maxTensors}`;
        throw new CheckpointError('LIMIT', file, detail, 'Raise it with --max-tensors');
      }
      tensors.set(name, scanTensor(scan, name, maxDims));
    } while (scan.more('}'));
  }
  scan.end();
  return { metadata, tensors };
}

function scanMetadata(scan: JsonScanner, into: Map<string, string>): void {
  const { file } = scan;
  if (scan.peek() !== 0x7b)
    throw new CheckpointError('METADATA_TYPE', file, `__metadata__ is ${scan.kind()}; it must be an object of strings`);
  scan.take('{');
  if (scan.closes('}')) return;
  do {
    const key = scan.string();
    scan.take(':');
    if (into.has(key)) throw new CheckpointError('DUP_KEY', file, `__metadata__.${key} appears twice`);
    const kind = scan.kind();
    if (kind !== 'a string' && kind !== 'not JSON') {
      throw new CheckpointError('METADATA_TYPE', file, `__metadata__.${key} is ${kind}; only strings are allowed`);
    }
    into.set(key, scan.string());
  } while (scan.more('}'));
}

function checkName(name: string, maxBytes: number, file: string): void {
  const nul = name.indexOf('\0');
  if (nul >= 0) throw new CheckpointError('TENSOR_NAME', file, `tensor name has a NUL byte at position ${nul}`);
  if (name.length > maxBytes || (name.length * 3 > maxBytes && new TextEncoder().encode(name).length > maxBytes)) {
    throw new CheckpointError('LIMIT', file, `tensor name ${quote(name)} is longer than ${maxBytes} bytes`);
  }
}

/** `{"dtype":…,"shape":[…],"data_offsets":[begin,end]}` in any order; offsets still count from the start of the data. */
function scanTensor(scan: JsonScanner, name: string, maxDims: number): TensorEntry {
  const { file } = scan;
  const fault = (detail: string) => new CheckpointError('TENSOR_FIELDS', file, `tensor ${quote(name)} ${detail}`);
  let dtype: SafetensorsDtype | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  scan.take('{');
  if (!scan.closes('}')) {
    do {
      const field = scan.string();
      scan.take(':');
      if (field === 'dtype') {
        if (dtype) throw new CheckpointError('DUP_KEY', file, `tensor ${quote(name)} has two fields "dtype"`);
        if (scan.peek() !== 0x22) throw fault(`has a dtype that is ${scan.kind()}; it must be a string`);
        const word = scan.string();
        if (!knownDtypes.has(word)) {
          throw new CheckpointError('DTYPE', file, `unknown dtype ${quote(word)} for tensor ${quote(name)}`);
        }
        dtype = word as SafetensorsDtype;
      } else if (field === 'shape') {
        if (shape) throw new CheckpointError('DUP_KEY', file, `tensor ${quote(name)} has two fields "shape"`);
        if (scan.peek() !== 0x5b) throw fault(`has a shape that is ${scan.kind()}; it must be an array`);
        shape = scanIntegers(scan, maxDims);
        if (!shape) throw new CheckpointError('LIMIT', file, `tensor ${quote(name)} has more than ${maxDims} dimensions`);
      } else if (field === 'data_offsets') {
        if (offsets) throw new CheckpointError('DUP_KEY', file, `tensor ${quote(name)} has two fields "data_offsets"`);
        if (scan.peek() !== 0x5b) throw fault(`has data_offsets that are ${scan.kind()}; they must be two numbers`);
        offsets = scanIntegers(scan, 2);
        if (offsets?.length !== 2) throw fault('has data_offsets that are not two numbers');
      } else throw fault(`has an unknown field ${quote(field)}`);
    } while (scan.more('}'));
  }
  const missing = !dtype ? 'dtype' : !shape ? 'shape' : !offsets ? 'data_offsets' : '';
  if (missing !== '') throw fault(`lacks ${missing}`);
  const [begin, end] = offsets!;
  const byteLength = tensorBytes(name, dtype!, shape!, file);
  if (end - begin !== byteLength) {
    const detail = `${quote(name)}: shape ${sayShape(shape!)} ${dtype} needs ${byteLength} bytes, offsets give ${end - begin}`;
    throw new CheckpointError('SIZE_MISMATCH', file, detail);
  }
  return { dtype: dtype!, shape: shape!, byteOffset: begin, byteLength };
}

/** `[1,2,…]`; undefined when there are more than `max` numbers. */
function scanIntegers(scan: JsonScanner, max: number): number[] | undefined {
  const values: number[] = [];
  scan.take('[');
  if (scan.closes(']')) return values;
  do {
    if (values.length === max) return undefined;
    values.push(scan.integer());
  } while (scan.more(']'));
  return values;
}

/**
 * Bytes of a tensor = Π shape × bits / 8, every product checked.
 * @throws CheckpointError INT_OVERFLOW above 2⁵³ − 1, MISALIGNED when 4- or 6-bit values do not fill whole bytes
 */
export function tensorBytes(name: string, dtype: SafetensorsDtype, shape: readonly number[], file: string): number {
  const overflow = () => new CheckpointError('INT_OVERFLOW', file, `${quote(name)}: shape ${sayShape(shape)} overflows`);
  let values = 1;
  for (const n of shape) {
    values *= n;
    if (values > Number.MAX_SAFE_INTEGER) throw overflow();
  }
  const bits = dtypeBits[dtype];
  const group = bits === 4 ? 2 : bits === 6 ? 4 : 1; // the fewest values that are whole bytes
  if (values % group !== 0) {
    const detail = `${quote(name)}: ${values} values of ${dtype.slice(0, 2)} are ${values * bits} bits, not whole bytes`;
    throw new CheckpointError('MISALIGNED', file, detail);
  }
  const bytes = (values / group) * ((bits * group) / 8);
  if (bytes > Number.MAX_SAFE_INTEGER) throw overflow();
  return bytes;
}

/** Sorts the tensors by offset, moves the offsets to count from the start of the file, and returns the bytes of data they cover. */
function checkTiling(header: SafetensorsHeader, dataStart: number, file: string): number {
  const sorted = [...header.tensors].sort(([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  let end = 0;
  for (const [name, tensor] of sorted) {
    if (tensor.byteOffset !== end) {
      const code = tensor.byteOffset < end ? 'OVERLAP' : 'HOLE';
      throw new CheckpointError(code, file, `${quote(name)} starts at ${tensor.byteOffset}, expected ${end}`);
    }
    end += tensor.byteLength; // exact: it is the entry's second offset, a safe integer
    tensor.byteOffset += dataStart;
  }
  header.tensors = new Map(sorted);
  return end;
}

function checkCoverage(needed: number, fileSize: number, file: string): void {
  if (fileSize < needed) {
    const detail = `data ends at byte ${needed}, the file has ${fileSize}`;
    throw new CheckpointError('DATA_TRUNCATED', file, detail, 'Download it again');
  }
  if (fileSize > needed) {
    throw new CheckpointError('TRAILING_BYTES', file, `${fileSize - needed} bytes after the last tensor`);
  }
}

const sayShape = (shape: readonly number[]) => `[${shape.join(',')}]`;
