import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createReference } from '../../src/tensor/backends/reference/index.ts';
import { noGrad, type Rng, scope, Tensor, withBackend } from '../../src/tensor/index.ts';

/** Largest |a − b|. */
export function largest(a: Tensor | ArrayLike<number>, b: Tensor | ArrayLike<number>): number {
  const [x, y] = [a, b].map((t) => (t instanceof Tensor ? t.readSync() : t));
  if (x.length !== y.length) throw new Error(`${x.length} numbers against ${y.length}`);
  let worst = 0;
  for (let i = 0; i < x.length; i++) {
    if (Number.isNaN(x[i]) || Number.isNaN(y[i])) return Number.NaN; // no NaN is close to anything
    worst = Math.max(worst, Math.abs(x[i] - y[i]));
  }
  return worst;
}

export const normal = (rng: Rng, ...shape: number[]): Tensor => Tensor.normal(shape, 1, rng);
export const pick = <T>(rng: Rng, ...choices: readonly T[]): T => choices[rng.int(choices.length)];

/** Flat numbers as rows of `width`. */
export const rowsOf = (values: ArrayLike<number>, width: number): number[][] =>
  Array.from({ length: values.length / width }, (_, r) => Array.from({ length: width }, (_, c) => values[r * width + c]));

/** Head (b, h) of a (B, H, T, D) tensor as T rows. */
export const headOf = (x: Tensor, b: number, h: number): number[][] =>
  rowsOf(
    x
      .slice(0, b, b + 1)
      .slice(1, h, h + 1)
      .readSync(),
    x.shape.at(-1)!,
  );

const reference64 = createReference({ precision: 'f64' });

/**
 * The largest relative error of the gradients of Σ w ∘ f(x) against central differences in float64, ε = 1e-5; `make` builds the leaves.
 * Relative to the largest entry of each gradient.
 */
export function differenceError(rng: Rng, make: () => Tensor[], f: (x: Tensor[]) => Tensor): number {
  return withBackend(reference64, () => {
    using _ = scope('finite differences');
    const leaves = make().map((t) => t.requireGrad());
    const y = f(leaves);
    const w = Tensor.normal(y.shape, 1, rng);
    const grads = y.mul(w).sum().backward();
    const loss = (): number => noGrad(() => f(leaves).mul(w).sum().itemSync());
    let worst = 0;
    for (const leaf of leaves) {
      const g = grads.get(leaf)!.readSync();
      const values = Float64Array.from(leaf.readSync());
      const numeric = values.map((x, i) => {
        const at = (v: number): number => {
          values[i] = v;
          leaf.write(values);
          return loss();
        };
        const slope = (at(x + 1e-5) - at(x - 1e-5)) / 2e-5;
        values[i] = x;
        leaf.write(values);
        return slope;
      });
      worst = Math.max(worst, largest(g, numeric) / Math.max(...numeric.map(Math.abs), 1e-3));
    }
    return worst;
  });
}

const parity = (file: string): string => fileURLToPath(new URL(`../parity/attention/${file}`, import.meta.url));
export const goldenPath = parity;
export const goldenJson = (file: string): unknown => JSON.parse(readFileSync(parity(file), 'utf8'));
