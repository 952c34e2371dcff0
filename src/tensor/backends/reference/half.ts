/** The two 16-bit float formats, to and from numbers, rounded once to nearest even from the full double. */

const word = new Float64Array(1);
const words = new Uint32Array(word.buffer);
const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** bf16 is the upper half of an f32. */
export function fromBf16(h: number): number {
  singleBits[0] = h << 16;
  return single[0];
}

/** f16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits. */
export function fromF16(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

export const toBf16 = (x: number): number => encode(x, 8, 7);
export const toF16 = (x: number): number => encode(x, 5, 10);

/** The nearest bf16, as a number. */
export const roundToBf16 = (x: number): number => fromBf16(toBf16(x));

/** IEEE 754 with `exponentBits` and `fractionBits`: |x| = m · 2ᵉ with m a whole number of units in the last place, rounded to even. */
function encode(x: number, exponentBits: number, fractionBits: number): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const infinity = (2 ** exponentBits - 1) << fractionBits;
  const sign = x < 0 || Object.is(x, -0) ? 1 << (exponentBits + fractionBits) : 0;
  if (Number.isNaN(x)) return infinity | (1 << (fractionBits - 1));
  const size = Math.abs(x);
  if (size === Number.POSITIVE_INFINITY) return sign | infinity;
  word[0] = size;
  const exponent = Math.max(((words[1] >>> 20) & 2047) - 1023, 1 - bias); // not below the subnormals
  if (exponent > bias) return sign | infinity;
  const units = roundEven(size * 2 ** (fractionBits - exponent)); // 2^fractionBits … 2^(fractionBits+1), less when subnormal
  // A carry into the next exponent, and past the largest number to infinity, is what the addition does by itself.
  return sign | (((exponent + bias - 1) << fractionBits) + units);
}

/** Nearest whole number, halves to the even one. */
export function roundEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
  return down % 2 === 0 ? down : down + 1;
}
