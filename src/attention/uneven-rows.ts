import { Tensor } from '../tensor/index.ts';
import type { AttentionCache } from './kv-cache.ts';

/**
 * Sequences of unequal length in one cache, each from place 0 on: row b is `behind[b]` tokens shorter than the longest. Every step adds a token to
 * each, so that this never changes, nor does the mask, seen from the end of the keys: row b looks at none of the last behind[b].
 * Weights are read once for all rows, and each gets the bits that it gets alone.
 */
export class UnevenRows implements Disposable {
  readonly #masks = new Map<number | undefined, Tensor>();

  /** `room`: the longest that a sequence becomes. */
  constructor(
    readonly behind: readonly number[],
    readonly room: number,
  ) {}

  /** The place of each row's next token, when the longest row has `length`. */
  places(length: number): Int32Array {
    return Int32Array.from(this.behind, (n) => length - n);
  }
  /** For one query a row and the first S places: (B, 1, 1, S), a view; with a window no more than it and the query itself is seen. */
  mask(S: number, window?: number): Tensor {
    const mask = this.#masks.get(window) ?? this.#make(window);
    return mask.slice(3, this.room - S, this.room);
  }
  #make(window = this.room): Tensor {
    const { room } = this;
    const values = new Float32Array(this.behind.length * room).fill(-Infinity);
    for (const [b, n] of this.behind.entries()) values.fill(0, b * room + Math.max(0, room - n - 1 - window), (b + 1) * room - n);
    const mask = Tensor.from(values, [this.behind.length, 1, 1, room]).asParameter().freeze();
    this.#masks.set(window === room ? undefined : window, mask);
    return mask;
  }
  [Symbol.dispose](): void {
    for (const mask of this.#masks.values()) mask.free('its rows were disposed of');
    this.#masks.clear();
  }
}

/** The place of the next token: one for all rows, or one a row. */
export const nextPlace = (cache: AttentionCache | undefined): number | Int32Array =>
  cache?.rows?.places(cache.length) ?? cache?.length ?? 0;

/** What `attention` has to be told of S keys of this cache: rows of unequal length have a mask, which does what a window does. */
export const keysSeen = (cache: AttentionCache | undefined, S: number, window?: number): { mask?: Tensor; window?: number } =>
  cache?.rows ? { mask: cache.rows.mask(S, window) } : { window };
