import type { DType } from '../../src/tensor/dtype.ts';
import { Rng } from '../../src/tensor/random.ts';
import { sizeOf } from '../../src/tensor/backends/reference/view.ts';
import { type Operand, put, trap } from './operand.ts';

/**
 * contiguous: row-major from some offset · rows: last axis at stride 1, the others in any order with gaps · strided: any order, gaps anywhere.
 * `repeats`: axes may also have stride 0 (inputs only).
 */
export type Layout = 'contiguous' | 'rows' | 'strided';

/** Ones, primes, and the sizes beside the tiles' 8, 16, 32 and 64. */
const sizes = [
  1, 1, 2, 3, 5, 7, 8, 9, 11, 13, 15, 16, 17, 19, 23, 29, 31, 32, 33, 37, 41, 47, 61, 63, 64, 65, 67, 97, 127, 128, 131, 257,
];

/** All the chance in a case. The same seed draws the same case. */
export class Draw {
  readonly #rng: Rng;
  constructor(seed: number) {
    this.#rng = new Rng(seed);
  }

  uniform(low = 0, high = 1): number {
    return low + (high - low) * this.#rng.uniform();
  }
  normal(): number {
    return this.#rng.normal();
  }
  /** low … high, both included */
  int(low: number, high: number): number {
    return low + this.#rng.int(high - low + 1);
  }
  chance(p: number): boolean {
    return this.#rng.uniform() < p;
  }
  pick<T>(...list: readonly T[]): T {
    return list[this.#rng.int(list.length)];
  }
  seed(): number {
    return this.#rng.fork();
  }

  /** An axis of at most `most`. */
  size(most: number): number {
    return this.pick(...sizes.filter((n) => n <= most));
  }
  /** The same, and now and then 0. */
  count(most: number): number {
    return this.chance(0.05) ? 0 : this.size(most);
  }
  /** `rank` axes with at most `most` elements in all; now and then one of them empty. */
  shape(rank: number, most: number, { empty = 0.03 } = {}): number[] {
    const shape: number[] = [];
    for (let a = 0; a < rank; a++) {
      const size = this.size(Math.max(1, Math.floor(most / sizeOf(shape))));
      if (this.chance(0.5)) shape.push(size);
      else shape.unshift(size);
    }
    if (rank > 0 && this.chance(empty)) shape[this.int(0, rank - 1)] = 0;
    return shape;
  }

  /** Strides and offset by `layout` in a block of traps that is just long enough, and a little longer. */
  place(
    shape: readonly number[],
    { dtype, layout, repeats = false }: { dtype: DType; layout: Layout; repeats?: boolean },
  ): Operand {
    const rank = shape.length;
    const axes = shape.map((_, a) => a).reverse(); // from the innermost in memory to the outermost
    if (layout !== 'contiguous' && this.chance(0.5)) {
      const fixed = layout === 'rows' ? 1 : 0;
      for (let i = rank - 1; i > fixed; i--) {
        const j = this.int(fixed, i);
        [axes[i], axes[j]] = [axes[j], axes[i]];
      }
    }
    const strides = new Array<number>(rank).fill(1);
    let step = 1;
    let last = 0; // place of the last element, from the first
    axes.forEach((a, n) => {
      const inner = n === 0;
      if (layout === 'strided' && inner && this.chance(0.2)) step = this.int(2, 3);
      if (layout !== 'contiguous' && !inner && this.chance(0.3)) step += this.int(1, 7);
      strides[a] = step;
      const mayRepeat = layout === 'strided' || (layout === 'rows' && a !== rank - 1);
      if (repeats && mayRepeat && this.chance(0.15)) strides[a] = 0;
      else {
        last += Math.max(shape[a] - 1, 0) * step;
        step *= Math.max(shape[a], 1);
      }
      // An axis of size 1 is never stepped along: any stride will do.
      if (shape[a] === 1 && layout !== 'contiguous' && a !== rank - 1 && this.chance(0.3)) strides[a] = this.int(0, 99);
    });
    const offset = this.pick(0, 0, 1, 3, 16, 33);
    return { block: trap(dtype, offset + last + 1 + this.int(0, 9)), offset, shape, strides };
  }

  /** An input filled by `value` (standard normal if not given). */
  input(
    shape: readonly number[],
    {
      dtype = 'f32',
      layout = 'contiguous',
      repeats = layout !== 'contiguous',
      value = () => this.normal(),
    }: { dtype?: DType; layout?: Layout; repeats?: boolean; value?: (i: number) => number } = {},
  ): Operand {
    const operand = this.place(shape, { dtype, layout, repeats });
    put(operand, value);
    return operand;
  }

  /** An output: traps everywhere, or `value` where the kernel adds to what is there. */
  output(
    shape: readonly number[],
    { dtype = 'f32', layout = 'contiguous', value }: { dtype?: DType; layout?: Layout; value?: (i: number) => number } = {},
  ): Operand {
    const operand = this.place(shape, { dtype, layout });
    if (value) put(operand, value);
    return operand;
  }

  /** Numbers of the kind that break things: mostly normal draws times `scale`, some zeros, ties and very large or small ones; with `bad` also ±∞ and NaN. */
  value({ scale = 1, bad = 0 } = {}): number {
    if (this.chance(bad)) return this.pick(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    if (this.chance(0.05)) return this.pick(0, -0, 1, -1, 0.5, 2, -2);
    return this.normal() * scale;
  }
}
