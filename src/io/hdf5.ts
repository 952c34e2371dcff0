import { CheckpointError, quote } from './checkpoint-error.ts';
import { openRegular, quietly, readFully, realFs } from './file-system.ts';
import { decodeUtf8 } from './json-scanner.ts';
import type { SafetensorsReader } from './safetensors.ts';
import { type SafetensorsDtype, tensorBytes, type TensorEntry } from './safetensors-header.ts';
import type { ReadAt } from './stored-zip.ts';

// HDF5 as Keras writes weights: groups in groups, each a B-tree of names; at the leaves plain arrays, not compressed. The format can do far more
// (and a general reader can be kept busy for ever by a file whose trees share their branches); what no Keras writes is refused.
// HDF5 File Format Specification 3.0: superblock §II.A, B-tree III.A.1, symbol node III.B, heap III.D, object header IV.A.1, messages IV.A.2.

const SIGNATURE = '\x89HDF\r\n\x1a\n';
const UNDEFINED = 0xffff_ffff_ffff_ffffn;
const MAX_TENSORS = 100_000;
const MAX_DIMS = 8;
const MAX_DEPTH = 64;

/**
 * Opens an `.h5` file; its arrays are named by their path, `bert/tf_bert_model/…/kernel:0`. Text and other kinds of values are passed over.
 * @throws CheckpointError HDF5 (damaged, or a form that Keras does not write), OVERLAP, SIZE_MISMATCH, DATA_TRUNCATED, LIMIT, INT_OVERFLOW
 */
export function openHdf5(path: string, { fd = openRegular(path) }: { fd?: number } = {}): SafetensorsReader {
  try {
    const opened = realFs.fstatSync(fd);
    const readAt: ReadAt = (position, length) => {
      const bytes = new Uint8Array(length);
      const now = realFs.fstatSync(fd);
      if (readFully(realFs, fd, bytes, position) < length || now.size !== opened.size || now.mtimeMs !== opened.mtimeMs)
        throw new CheckpointError('CHANGED', path, 'file changed while it was read, or ends too early', 'Read it again');
      return bytes;
    };
    return readHdf5(readAt, opened.size, path, () => realFs.closeSync(fd));
  } catch (error) {
    quietly(() => realFs.closeSync(fd));
    throw error;
  }
}

/** The same for a file that is in memory already. */
export function parseHdf5(bytes: Uint8Array, file = 'hdf5'): SafetensorsReader {
  return readHdf5(
    (position, length) => bytes.slice(position, position + length),
    bytes.length,
    file,
    () => {},
  );
}

function readHdf5(readAt: ReadAt, size: number, file: string, close: () => void): SafetensorsReader {
  const tensors = new Walk(readAt, size, file).tensors();
  const find = (name: string): TensorEntry => {
    const t = tensors.get(name);
    if (!t)
      throw new CheckpointError('NO_TENSOR', file, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
    return t;
  };
  const readInto = (name: string, offset: number, target: Uint8Array) => {
    const { byteOffset, byteLength } = find(name);
    if (!(offset >= 0 && offset + target.length <= byteLength))
      throw new RangeError(
        `readInto: bytes ${offset}…${offset + target.length} are outside tensor ${quote(name)}\n  it has ${byteLength}`,
      );
    target.set(readAt(byteOffset + offset, target.length));
  };
  const read = (name: string) => {
    const { byteOffset, byteLength } = find(name);
    return readAt(byteOffset, byteLength);
  };
  return { metadata: new Map(), tensors, read, readInto, close };
}

/** What one object's header says about it. */
interface Messages {
  group?: { tree: number; heap: number };
  shape?: number[];
  dtype?: SafetensorsDtype;
  data?: { offset: number; size: number };
}

class Walk {
  private readonly found = new Map<string, TensorEntry>();
  /** Bytes of structure read so far: a sound file's do not exceed the file, a file that shares structures between parents does. */
  private spent = 0;
  private readonly seen = new Set<number>();

  constructor(
    private readonly readAt: ReadAt,
    private readonly size: number,
    private readonly file: string,
  ) {}

  tensors(): Map<string, TensorEntry> {
    if (this.size < 96 || Buffer.from(this.readAt(0, 8)).toString('latin1') !== SIGNATURE)
      throw this.fault('the file does not start as HDF5 does');
    const head = this.piece(0, 96, 'the superblock');
    const version = head.getUint8(8);
    if (version > 1) throw this.unread(`superblock version ${version}`);
    if (head.getUint8(13) !== 8 || head.getUint8(14) !== 8) throw this.unread('addresses that are not 8 bytes long');
    const base = version === 1 ? 28 : 24;
    if (head.getBigUint64(base, true) !== 0n) throw this.unread('a base address other than 0');
    const end = head.getBigUint64(base + 16, true);
    if (end > BigInt(this.size)) {
      const detail = `data end at byte ${end}, the file has ${this.size}`;
      throw new CheckpointError('DATA_TRUNCATED', this.file, detail, 'Download it again');
    }
    if (end < BigInt(this.size))
      throw new CheckpointError('TRAILING_BYTES', this.file, `${BigInt(this.size) - end} bytes after the end of the file's own`);
    this.object(this.address(head, base + 40), '', 0);
    this.checkOverlaps();
    return this.found;
  }

  private fault(detail: string): CheckpointError {
    return new CheckpointError('HDF5', this.file, detail, 'This is not an HDF5 file, or it is damaged');
  }
  private unread(what: string): CheckpointError {
    return new CheckpointError(
      'HDF5',
      this.file,
      `${what}: Keras writes no such file, and it is not read`,
      'Save the weights with Keras again, or as safetensors',
    );
  }

  /** `length` bytes of structure at `at`. */
  private piece(at: number, length: number, what: string): DataView {
    if (length > this.size - at)
      throw this.fault(`${what} at byte ${at} claims ${length} bytes, ${Math.max(0, this.size - at)} follow`);
    this.spent += length;
    if (this.spent > this.size + 4096) throw this.fault('the same structures are reached on several ways');
    const bytes = this.readAt(at, length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }
  private address(view: DataView, at: number): number {
    const address = view.getBigUint64(at, true);
    if (address >= BigInt(this.size)) throw this.fault(`address ${address} is behind the end of the file`);
    return Number(address);
  }
  private length(view: DataView, at: number): number {
    const length = view.getBigUint64(at, true);
    if (length > BigInt(this.size)) throw this.fault(`a length of ${length} bytes in a file of ${this.size}`);
    return Number(length);
  }
  private once(at: number): void {
    if (this.seen.has(at)) throw this.fault(`the structure at byte ${at} is reached twice`);
    this.seen.add(at);
  }
  private marked(view: DataView, mark: string, at: number): void {
    for (let i = 0; i < 4; i++)
      if (view.getUint8(i) !== mark.charCodeAt(i)) throw this.fault(`"${mark}" is missing at byte ${at}`);
  }

  /** A group or an array, by its header. */
  private object(at: number, path: string, depth: number): void {
    if (depth > MAX_DEPTH) throw new CheckpointError('LIMIT', this.file, `groups nest more than ${MAX_DEPTH} deep`);
    const { group, shape, dtype, data } = this.header(at, path);
    if (group) {
      this.once(group.tree);
      this.tree(group.tree, this.heap(group.heap), path, depth, undefined);
    } else if (shape && dtype && data) this.array(path, shape, dtype, data);
  }

  private array(
    path: string,
    shape: number[],
    dtype: SafetensorsDtype,
    { offset, size }: { offset: number; size: number },
  ): void {
    const needed = tensorBytes(path, dtype, shape, this.file);
    if (needed !== size)
      throw new CheckpointError(
        'SIZE_MISMATCH',
        this.file,
        `${quote(path)}: shape [${shape}] ${dtype} needs ${needed} bytes, the file gives ${size}`,
      );
    if (size > this.size - offset)
      throw new CheckpointError(
        'DATA_TRUNCATED',
        this.file,
        `${quote(path)} ends at byte ${offset + size}, the file has ${this.size}`,
        'Download it again',
      );
    if (this.found.has(path)) throw new CheckpointError('DUP_KEY', this.file, `array ${quote(path)} appears twice`);
    if (this.found.size === MAX_TENSORS) throw new CheckpointError('LIMIT', this.file, `more than ${MAX_TENSORS} arrays`);
    this.found.set(path, { dtype, shape, byteOffset: offset, byteLength: size });
  }

  private checkOverlaps(): void {
    let end = 0;
    for (const [name, t] of [...this.found].sort(([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength)) {
      if (t.byteLength > 0 && t.byteOffset < end)
        throw new CheckpointError('OVERLAP', this.file, `${quote(name)} starts at ${t.byteOffset}, expected ${end} or later`);
      end = Math.max(end, t.byteOffset + t.byteLength);
    }
  }

  /** A tree of names; its leaves are nodes of symbols. `level` is what the parent says it must be. */
  private tree(at: number, name: (offset: bigint) => string, path: string, depth: number, level: number | undefined): void {
    const head = this.piece(at, 24, 'a tree node');
    this.marked(head, 'TREE', at);
    const [kind, own, children] = [head.getUint8(4), head.getUint8(5), head.getUint16(6, true)];
    if (kind !== 0 || (level !== undefined && own !== level))
      throw this.fault(`a tree node of kind ${kind}, level ${own} at byte ${at}`);
    const body = this.piece(at + 24, 16 * children, 'a tree node');
    for (let i = 0; i < children; i++) {
      const child = this.address(body, 16 * i + 8);
      this.once(child);
      if (own > 0) this.tree(child, name, path, depth, own - 1);
      else this.symbols(child, name, path, depth);
    }
  }

  private symbols(at: number, name: (offset: bigint) => string, path: string, depth: number): void {
    const head = this.piece(at, 8, 'a symbol node');
    this.marked(head, 'SNOD', at);
    const count = head.getUint16(6, true);
    const body = this.piece(at + 8, 40 * count, 'a symbol node');
    for (let i = 0; i < count; i++) {
      if (body.getUint32(40 * i + 16, true) === 2) throw this.unread('a symbolic link');
      const header = this.address(body, 40 * i + 8);
      const own = name(body.getBigUint64(40 * i, true));
      const full = path === '' ? own : `${path}/${own}`;
      if (own === '' || own.includes('\0') || full.length > 1024)
        throw new CheckpointError('LIMIT', this.file, `a name that is empty or longer than 1024 characters: ${quote(full)}`);
      this.object(header, full, depth + 1);
    }
  }

  /** Names of a group, by their offset in its heap. */
  private heap(at: number): (offset: bigint) => string {
    this.once(at);
    const head = this.piece(at, 32, 'a heap');
    this.marked(head, 'HEAP', at);
    const size = this.length(head, 8);
    const start = this.address(head, 24);
    const segment = this.piece(start, size, 'a heap');
    const bytes = new Uint8Array(segment.buffer, segment.byteOffset, size);
    return (offset) => {
      const end = offset < BigInt(size) ? bytes.indexOf(0, Number(offset)) : -1;
      if (end < 0) throw this.fault(`a name at ${offset} of a heap of ${size} bytes`);
      return decodeUtf8(bytes.subarray(Number(offset), end), this.file, 'name', 'HDF5');
    };
  }

  /** The messages of an object header, in its blocks one after the other. */
  private header(at: number, path: string): Messages {
    this.once(at);
    const head = this.piece(at, 16, 'an object header');
    if (head.getUint8(0) !== 1) throw this.unread(`an object header of another version at byte ${at}`);
    const found: Messages = {};
    const blocks: [at: number, length: number][] = [[at + 16, head.getUint32(8, true)]];
    for (let left = head.getUint16(2, true); blocks.length > 0; ) {
      const [start, length] = blocks.shift()!;
      const view = this.piece(start, length, 'an object header');
      for (let i = 0; left > 0 && i + 8 <= length; left--) {
        const [type, size, flags] = [view.getUint16(i, true), view.getUint16(i + 2, true), view.getUint8(i + 4)];
        if (size > length - i - 8) throw this.fault(`a message of ${size} bytes at byte ${start + i}, ${length - i - 8} follow`);
        const body = new DataView(view.buffer, view.byteOffset + i + 8, size);
        if (flags & 2 && [1, 3, 8].includes(type)) throw this.unread('a shared message');
        this.guarded(() => this.message(type, body, start + i + 8, path, found, blocks));
        i += 8 + size;
      }
    }
    return found;
  }

  /** A field behind the end of its message is a RangeError of DataView. */
  private guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      throw error instanceof RangeError ? this.fault('a message is shorter than its fields') : error;
    }
  }

  private message(type: number, view: DataView, at: number, path: string, found: Messages, blocks: [number, number][]): void {
    if (type === 0x01) found.shape = this.shape(view, path);
    else if (type === 0x03) found.dtype = dtypeOf(view);
    else if (type === 0x08) found.data = this.layout(view, at, path);
    else if (type === 0x0b) throw this.unread(`${quote(path)} is filtered (compressed)`);
    else if (type === 0x11) found.group = { tree: this.address(view, 0), heap: this.address(view, 8) };
    else if (type === 0x02 || type === 0x06) throw this.unread('a group of the newer kind (libver="latest")');
    else if (type === 0x10) {
      const start = this.address(view, 0);
      this.once(start);
      blocks.push([start, this.length(view, 8)]);
    }
  }

  private shape(view: DataView, path: string): number[] | undefined {
    const [version, dims] = [view.getUint8(0), view.getUint8(1)];
    if (version !== 1 && version !== 2) throw this.fault(`a dataspace of version ${version}`);
    if (version === 2 && view.getUint8(3) === 2) return undefined; // no values at all
    if (dims > MAX_DIMS)
      throw new CheckpointError('LIMIT', this.file, `${quote(path)} has ${dims} dimensions; the limit is ${MAX_DIMS}`);
    return Array.from({ length: dims }, (_, i) => {
      const n = view.getBigUint64((version === 1 ? 8 : 4) + 8 * i, true);
      if (n > BigInt(Number.MAX_SAFE_INTEGER))
        throw new CheckpointError('INT_OVERFLOW', this.file, `${quote(path)} has a dimension of ${n}`);
      return Number(n);
    });
  }

  private layout(view: DataView, at: number, path: string): { offset: number; size: number } {
    const [version, kind] = [view.getUint8(0), view.getUint8(1)];
    if (version !== 3) throw this.unread(`a data layout of version ${version}`);
    if (kind === 0) return { offset: at + 4, size: view.getUint16(2, true) };
    if (kind !== 1) throw this.unread(`${quote(path)} is stored in chunks`);
    if (view.getBigUint64(2, true) === UNDEFINED) {
      // Never written. An empty array has no place either; any other one has no values.
      return { offset: 0, size: 0 };
    }
    return { offset: this.address(view, 2), size: this.length(view, 10) };
  }
}

/** Exponent's place and width, mantissa's width, bias → the float that has them. */
const floats: Record<string, SafetensorsDtype> = {
  '4:23,8,23,127': 'F32',
  '8:52,11,52,1023': 'F64',
  '2:10,5,10,15': 'F16',
  '2:7,8,7,127': 'BF16',
};

/** Little-endian numbers; undefined for text, references and all else that is no number. */
function dtypeOf(view: DataView): SafetensorsDtype | undefined {
  const [kind, bits, size] = [view.getUint8(0) & 15, view.getUint8(1), view.getUint32(4, true)];
  if (kind === 0 && !(bits & 1)) {
    const whole = view.getUint16(8, true) === 0 && view.getUint16(10, true) === 8 * size;
    const name = `${bits & 8 ? 'I' : 'U'}${8 * size}`;
    return whole && [1, 2, 4, 8].includes(size) ? (name as SafetensorsDtype) : undefined;
  }
  if (kind === 1 && !(bits & 0x41) && view.getUint16(8, true) === 0) {
    const [place, exponent, , mantissa] = [12, 13, 14, 15].map((i) => view.getUint8(i));
    return floats[`${size}:${place},${exponent},${mantissa},${view.getUint32(16, true)}`];
  }
  return undefined;
}
