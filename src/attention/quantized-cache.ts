import { check, Tensor, tidy } from '../tensor/index.ts';
import { type SteadyCache, selectRows } from './kv-cache.ts';

/**
 * A cache of one byte a number: each key and each value is held as 127·x/max|x| rounded, with its max|x| in f32. It takes (D + 4)/4D of the
 * memory, and what comes back is off by at most max|x|/254 in each channel. The numbers handed out are f32, made anew for each call.
 */
export class QuantizedCache implements SteadyCache {
  readonly rule = 0;
  length = 0;
  readonly #k: EightBits;
  readonly #v: EightBits;

  /** B sequences, G key-value heads, S tokens at most, D channels a head. */
  constructor(
    readonly B: number,
    readonly G: number,
    readonly S: number,
    readonly D: number,
  ) {
    this.#k = new EightBits(B, G, S, D);
    this.#v = new EightBits(B, G, S, D);
  }

  /** Adds k and v (B, G, T, D); returns all that is held, (B, G, length, D), the new tokens rounded like the old. */
  append(k: Tensor, v: Tensor): [Tensor, Tensor] {
    const { T } = k.dims('B G T D', { B: this.B, G: this.G, D: this.D });
    const at = this.length;
    check(
      at + T <= this.S,
      () => `the KV cache holds ${this.S} tokens and ${at} are in it; ${T} more do not fit. Make it longer, or drop the oldest`,
    );
    this.#k.write(at, k);
    this.#v.write(at, v);
    this.length = at + T;
    return [this.#k.read(this.length), this.#v.read(this.length)];
  }
  advance(): void {
    this.length++;
  }
  truncate(length: number): void {
    this.length = Math.min(this.length, length);
  }
  select(rows: readonly number[]): void {
    if (this.length === 0) return;
    for (const held of [this.#k, this.#v]) held.select(this.length, rows);
  }
  get bytes(): number {
    return 2 * this.B * this.G * this.S * (this.D + 4);
  }
  [Symbol.dispose](): void {
    this.#k[Symbol.dispose]();
    this.#v[Symbol.dispose]();
  }
}

/** A byte is 128 + a whole number from −127 to 127. */
const ZERO = 128;

class EightBits implements Disposable {
  readonly #bytes: Tensor; // (B, G, S, D)
  readonly #greatest: Tensor; // (B, G, S, 1): max|x| of each row

  constructor(B: number, G: number, S: number, D: number) {
    this.#bytes = Tensor.zeros([B, G, S, D], 'u8').asParameter().freeze();
    this.#greatest = Tensor.zeros([B, G, S, 1]).asParameter().freeze();
  }
  write(at: number, x: Tensor): void {
    const T = x.shape[2];
    const greatest = x.abs().max({ axis: -1, keepDims: true });
    this.#greatest.slice(2, at, at + T).copyFrom(greatest);
    const scaled = x.div(greatest.maximum(1e-30)).mul(127).add(ZERO); // a row of zeros stays one
    this.#bytes.slice(2, at, at + T).copyFrom(scaled); // rounds to nearest
  }
  read(length: number): Tensor {
    return tidy(() => {
      const whole = this.#bytes.slice(2, 0, length).cast('f32').sub(ZERO);
      return whole.mul(this.#greatest.slice(2, 0, length).div(127));
    });
  }
  select(length: number, rows: readonly number[]): void {
    for (const held of [this.#bytes, this.#greatest]) selectRows(held, rows, length);
  }
  [Symbol.dispose](): void {
    this.#bytes.free('its KV cache was disposed of');
    this.#greatest.free('its KV cache was disposed of');
  }
}
