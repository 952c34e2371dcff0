import { check, Tensor, tidy } from '../tensor/index.ts';
import type { UnevenRows } from './uneven-rows.ts';

/** Keys and values of the tokens already seen, for one layer. Caches differ in what they keep: all, a window, or eight bits of each number. */
export interface AttentionCache extends Disposable {
  /** Tokens seen so far: the place of the next one. */
  readonly length: number;
  /** Present when the sequences are of unequal length; `length` is that of the longest. */
  readonly rows?: UnevenRows;
  /** Adds k and v (B, G, T, D); returns those that the T new queries may attend to, in the order of their places, the new ones last. */
  append(k: Tensor, v: Tensor): [Tensor, Tensor];
  /** Forgets everything after the first `length` tokens. */
  truncate(length: number): void;
  /** Sequence b becomes a copy of what sequence rows[b] was: beam search goes on with some of its texts and leaves others. */
  select(rows: readonly number[]): void;
  readonly bytes: number;
}

/** A cache whose next step is known from the last ones, so that steps can be queued without running the model (generate/stepper.ts). */
export interface SteadyCache extends AttentionCache {
  /** While this number stays, one token more moves everything on by one place; −1 before a step that is like no other. */
  readonly rule: number;
  /** One token was added without append. */
  advance(): void;
}

/** Row b of `buffer` (B, …) becomes what row rows[b] was; of axis 2 only the first `filled` places are in use, when said. */
export function selectRows(buffer: Tensor, rows: readonly number[], filled?: number): void {
  if (rows.every((from, b) => from === b)) return;
  tidy(() => {
    const held = filled === undefined ? buffer : buffer.slice(2, 0, filled);
    const before = held.contiguousCopy();
    for (const [b, from] of rows.entries()) if (from !== b) held.slice(0, b, b + 1).copyFrom(before.slice(0, from, from + 1));
  });
}

/**
 * Keys and values of the tokens already seen, for one layer: room for S tokens, set aside once and filled in place.
 * Decoding token by token with it gives what one full pass gives. Belongs to no scope; free it with `using` or dispose().
 */
export class KVCache implements SteadyCache {
  readonly rule = 0;
  length = 0;
  /** Set by who fills the rows one by one; one token at a time may be added then. Not owned: one serves all layers. */
  rows?: UnevenRows;
  readonly #k: Tensor;
  readonly #v: Tensor;

  /** B sequences, G key-value heads, S tokens at most, D channels a head. `memory`: keys and values to use instead of new ones. */
  constructor(
    readonly B: number,
    readonly G: number,
    readonly S: number,
    readonly D: number,
    memory?: readonly [k: Tensor, v: Tensor],
  ) {
    const [k, v] = memory ?? [Tensor.zeros([B, G, S, D]), Tensor.zeros([B, G, S, D])];
    this.#k = k.asParameter().freeze();
    this.#v = v.asParameter().freeze();
  }

  /** Sequence b as a cache of its own, in the memory of this one, to fill the rows one by one; set `length`, and `rows` if they are not equally long, here afterwards. */
  row(b: number): KVCache {
    const row = new KVCache(1, this.G, this.S, this.D, [this.#k.slice(0, b, b + 1), this.#v.slice(0, b, b + 1)]);
    row.length = this.length - (this.rows?.behind[b] ?? 0);
    return row;
  }

  /** Adds k and v (B, G, T, D); returns views of all that is held, (B, G, length, D). */
  append(k: Tensor, v: Tensor): [Tensor, Tensor] {
    const { T } = k.dims('B G T D', { B: this.B, G: this.G, D: this.D });
    const at = this.length;
    check(
      at + T <= this.S,
      () => `the KV cache holds ${this.S} tokens and ${at} are in it; ${T} more do not fit. Make it longer, or drop the oldest`,
    );
    if (this.rows) this.#appendToRows(k, v, T);
    else {
      this.#k.slice(2, at, at + T).copyFrom(k);
      this.#v.slice(2, at, at + T).copyFrom(v);
    }
    this.length = at + T;
    return [this.#k.slice(2, 0, this.length), this.#v.slice(2, 0, this.length)];
  }
  #appendToRows(k: Tensor, v: Tensor, T: number): void {
    check(T === 1, () => `the KV cache holds sequences of unequal length: they grow by one token at a time, not by ${T}`);
    for (const [b, at] of this.rows!.places(this.length).entries()) {
      const place = (x: Tensor): Tensor => x.slice(0, b, b + 1).slice(2, at, at + 1);
      place(this.#k).copyFrom(k.slice(0, b, b + 1));
      place(this.#v).copyFrom(v.slice(0, b, b + 1));
    }
  }
  advance(): void {
    this.length++;
  }
  /** Forgets everything after the first `length` tokens. */
  truncate(length: number): void {
    this.length = Math.min(this.length, length);
  }
  select(rows: readonly number[]): void {
    if (this.length === 0) return;
    for (const held of [this.#k, this.#v]) selectRows(held, rows, this.length);
  }
  get bytes(): number {
    return 2 * this.B * this.G * this.S * this.D * 4;
  }
  [Symbol.dispose](): void {
    this.#k.free('its KV cache was disposed of');
    this.#v.free('its KV cache was disposed of');
  }
}
