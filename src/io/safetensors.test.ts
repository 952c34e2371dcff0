import fc from 'fast-check';
import {
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  openSafetensors,
  parseSafetensors,
  safetensorsBytes,
  type TensorToWrite,
  writeSafetensors,
  writeSafetensorsTo,
} from './safetensors.ts';
import { dtypeBits, type SafetensorsDtype } from './safetensors-header.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qkv-safetensors-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const f32 = (name: string, shape: number[], values: number[]): TensorToWrite => ({
  name,
  dtype: 'F32',
  shape,
  bytes: new Uint8Array(new Float32Array(values).buffer),
});

test('a file by hand: the bytes are those that the format describes', () => {
  const bytes = safetensorsBytes([f32('w', [1, 2], [1, -2])], { a: 'b' });
  const header = '{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}';
  const padded = Math.ceil(header.length / 8) * 8;
  const expected = [padded, 0, 0, 0, 0, 0, 0, 0, ...Buffer.from(header.padEnd(padded)), 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0];
  expect([...bytes]).toEqual(expected);
});

const dtypes = Object.keys(dtypeBits) as SafetensorsDtype[];
const name = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }).filter((s) => !s.includes('\0') && s !== '__metadata__'),
  fc.constantFrom(
    '',
    '__proto__',
    'constructor',
    'toString',
    '"',
    '\\',
    '\n',
    '注意力',
    '𝄞',
    'a.b.c',
    ' ',
    '{}',
    '\u2028',
    'n'.repeat(1024),
  ),
);
const tensor = fc
  .tuple(name, fc.constantFrom(...dtypes), fc.array(fc.nat(3), { maxLength: 8 }), fc.nat())
  .map(([name, dtype, shape, seed]) => {
    if (dtypeBits[dtype] < 8) shape = shape.length > 0 ? [...shape.slice(0, -1), 4] : [8];
    const values = shape.reduce((a, b) => a * b, 1);
    const bytes = new Uint8Array((values * dtypeBits[dtype]) / 8).map((_, i) => (seed + i * 31) & 255);
    return { name, dtype, shape, bytes } satisfies TensorToWrite;
  });
const file = fc.tuple(
  fc.uniqueArray(tensor, { maxLength: 5, selector: (t) => t.name }),
  fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), { maxKeys: 3, noNullPrototype: true }),
);

test('7.1.2 write∘read is the identity: all dtypes, 0-rank, empty, 8 dimensions, odd names, metadata; header and tensors aligned', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(file, ([tensors, metadata]) => {
      const bytes = safetensorsBytes(tensors, metadata);
      const back = parseSafetensors(bytes);
      expect(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8).toBe(0);
      expect(bytes[8]).toBe(0x7b);
      expect([...back.metadata]).toEqual(Object.entries(metadata));
      expect(new Set(back.tensors.keys())).toEqual(new Set(tensors.map((t) => t.name)));
      for (const { name, dtype, shape, bytes } of tensors) {
        const entry = back.tensors.get(name)!;
        seen.add(dtype);
        if (entry.dtype !== dtype || entry.shape.join() !== shape.join() || Buffer.compare(back.read(name), bytes) !== 0)
          return false;
        if (dtypeBits[dtype] >= 8 && entry.byteOffset % (dtypeBits[dtype] / 8) !== 0) return false;
      }
      return true;
    }),
    { numRuns: 20_000 },
  );
  expect(seen.size).toBe(22);
});

test('the file on disk equals the bytes in memory; read and readInto give the tensor and its windows', () => {
  const path = join(folder, 'a.safetensors');
  const tensors = [
    f32('a', [2, 3], [1, 2, 3, 4, 5, 6]),
    { name: 'b', dtype: 'U8', shape: [3], bytes: () => Uint8Array.of(7, 8, 9) } as const,
  ];
  writeSafetensors(path, tensors, { step: '3' });
  expect(Buffer.compare(readFileSync(path), safetensorsBytes(tensors, { step: '3' }))).toBe(0);
  const reader = openSafetensors(path);
  expect([...new Float32Array(reader.read('a').buffer)]).toEqual([1, 2, 3, 4, 5, 6]);
  const window = new Uint8Array(8);
  reader.readInto('a', 8, window);
  expect([...new Float32Array(window.buffer)]).toEqual([3, 4]);
  expect([...reader.read('b')]).toEqual([7, 8, 9]);
  expect(reader.metadata.get('step')).toBe('3');
  expect(() => reader.readInto('a', 20, window)).toThrow(RangeError);
  expect(() => reader.read('c')).toThrow(/no tensor "c"/);
  reader.close();
});

test('T12: a file that shrinks, grows or is touched while open is refused, not half read', () => {
  const path = join(folder, 'changing.safetensors');
  for (const change of [
    () => truncateSync(path, 80),
    () => writeFileSync(path, 'x', { flag: 'a' }),
    () => utimesSync(path, 1, 1),
    () => {
      const fd = openSync(path, 'r+');
      writeSync(fd, 'x', 90);
      closeSync(fd);
      utimesSync(path, 2, 2);
    },
  ]) {
    writeSafetensors(path, [f32('a', [4], [1, 2, 3, 4])]);
    const reader = openSafetensors(path);
    change();
    expect(() => reader.read('a')).toThrow(expect.objectContaining({ code: 'CHANGED' }));
    reader.close();
  }
});

test('the writer refuses what the reader would: duplicate and bad names, wrong number of bytes, half values', () => {
  const write = (...tensors: TensorToWrite[]) => safetensorsBytes(tensors);
  const code = (code: string) => expect.objectContaining({ code });
  expect(() => write(f32('a', [1], [1]), f32('a', [1], [1]))).toThrow(code('DUP_KEY'));
  expect(() => write(f32('a\0', [1], [1]))).toThrow(code('TENSOR_NAME'));
  expect(() => write(f32('__metadata__', [1], [1]))).toThrow(code('TENSOR_NAME'));
  expect(() => write(f32('\ud800', [1], [1]))).toThrow(code('HEADER_UTF8'));
  expect(() => write(f32('a', [2], [1]))).toThrow(code('BYTES'));
  expect(() => write({ name: 'a', dtype: 'F4', shape: [3], bytes: new Uint8Array(2) })).toThrow(code('MISALIGNED'));
  expect(() => write(f32('n'.repeat(1025), [1], [1]))).toThrow(code('LIMIT'));
});

test('tensors are asked for one at a time and leave in pieces of at most 64 MiB', () => {
  let alive = 0;
  const order: string[] = [];
  const big = (name: string): TensorToWrite => ({
    name,
    dtype: 'U8',
    shape: [70 * 2 ** 20],
    bytes: () => {
      order.push(name);
      expect(++alive).toBeLessThanOrEqual(1);
      return new Uint8Array(70 * 2 ** 20);
    },
  });
  const sizes: number[] = [];
  writeSafetensorsTo(
    {
      write: (piece) => {
        sizes.push(piece.length);
        if (piece.length === 6 * 2 ** 20) alive--;
      },
    },
    [big('a'), big('b')],
  );
  expect(order).toEqual(['a', 'b']);
  expect(sizes.slice(1)).toEqual([64, 6, 64, 6].map((n) => n * 2 ** 20));
});

test('a missing file, a folder and an empty file are typed errors', () => {
  expect(() => openSafetensors(join(folder, 'none'))).toThrow(expect.objectContaining({ code: 'NOT_FOUND', exitCode: 3 }));
  expect(() => openSafetensors(folder)).toThrow(expect.objectContaining({ code: 'SHARD_FILE' }));
  writeFileSync(join(folder, 'empty'), '');
  expect(() => openSafetensors(join(folder, 'empty'))).toThrow(expect.objectContaining({ code: 'HEADER_TRUNCATED' }));
});

test('a sparse file with a tensor above 2³² bytes is read by window', () => {
  const path = join(folder, 'big.safetensors');
  const size = 5_000_000_000;
  const json = Buffer.from(`{"big":{"dtype":"U8","shape":[${size}],"data_offsets":[0,${size}]}}`);
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([head, json]));
  truncateSync(path, 8 + json.length + size);
  const fd = openSync(path, 'r+');
  writeSync(fd, Uint8Array.of(1, 2, 3), 0, 3, 8 + json.length + size - 3);
  closeSync(fd);
  const reader = openSafetensors(path);
  const window = new Uint8Array(4);
  reader.readInto('big', size - 4, window);
  expect([...window]).toEqual([0, 1, 2, 3]);
  reader.close();
  rmSync(path);
});
