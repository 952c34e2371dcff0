import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fuzzForeign } from '../../test/reliability/fuzz-foreign.ts';
import { Rng } from '../tensor/index.ts';
import { ggufKey, openGguf, parseGguf } from './gguf.ts';
import type { GgufValue } from './gguf-head.ts';
import { dequantize, ggufTypes, quantize } from './gguf-quant.ts';
import { type GgufTensorToWrite, writeGguf, writeGgufTo } from './gguf-write.ts';

// test/parity/gguf-golden.py: the Python package gguf 0.19.0
const golden = openGguf(join(import.meta.dirname, '../../test/parity/gguf-golden.gguf'));

test('keys of every kind, as the oracle wrote them', () => {
  const value = (key: string) => golden.metadata.get(`golden.${key}`);
  expect(value('u32')).toEqual({ type: 'u32', value: 4_000_000_000 });
  expect(value('i32')).toEqual({ type: 'i32', value: -5 });
  expect(value('u64')).toEqual({ type: 'u64', value: 2n ** 63n });
  expect(value('f32')).toEqual({ type: 'f32', value: 0.5 });
  expect(value('bool')).toEqual({ type: 'bool', value: true });
  expect(value('string')).toEqual({ type: 'string', value: '注意力 𝄞' });
  expect(value('strings')).toEqual({ type: 'array', of: 'string', value: ['a', '', 'é'] });
  expect(value('ints')).toEqual({ type: 'array', of: 'i32', value: [1, 2, -3] });
  expect(golden.tensors.get('source')).toMatchObject({ type: 'F32', shape: [3, 256] });
});

test.each(['F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'])(
  '%s blocks become the same numbers as the oracle makes of them',
  (type) => {
    expect(golden.tensors.get(`q.${type}`)!.type).toBe(type);
    expect(golden.readFloats(`q.${type}`)).toEqual(golden.readFloats(`f.${type}`));
  },
);

test.each(['F16', 'BF16', 'Q8_0', 'Q4_0'] as const)('%s: our blocks are the oracle’s, byte for byte', (type) => {
  expect(Buffer.compare(quantize(type, golden.readFloats('source')), golden.read(`q.${type}`))).toBe(0);
});

test('Q4_K as we write it: the error is a good tenth below that of plain ranges, and no value is far off', () => {
  const rng = new Rng(11);
  const source = Float32Array.from(
    { length: 64 * 256 },
    () => Math.sqrt(-2 * Math.log(1 - rng.uniform())) * Math.cos(2 * Math.PI * rng.uniform()),
  );
  const back = dequantize('Q4_K', quantize('Q4_K', source));
  let [ours, plain] = [0, 0];
  for (let s = 0; s < source.length; s += 32) {
    const part = source.subarray(s, s + 32);
    const [min, max] = [Math.min(0, ...part), Math.max(0, ...part)];
    const step = (max - min) / 15;
    part.forEach((x, i) => {
      expect(Math.abs(x - back[s + i])).toBeLessThan(1.2 * step);
      ours += (x - back[s + i]) ** 2;
      plain += (x - (min + step * Math.round((x - min) / step))) ** 2; // with scales that need no rounding
    });
  }
  expect(ours).toBeLessThan(0.9 * plain);
  expect(dequantize('Q4_K', quantize('Q4_K', new Float32Array(256)))).toEqual(new Float32Array(256));
  const positive = Float32Array.from({ length: 256 }, (_, i) => 5 + i / 256); // far from 0: the smallest value stands for it
  expect(Math.max(...dequantize('Q4_K', quantize('Q4_K', positive)).map((x, i) => Math.abs(x - positive[i])))).toBeLessThan(0.25);
});

const tensors: GgufTensorToWrite[] = [
  { name: 'a', type: 'F32', shape: [2, 3], bytes: quantize('F32', Float32Array.of(1, 2, 3, 4, 5, 6)) },
  {
    name: 'b.weight',
    type: 'Q8_0',
    shape: [2, 64],
    bytes: () =>
      quantize(
        'Q8_0',
        new Float32Array(128).map((_, i) => i - 64),
      ),
  },
  { name: 'c', type: 'F16', shape: [], bytes: quantize('F16', Float32Array.of(0.5)) },
];
const keys: [string, GgufValue][] = [
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['llama.block_count', { type: 'u32', value: 2 }],
  ['tokens', { type: 'array', of: 'string', value: ['<s>', '注', ''] }],
  ['scores', { type: 'array', of: 'f32', value: [0, -1.5] }],
  ['flags', { type: 'array', of: 'bool', value: [true, false] }],
  ...(
    [
      ['u8', 255],
      ['i8', -128],
      ['u16', 65535],
      ['i16', -3],
      ['i32', -4],
      ['f32', 0.25],
      ['f64', 1e300],
    ] as const
  ).map(([type, value]) => [`n.${type}`, { type, value }] as [string, GgufValue]),
  ['n.u64', { type: 'u64', value: 2n ** 64n - 1n }],
  ['n.i64', { type: 'i64', value: -(2n ** 63n) }],
];
function build(metadata = keys, list = tensors): Uint8Array {
  const pieces: Uint8Array[] = [];
  writeGgufTo({ write: (piece) => void pieces.push(piece) }, metadata, list);
  return Uint8Array.from(Buffer.concat(pieces));
}

test('write∘read is the identity, on disk too; every tensor is aligned', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-gguf-'));
  const path = join(folder, 'm.gguf');
  writeGguf(path, keys, tensors);
  expect(Buffer.compare(readFileSync(path), build())).toBe(0);
  const reader = openGguf(path);
  expect([...reader.metadata]).toEqual(keys);
  expect([...reader.tensors].map(([name, { type, shape }]) => [name, type, shape])).toEqual(
    tensors.map(({ name, type, shape }) => [name, type, shape]),
  );
  for (const { byteOffset } of reader.tensors.values()) expect(byteOffset % 32).toBe(0);
  expect([...reader.readFloats('a')]).toEqual([1, 2, 3, 4, 5, 6]);
  expect(reader.readFloats('b.weight')[127]).toBeCloseTo(63, 0);
  expect(ggufKey(reader, 'llama.block_count', 'number')).toBe(2);
  expect(ggufKey(reader, 'tokens', 'strings')).toEqual(['<s>', '注', '']);
  expect(ggufKey(reader, 'scores', 'numbers')).toEqual([0, -1.5]);
  expect(ggufKey(reader, 'absent', 'string', 'x')).toBe('x');
  expect(() => ggufKey(reader, 'tokens', 'numbers')).toThrow(/"tokens" is an array of string, expected an array of number/);
  expect(() => ggufKey(reader, 'llama.block_count', 'string')).toThrow(expect.objectContaining({ code: 'GGUF_TYPE' }));
  expect(() => ggufKey(reader, 'absent', 'string')).toThrow(expect.objectContaining({ code: 'GGUF_KEY' }));
  reader.close();
  rmSync(folder, { recursive: true });
});

/** A file put together number by number. */
const u32 = (n: number) => [n & 255, (n >>> 8) & 255, (n >>> 16) & 255, (n >>> 24) & 255];
const u64 = (n: number | bigint) => [...new Uint8Array(new BigUint64Array([BigInt(n)]).buffer)];
const text = (s: string) => [...u64(Buffer.byteLength(s)), ...Buffer.from(s)];
const key = (name: string, type: number, ...value: number[]) => [...text(name), ...u32(type), ...value];
const info = (name: string, dims: (number | bigint)[], type: number, offset: number | bigint) => [
  ...text(name),
  ...u32(dims.length),
  ...dims.flatMap(u64),
  ...u32(type),
  ...u64(offset),
];
interface Raw {
  magic?: string;
  version?: number;
  nTensors?: number | bigint;
  nKeys?: number | bigint;
  keys?: number[][];
  infos?: number[][];
  data?: number;
  align?: number;
}
function raw({
  magic = 'GGUF',
  version = 3,
  keys = [],
  infos = [],
  nTensors = infos.length,
  nKeys = keys.length,
  data = 0,
  align = 32,
}: Raw): Uint8Array {
  const head = [...Buffer.from(magic), ...u32(version), ...u64(nTensors), ...u64(nKeys), ...keys.flat(), ...infos.flat()];
  while (head.length % align !== 0) head.push(0);
  return Uint8Array.from([...head, ...new Uint8Array(data)]);
}

const one = info('x', [4], 0, 0);
const cases: [what: string, bytes: Uint8Array, code: string, says?: RegExp][] = [
  ['empty', new Uint8Array(), 'MAGIC'],
  ['23 bytes', raw({}).slice(0, 23), 'MAGIC'],
  ['another magic', raw({ magic: 'GGML' }), 'MAGIC'],
  ['big-endian', raw({ magic: 'FUGG' }), 'MAGIC'],
  ['version 0', raw({ version: 0 }), 'VERSION'],
  ['version 1', raw({ version: 1 }), 'VERSION'],
  ['version 4', raw({ version: 4 }), 'VERSION', /version 4; this program reads 2 and 3/],
  ['version 3 in the other byte order', raw({ version: 0x03000000 }), 'VERSION'],
  ['2⁶⁴ − 1 tensors', raw({ nTensors: 2n ** 64n - 1n }), 'LENGTH', /tensors are claimed, 8 bytes follow|tensors are claimed/],
  ['2⁶⁴ − 1 keys', raw({ nKeys: 2n ** 64n - 1n }), 'LENGTH'],
  ['one key more than there is', raw({ nKeys: 1, nTensors: 0 }), 'LENGTH'],
  [
    'key of 9 GB',
    raw({ nKeys: 1, keys: [[...u64(9_000_000_000), ...new Uint8Array(212)]] }),
    'LENGTH',
    /claims 9000000000 bytes, \d+ follow/,
  ],
  ['key of 2⁶⁴ − 1 bytes', raw({ nKeys: 1, keys: [[...u64(2n ** 64n - 1n), ...new Uint8Array(30)]] }), 'LENGTH'],
  [
    'value of 9 GB',
    raw({ keys: [key('general.name', 8, ...u64(9_000_000_000), ...new Uint8Array(40))] }),
    'LENGTH',
    /key "general.name" claims 9000000000 bytes/,
  ],
  [
    'array of 2⁶⁰ values',
    raw({ keys: [key('a', 9, ...u32(4), ...u64(2n ** 60n), ...new Uint8Array(40))] }),
    'LENGTH',
    /values of key "a"/,
  ],
  ['array of 2⁶¹ strings', raw({ keys: [key('a', 9, ...u32(8), ...u64(2n ** 61n), ...new Uint8Array(40))] }), 'LENGTH'],
  ['array of arrays', raw({ keys: [key('a', 9, ...u32(9), ...u64(1), ...new Uint8Array(40))] }), 'TYPE', /array of arrays/],
  ['value of type 13', raw({ keys: [key('a', 13, ...new Uint8Array(40))] }), 'TYPE', /unknown type 13/],
  ['array of type 99', raw({ keys: [key('a', 9, ...u32(99), ...u64(1), ...new Uint8Array(40))] }), 'TYPE'],
  ['a boolean that is 2', raw({ keys: [key('a', 7, 2)] }), 'TYPE', /boolean with the value 2/],
  ['a key that is not UTF-8', raw({ keys: [[...u64(1), 0xff, ...u32(4), ...u32(1)]] }), 'UTF8'],
  ['a value that is not UTF-8', raw({ keys: [key('a', 8, ...u64(2), 0xc0, 0xaf)] }), 'UTF8'],
  ['a key twice', raw({ keys: [key('a', 4, ...u32(1)), key('a', 4, ...u32(1))] }), 'DUP_KEY', /key "a" appears twice/],
  ...[0, 3, 24, 2 ** 21, 2 ** 31].map((n): [string, Uint8Array, string, RegExp] => [
    `alignment ${n}`,
    raw({ keys: [key('general.alignment', 4, ...u32(n))] }),
    'ALIGNMENT',
    /power of two/,
  ]),
  ['alignment as text', raw({ keys: [key('general.alignment', 8, ...text('32'))] }), 'ALIGNMENT'],
  ['alignment as u64', raw({ keys: [key('general.alignment', 10, ...u64(32))] }), 'ALIGNMENT'],
  ['5 dimensions', raw({ infos: [info('x', [1, 1, 1, 1, 1], 0, 0)], data: 32 }), 'DIMS', /at most 4/],
  ['2³² − 1 dimensions', raw({ infos: [[...text('x'), ...u32(2 ** 32 - 1), ...new Uint8Array(40)]] }), 'DIMS'],
  ['a dimension of 0', raw({ infos: [info('x', [4, 0], 0, 0)], data: 32 }), 'DIMS', /dimension of 0/],
  ['a negative dimension', raw({ infos: [info('x', [2n ** 64n - 1n], 0, 0)], data: 32 }), 'DIMS', /dimension of -1/],
  ['a dimension of 2⁶³', raw({ infos: [info('x', [2n ** 63n], 0, 0)], data: 32 }), 'DIMS'],
  ['2⁵³ values', raw({ infos: [info('x', [2 ** 27, 2 ** 27], 0, 0)], data: 32 }), 'SIZE', /overflows/],
  ['bytes overflow', raw({ infos: [info('x', [2 ** 52], 0, 0)], data: 32 }), 'SIZE'],
  ['four dimensions that overflow', raw({ infos: [info('x', [2 ** 40, 2 ** 40, 2 ** 40, 2 ** 40], 0, 0)], data: 32 }), 'SIZE'],
  ['rows of half a block', raw({ infos: [info('x', [48], 8, 0)], data: 64 }), 'DIMS', /no whole blocks of Q8_0/],
  ['a scalar of Q4_K', raw({ infos: [info('x', [], 12, 0)], data: 160 }), 'DIMS'],
  ...[4, 5, 31, 36, 99, 2 ** 32 - 1].map((n): [string, Uint8Array, string] => [
    `tensor of type ${n}`,
    raw({ infos: [info('x', [256], n, 0)], data: 1024 }),
    'TYPE',
  ]),
  ['unaligned', raw({ infos: [info('x', [4], 0, 4)], data: 32 }), 'OFFSET', /"x" starts at 4, expected 0/],
  ['a hole', raw({ infos: [one, info('y', [4], 0, 64)], data: 96 }), 'OFFSET', /"y" starts at 64, expected 32/],
  ['the same bytes', raw({ infos: [one, info('y', [4], 0, 0)], data: 32 }), 'OFFSET'],
  ['overlap', raw({ infos: [info('x', [16], 0, 0), info('y', [4], 0, 32)], data: 64 }), 'OFFSET'],
  ['behind the end', raw({ infos: [info('x', [4], 0, 2n ** 63n)], data: 32 }), 'OFFSET'],
  ['offset + size wraps', raw({ infos: [info('x', [4], 0, 2n ** 64n - 16n)], data: 32 }), 'OFFSET'],
  ['too little data', raw({ infos: [one], data: 15 }), 'TRUNCATED', /data ends at byte \d+, the file has \d+/],
  ['no data', raw({ infos: [one] }), 'TRUNCATED'],
  ['too much data', raw({ infos: [one], data: 33 }), 'TRAILING'],
  ['data without tensors', raw({ data: 64 }), 'TRAILING'],
  ['a tensor twice', raw({ infos: [one, one], data: 64 }), 'DUP_KEY', /tensor "x" appears twice/],
  ['a name with NUL', raw({ infos: [info('a\0', [4], 0, 0)], data: 32 }), 'NAME'],
  ['a name of 1,025 characters', raw({ infos: [info('n'.repeat(1025), [4], 0, 0)], data: 32 }), 'NAME'],
  ['cut in the keys', build().slice(0, 60), 'LENGTH'],
];

describe('G1: the rejection list', () => {
  test.each(cases)('%s', (_, bytes, code, says = /./) => {
    expect(() => parseGguf(bytes, 'bad.gguf')).toThrow(
      expect.objectContaining({ name: 'CheckpointError', code: `GGUF_${code}`, file: 'bad.gguf', exitCode: 65 }),
    );
    expect(() => parseGguf(bytes, 'bad.gguf')).toThrow(says);
  });
});

test('legal corners: no tensors, version 2, a scalar, alignment 64, no padding at the end', () => {
  expect(parseGguf(raw({})).tensors.size).toBe(0);
  expect(parseGguf(raw({ version: 2, infos: [one], data: 16 })).version).toBe(2);
  expect(parseGguf(raw({ infos: [info('x', [], 0, 0)], data: 4 })).tensors.get('x')!.shape).toEqual([]);
  expect(parseGguf(raw({ infos: [one], data: 32 })).tensors.size).toBe(1);
  const wide = raw({ keys: [key('general.alignment', 4, ...u32(64))], infos: [one, info('y', [4], 0, 64)], data: 80, align: 64 });
  expect(parseGguf(wide).tensors.get('y')!.byteOffset % 64).toBe(0);
});

test('the writer refuses what the reader would', () => {
  const x = (more: Partial<GgufTensorToWrite>) => () =>
    build([], [{ name: 'x', type: 'F32', shape: [4], bytes: new Uint8Array(16), ...more }]);
  expect(x({ bytes: new Uint8Array(15) })).toThrow(expect.objectContaining({ code: 'BYTES' }));
  expect(x({ shape: [1, 1, 1, 1, 4] })).toThrow(expect.objectContaining({ code: 'GGUF_DIMS' }));
  expect(x({ type: 'Q8_0', shape: [48] })).toThrow(expect.objectContaining({ code: 'GGUF_DIMS' }));
  expect(() =>
    build(
      [
        ['a', keys[0][1]],
        ['a', keys[0][1]],
      ],
      [],
    ),
  ).toThrow(expect.objectContaining({ code: 'GGUF_DUP_KEY' }));
  expect(() => quantize('Q8_0', new Float32Array(33))).toThrow(RangeError);
  expect(() => dequantize('I32', new Uint8Array(ggufTypes.I32.bytes))).toThrow(/I32 cannot be turned into numbers/);
});

test('8,000 mutants: read or refused, never anything else', () => {
  const small = raw({ infos: [one, info('y', [64], 8, 32)], data: 128 });
  const result = fuzzForeign('gguf', 8_000, 21, [build(), build(keys.slice(0, 3), tensors.slice(0, 1)), small]);
  expect(result.firstUntyped).toBeUndefined();
  expect(result.legal).toBeGreaterThan(100);
  for (const code of ['MAGIC', 'VERSION', 'LENGTH', 'TYPE', 'DIMS', 'OFFSET', 'TRUNCATED'])
    expect(result.codes[`GGUF_${code}`]).toBeGreaterThan(0);
});
