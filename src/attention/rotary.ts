// B batch · H heads · T tokens · D head channels · P pairs of channels

import { check, rope, Tensor } from '../tensor/index.ts';
import { type RopeScaling, ropeFrequencies } from './rope-scaling.ts';

/**
 * Rotary positions: each pair of channels turns by an angle that grows with the token's place, so that q·k depends on the distance alone.
 * Pair i of P turns by θᵢ = place · base^(−i/P). Su et al. 2021, §3.4.2. With 2P < D the other channels stay as they are (partial RoPE, GPT-NeoX).
 */
export class Rotary implements Disposable {
  #tables: { cos: Tensor; sin: Tensor; length: number } | undefined;

  /**
   * `pairs` = channels turned / 2; half-split pairs (i, i + P) as in Llama, or interleaved (2i, 2i + 1) as in GPT-J. `scaling` stretches the
   * angles for texts longer than those of the training.
   */
  constructor(
    readonly pairs: number,
    readonly base = 10_000,
    readonly interleaved = false,
    readonly scaling?: RopeScaling,
  ) {}

  /** x (B, H, T, D) whose first token stands at place `start`; x (B, H, 1, D) may have a place for each row. */
  apply(x: Tensor, start: number | Int32Array = 0): Tensor {
    const { B, T } = x.dims('B H T D');
    if (typeof start !== 'number') {
      check(T === 1 && start.length === B, () => `Rotary: ${start.length} places for ${B} rows of ${T} tokens; give one a row`);
      const { cos, sin } = this.#upTo(Math.max(...start) + 1);
      const [c, s] = [cos.rows(start), sin.rows(start)]; // (B, P): the rows stand where tokens do
      return rope(x.transpose(0, 2), c, s, { interleaved: this.interleaved }).transpose(0, 2);
    }
    const { cos, sin } = this.#upTo(start + T);
    return rope(x, cos.slice(0, start, start + T), sin.slice(0, start, start + T), { interleaved: this.interleaved });
  }

  #upTo(length: number): { cos: Tensor; sin: Tensor } {
    // Dynamic scaling depends on the length itself, beyond the trained one: there the tables are made for each length.
    const dynamic = this.scaling?.type === 'dynamic' && length > this.scaling.contextLength;
    const room = dynamic ? length : Math.max(64, 2 ** Math.ceil(Math.log2(length)));
    const fits = this.#tables && (dynamic || this.#madeDynamic ? this.#tables.length === room : this.#tables.length >= length);
    if (!fits) {
      this[Symbol.dispose]();
      const { frequencies, magnitude } = ropeFrequencies(this.pairs, this.base, this.scaling, length);
      const angles = anglesOf(room, frequencies);
      const table = (f: (x: number) => number): Tensor =>
        Tensor.from(
          Float32Array.from(angles, (a) => magnitude * f(a)),
          [room, this.pairs],
        )
          .asParameter()
          .freeze();
      this.#tables = { cos: table(Math.cos), sin: table(Math.sin), length: room };
      this.#madeDynamic = dynamic;
    }
    return this.#tables!;
  }
  #madeDynamic = false;

  [Symbol.dispose](): void {
    this.#tables?.cos.free('its rotary table was disposed of');
    this.#tables?.sin.free('its rotary table was disposed of');
    this.#tables = undefined;
  }
}

/** Angle of pair i at each place, row by row: (length, pairs), in float64. */
function anglesOf(length: number, frequencies: Float64Array): Float64Array {
  const P = frequencies.length;
  const out = new Float64Array(length * P);
  for (let t = 0; t < length; t++) for (let i = 0; i < P; i++) out[t * P + i] = t * frequencies[i];
  return out;
}

/**
 * The same heads with their channels in the other layout: channel i and i + P of half-split are channels 2i and 2i + 1 of interleaved.
 * x (…, D): the first 2P channels move, the others stay. q·k is the same in both layouts when each is turned in its own.
 */
export const toInterleaved = (x: Tensor, pairs: number): Tensor => regroup(x, pairs, [2, pairs]);
/** The way back. */
export const toHalfSplit = (x: Tensor, pairs: number): Tensor => regroup(x, pairs, [pairs, 2]);

/** A query or key projection (H·D, C) of a model in one layout, rewritten for the other: each head's rows move. */
export function convertProjection(weight: Tensor, nHead: number, pairs: number, to: 'interleaved' | 'half-split'): Tensor {
  const [rows, ...rest] = weight.shape; // a bias (H·D) has no C
  const perHead = weight.reshape([nHead, rows / nHead, rest[0] ?? 1]).T; // (H, C, D)
  const moved = to === 'interleaved' ? toInterleaved(perHead, pairs) : toHalfSplit(perHead, pairs);
  return moved.T.reshape(weight.shape);
}

function regroup(x: Tensor, pairs: number, groups: readonly [number, number]): Tensor {
  const D = x.shape.at(-1)!;
  check(2 * pairs <= D, () => `rotary layout: ${pairs} pairs need ${2 * pairs} channels, but there are ${D}`);
  const lead = x.shape.slice(0, -1);
  const index = Int32Array.from({ length: D }, (_, d) =>
    d >= 2 * pairs ? d : (d % groups[0]) * groups[1] + Math.floor(d / groups[0]),
  );
  const channelsFirst = x.reshape([x.size / D, D]).T; // (…, D) → (D, …)
  return channelsFirst.rows(index).T.reshape([...lead, D]);
}
