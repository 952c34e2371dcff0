import { expect, test } from 'vitest';
import { f16ToNumber, fromFloat32, numberToBf16, numberToF16, toFloat32 } from './floats.ts';

test('binary16: known values, and all 65,536 there and back', () => {
  expect([0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x7c00, 0x3555].map(f16ToNumber)).toEqual([
    1,
    -2,
    65504,
    2 ** -24,
    2 ** -14,
    Number.POSITIVE_INFINITY,
    0.333251953125,
  ]);
  for (let bits = 0; bits < 65536; bits++) {
    const value = f16ToNumber(bits);
    if (Number.isNaN(value)) expect(Number.isNaN(f16ToNumber(numberToF16(value)))).toBe(true);
    else if (numberToF16(value) !== bits) throw new Error(`${bits} → ${value} → ${numberToF16(value)}`);
  }
});

test('f32 → binary16 is the nearest, ties to even: halfway between neighbours, and a little to each side', () => {
  for (let bits = 0; bits < 0x7bff; bits++) {
    const [low, high] = [f16ToNumber(bits), f16ToNumber(bits + 1)];
    const middle = (low + high) / 2;
    const even = bits % 2 === 0 ? bits : bits + 1;
    const above = Math.fround(middle + (high - low) / 1000);
    const below = Math.fround(middle - (high - low) / 1000);
    if (numberToF16(middle) !== even || numberToF16(above) !== bits + 1 || numberToF16(below) !== bits)
      throw new Error(`between ${low} and ${high}`);
    if (numberToF16(-middle) !== (even | 0x8000)) throw new Error(`between ${-low} and ${-high}`);
  }
  expect([65519.99, 65520, 1e9, Number.POSITIVE_INFINITY, 1e-9].map(numberToF16)).toEqual([0x7bff, 0x7c00, 0x7c00, 0x7c00, 0]);
});

test('bfloat16: nearest, ties to even, NaN stays NaN', () => {
  expect([1, -2, 3.140625, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38, Number.POSITIVE_INFINITY].map(numberToBf16)).toEqual([
    0x3f80, 0xc000, 0x4049, 0x3f80, 0x3f82, 0x7f80, 0x7f80,
  ]);
  expect(toFloat32('BF16', fromFloat32('BF16', Float32Array.of(Number.NaN)))[0]).toBeNaN();
});

test('tensors of each type there and back, from bytes at an odd place too', () => {
  const values = Float32Array.of(0, -0, 1, -1.5, 0.25, 1024);
  for (const dtype of ['F16', 'BF16', 'F32', 'F64'] as const) {
    const bytes = fromFloat32(dtype, values);
    expect(toFloat32(dtype, bytes)).toEqual(values);
    const odd = new Uint8Array(bytes.length + 1);
    odd.set(bytes, 1);
    expect(toFloat32(dtype, odd.subarray(1))).toEqual(values);
  }
  expect(() => toFloat32('I32', new Uint8Array(4))).toThrow(TypeError);
});
