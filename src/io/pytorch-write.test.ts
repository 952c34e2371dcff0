import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openPytorch } from './pytorch.ts';
import { writePytorch, writeStoredZip } from './pytorch-write.ts';
import type { SafetensorsReader, TensorToWrite } from './safetensors.ts';
import { dtypeBits } from './safetensors-header.ts';
import { readStoredZip } from './stored-zip.ts';

// torch itself reads what is written here: test/engines/pytorch.sh.

const home = mkdtempSync(join(tmpdir(), 'qkv-pt-write-'));
afterAll(() => rmSync(home, { recursive: true }));
const path = join(home, 'model.bin');

/** Bytes that differ from tensor to tensor. */
function entry(name: string, dtype: TensorToWrite['dtype'], shape: number[], seed: number): TensorToWrite {
  const length = (shape.reduce((a, b) => a * b, 1) * dtypeBits[dtype]) / 8;
  return { name, dtype, shape, bytes: Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 31 + (i >> 3)) % 251) };
}
const facts = (reader: SafetensorsReader) =>
  new Map([...reader.tensors].map(([name, { dtype, shape }]) => [name, { dtype, shape, bytes: Buffer.from(reader.read(name)) }]));

test('7.1.2 what is written is read back equal: every type, a scalar, an empty tensor, names of other scripts; bytes begin at multiples of 64', () => {
  const types = ['F32', 'F64', 'F16', 'BF16', 'I64', 'I32', 'I16', 'I8', 'U8', 'C64'] as const;
  const entries = [
    ...types.map((dtype, i) => entry(`block.0.${dtype}`, dtype, [3, 1 + i, 2], i)),
    entry('scalar', 'F32', [], 20),
    entry('empty', 'F16', [0, 4], 21),
    entry('权重', 'F32', [5], 22),
  ];
  writePytorch(path, entries);
  const reader = openPytorch(path);
  const found = facts(reader);
  reader.close();
  expect([...found]).toEqual(
    entries.map(({ name, dtype, shape, bytes }) => [name, { dtype, shape, bytes: Buffer.from(bytes as Uint8Array) }]),
  );
  const file = readFileSync(path);
  const members = readStoredZip((at, length) => file.subarray(at, at + length), file.length, path);
  expect([...members.values()].map(({ byteOffset }) => byteOffset % 64)).toEqual(Array(entries.length + 3).fill(0));
  writePytorch(
    path,
    entries.map((e) => ({ ...e, bytes: () => e.bytes as Uint8Array })),
  );
  expect(Buffer.compare(readFileSync(path), file)).toBe(0);
});

test('tied tensors are one storage, and are known as tied when read', () => {
  const wte = entry('wte', 'F32', [64, 32], 1);
  const entries = [wte, entry('h', 'F32', [4], 2), { ...wte, name: 'lm_head', shape: [64, 32] }];
  writePytorch(path, entries);
  const reader = openPytorch(path);
  expect(reader.tied).toEqual(new Map([['lm_head', 'wte']]));
  expect(Buffer.compare(reader.read('lm_head'), wte.bytes as Uint8Array)).toBe(0);
  reader.close();
  expect(readFileSync(path).length).toBeLessThan(64 * 32 * 4 * 1.3);
});

test('a file of torch 2.15 goes through unchanged, its views made whole', () => {
  const golden = openPytorch(join(import.meta.dirname, '../../test/parity/pytorch-golden.zip.pt'));
  const before = facts(golden);
  writePytorch(
    path,
    [...golden.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape, bytes: () => golden.read(name) })),
  );
  golden.close();
  const reader = openPytorch(path);
  expect(facts(reader)).toEqual(before);
  expect(before.size).toBeGreaterThan(5);
  reader.close();
});

test('zip64: places from 4 GB on stand in 64 bits; where they begin, the reader of both forms finds the same bytes', () => {
  const members = ['a', 'b', 'c'].map((name, i) => {
    const data = Uint8Array.from({ length: 40 + i }, (_, j) => (j * 13 + i) % 251);
    return { name, length: data.length, bytes: () => data };
  });
  for (const wideFrom of [0, 150, 300, 2 ** 32 - 1]) {
    const pieces: Uint8Array[] = [];
    writeStoredZip({ write: (bytes) => void pieces.push(bytes.slice()) }, members, 'x.bin', wideFrom);
    const file = Buffer.concat(pieces);
    const found = readStoredZip((at, length) => file.subarray(at, at + length), file.length, 'x.bin');
    expect([...found.values()].map((e) => file.subarray(e.byteOffset, e.byteOffset + e.byteLength))).toEqual(
      members.map(({ bytes }) => Buffer.from(bytes())),
    );
    expect(file.includes(Buffer.from('504b0606', 'hex'))).toBe(wideFrom < 2 ** 32 - 1);
  }
});

test('what does not fit the format is refused with a way out, and leaves no file', () => {
  const before = readdirSync(home);
  const at = join(home, 'never.bin');
  const never = () => {
    throw new Error('was read');
  };
  const big = (name: string, n: number) => ({ name, dtype: 'F32' as const, shape: [n], bytes: () => never() });
  const code = (entries: TensorToWrite[]) => {
    try {
      writePytorch(at, entries);
    } catch (error) {
      return `${(error as { code: string }).code} ${(error as Error).message}`;
    }
    return 'written';
  };
  expect(code([big('a', 2 ** 30)])).toMatch(/^LIMIT .*1 tensors of up to 4\.3 GB.*each below 4\.3 GB.*--to hf/);
  expect(code(Array.from({ length: 9998 }, (_, i) => entry(`t${i}`, 'U8', [1], i)))).toMatch(/^LIMIT .*9998 tensors/);
  expect(code([entry('e', 'F8_E4M3', [2], 1)])).toMatch(/^DTYPE .*F8_E4M3/);
  expect(code([entry('a', 'F32', [2], 1), entry('a', 'F32', [2], 2)])).toMatch(/^DUP_KEY .*"a"/);
  expect(code([{ ...entry('a', 'F32', [2], 1), shape: [3] }])).toMatch(/^BYTES .*8 bytes.*12/);
  const shared = entry('a', 'F32', [2], 1);
  expect(code([shared, { ...shared, name: 'b', dtype: 'F16' }])).toMatch(/^BYTES .*"b"/);
  expect(readdirSync(home)).toEqual(before);
});
