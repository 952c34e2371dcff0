import { expect, test } from 'vitest';
import { fromBf16, fromF16, toBf16, toF16 } from './half.ts';

for (const [name, to, from, infinity] of [
  ['bf16', toBf16, fromBf16, 0x7f80],
  ['f16', toF16, fromF16, 0x7c00],
] as const) {
  test(`${name}: every code comes back, and between two neighbours the nearer one, or the even one, is taken`, () => {
    for (let h = 0; h < infinity; h++) {
      const low = from(h);
      const high = h + 1 === infinity ? 2 * low - from(h - 1) : from(h + 1); // the step goes on where infinity begins
      const middle = (low + high) / 2;
      const even = h % 2 === 0 ? h : h + 1;
      const expected = [h, h, even, h + 1];
      const given = [low, low + (middle - low) * 0.999, middle, middle + (high - middle) * 0.001].map(to);
      if (given.join() !== expected.join()) throw new Error(`${name} ${h} (${low}): ${given}, expected ${expected}`);
      if (to(-low) !== (h | 0x8000)) throw new Error(`${name}: −${low} gives ${to(-low)}`);
    }
    expect([to(Number.POSITIVE_INFINITY), to(Number.NEGATIVE_INFINITY), to(1e300)]).toEqual([
      infinity,
      infinity | 0x8000,
      infinity,
    ]);
    expect(from(to(Number.NaN))).toBeNaN();
    expect([from(infinity), from(infinity | 0x8000)]).toEqual([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  });
}

test('known codes', () => {
  // IEEE 754-2008, table 3.5 for f16; the upper half of the f32 for bf16
  expect([1, -2, 65504, 2 ** -24, 2 ** -14, 1 / 3].map(toF16)).toEqual([0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x3555]);
  expect([1, -2, Math.PI, 1 + 2 ** -8, 1 + 3 * 2 ** -8].map(toBf16)).toEqual([0x3f80, 0xc000, 0x4049, 0x3f80, 0x3f82]);
});
