import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CheckpointError } from '../../src/io/checkpoint-error.ts';
import { openSafetensors, parseSafetensors } from '../../src/io/safetensors.ts';
import { rawFile, rejectionCases } from './safetensors-cases.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qkv-rejection-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('the list has at least 150 hand-made files and covers rows H1–H12 and T1–T11', () => {
  expect(rejectionCases.length).toBeGreaterThanOrEqual(150);
  const rows = new Set(rejectionCases.map((c) => c.row));
  expect(rows).toEqual(
    new Set([...Array(12).keys()].map((i) => `H${i + 1}`).concat([...Array(11).keys()].map((i) => `T${i + 1}`))),
  );
});

describe('every file of the list is refused, in memory and on disk, with its code and a message that names file and fault', () => {
  test.each(rejectionCases)('$row $code: $what', ({ bytes, code, says }) => {
    const path = join(folder, 'bad.safetensors');
    writeFileSync(path, bytes);
    for (const open of [() => parseSafetensors(bytes, path), () => openSafetensors(path)]) {
      let error: unknown;
      try {
        open();
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(CheckpointError);
      const refused = error as CheckpointError;
      expect(refused.code).toBe(code);
      expect(refused.message).toMatch(says);
      expect(refused.message.startsWith(`${path}: `)).toBe(true);
      expect(refused.message.length).toBeLessThan(500 + path.length);
      expect(refused.exitCode).toBe(65);
    }
  });
});

const u8 = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
test.each([
  ['white space before and after the object', ` \n\r\t{"x":${u8}} \n\r\t  `, 'x'],
  ['white space everywhere', '{ "x" : { "dtype" : "U8" , "shape" : [ 1 ] , "data_offsets" : [ 0 , 1 ] } }', 'x'],
  ['the fields in another order', '{"x":{"data_offsets":[0,1],"shape":[1],"dtype":"U8"}}', 'x'],
  ['metadata last', `{"x":${u8},"__metadata__":{"a":"b"}}`, 'x'],
  ['an empty name', `{"":${u8}}`, ''],
  ['__proto__', `{"__proto__":${u8}}`, '__proto__'],
  ['constructor', `{"constructor":${u8}}`, 'constructor'],
  ['toString', `{"toString":${u8}}`, 'toString'],
  ['an escaped name', `{"\\u6ce8\\ud834\\udd1e\\n\\/":${u8}}`, '注𝄞\n/'],
  ['a name of 1,024 bytes', `{"${'n'.repeat(1024)}":${u8}}`, 'n'.repeat(1024)],
  ['8 dimensions', '{"x":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}', 'x'],
])('accepted: %s', (_, header, name) => {
  const { tensors, read } = parseSafetensors(rawFile(header, 1));
  expect([...tensors.keys()]).toEqual([name]);
  expect(read(name).length).toBe(1);
  expect(Object.getPrototypeOf(tensors)).toBe(Map.prototype);
});

test('limits can be raised', () => {
  const header = '{"x":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}';
  expect(parseSafetensors(rawFile(header, 1), 'f', { maxDims: 9 }).tensors.size).toBe(1);
});
