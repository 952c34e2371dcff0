import { check, concat, Tensor } from '../tensor/index.ts';
import { type SteadyCache, selectRows } from './kv-cache.ts';

/**
 * The cache of a sliding window: a token sees itself and the `window` before it, so no more is kept and a text may go on for ever.
 * Keys lie in the order of their places (biases by distance stay right); there is room for two windows, and when it is full the last window
 * moves to the front: one copy every `window` tokens.
 */
export class RotatingCache implements SteadyCache {
  length = 0;
  readonly #k: Tensor;
  readonly #v: Tensor;
  readonly #room: number;
  /** Places of the buffers in use. */
  #filled = 0;

  /** B sequences, G key-value heads, `window` places to the left, D channels a head. */
  constructor(
    readonly B: number,
    readonly G: number,
    readonly window: number,
    readonly D: number,
  ) {
    this.#room = 2 * (window + 1);
    this.#k = Tensor.zeros([B, G, this.#room, D]).asParameter().freeze();
    this.#v = Tensor.zeros([B, G, this.#room, D]).asParameter().freeze();
  }

  /** Adds k and v (B, G, T, D); returns what the new queries may see: the window before the first of them, then themselves. */
  append(k: Tensor, v: Tensor): [Tensor, Tensor] {
    const { T } = k.dims('B G T D', { B: this.B, G: this.G, D: this.D });
    const before = Math.min(this.#filled, this.window);
    this.length += T;
    if (this.#filled + T <= this.#room) {
      for (const [held, x] of this.#pairs(k, v)) held.slice(2, this.#filled, this.#filled + T).copyFrom(x);
      this.#filled += T;
      const from = this.#filled - T - before;
      return [this.#k.slice(2, from, this.#filled), this.#v.slice(2, from, this.#filled)];
    }
    // No room: what is seen now is put together, and its last window goes to the front.
    const old = (held: Tensor): Tensor => held.slice(2, this.#filled - before, this.#filled);
    const seen: [Tensor, Tensor] = [concat([old(this.#k), k], 2), concat([old(this.#v), v], 2)];
    const keep = Math.min(this.window, before + T);
    for (const [held, x] of this.#pairs(...seen)) held.slice(2, 0, keep).copyFrom(x.slice(2, before + T - keep));
    this.#filled = keep;
    return seen;
  }
  /** The keys grow up to a window, then they slide, until there is no room. */
  get rule(): number {
    if (this.#filled < this.window) return 0;
    return this.#filled < this.#room ? 1 + this.length - this.#filled : -1;
  }
  advance(): void {
    this.length++;
    this.#filled++;
  }
  #pairs(k: Tensor, v: Tensor): [Tensor, Tensor][] {
    return [
      [this.#k, k],
      [this.#v, v],
    ];
  }
  /** Forgets everything after the first `length` tokens. Only as far as the window before them is still held. */
  truncate(length: number): void {
    if (length >= this.length) return;
    const filled = this.#filled - (this.length - length);
    check(
      length === 0 || filled >= Math.min(this.window, length),
      () =>
        `the rotating cache saw ${this.length} tokens and holds the last ${this.#filled}: it cannot go back to ${length}, whose window of ${this.window} is gone. Use KVCache where tokens are taken back`,
    );
    this.#filled = length === 0 ? 0 : filled;
    this.length = length;
  }
  select(rows: readonly number[]): void {
    if (this.#filled === 0) return;
    for (const held of [this.#k, this.#v]) selectRows(held, rows, this.#filled);
  }
  get bytes(): number {
    return 2 * this.B * this.G * this.#room * this.D * 4;
  }
  [Symbol.dispose](): void {
    this.#k.free('its rotating cache was disposed of');
    this.#v.free('its rotating cache was disposed of');
  }
}
