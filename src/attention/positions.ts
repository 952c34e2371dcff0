import { rope, Tensor } from '../tensor/index.ts';

/**
 * Rotary positions: each pair of channels turns by an angle that grows with the token's place, so that q·k depends on the distance alone.
 * Pair i of P turns by θᵢ = place · base^(−i/P). Su et al. 2021, §3.4.2.
 */
export class Rotary implements Disposable {
  #tables: { cos: Tensor; sin: Tensor; length: number } | undefined;

  /** `pairs` = channels turned / 2; half-split pairs (i, i + P) as in Llama, or interleaved (2i, 2i + 1) as in GPT-J. */
  constructor(
    readonly pairs: number,
    readonly base = 10_000,
    readonly interleaved = false,
  ) {}

  /** x (B, H, T, D) whose first token stands at place `start`. */
  apply(x: Tensor, start = 0): Tensor {
    const { T } = x.dims('B H T D');
    const { cos, sin } = this.#upTo(start + T);
    return rope(x, cos.slice(0, start, start + T), sin.slice(0, start, start + T), { interleaved: this.interleaved });
  }

  #upTo(length: number): { cos: Tensor; sin: Tensor } {
    if (!this.#tables || this.#tables.length < length) {
      this[Symbol.dispose]();
      const room = Math.max(64, 2 ** Math.ceil(Math.log2(length)));
      const angles = rotaryAngles(room, this.pairs, this.base);
      const table = (f: (x: number) => number): Tensor =>
        Tensor.from(Float32Array.from(angles, f), [room, this.pairs]).asParameter().freeze();
      this.#tables = { cos: table(Math.cos), sin: table(Math.sin), length: room };
    }
    return this.#tables!;
  }
  [Symbol.dispose](): void {
    this.#tables?.cos.free('its rotary table was disposed of');
    this.#tables?.sin.free('its rotary table was disposed of');
    this.#tables = undefined;
  }
}

/** Angle of pair i at each place, row by row: (length, pairs), in float64. */
export function rotaryAngles(length: number, pairs: number, base: number): Float64Array {
  const out = new Float64Array(length * pairs);
  for (let t = 0; t < length; t++) for (let i = 0; i < pairs; i++) out[t * pairs + i] = t * base ** (-i / pairs);
  return out;
}
