import { type Rng, type Shape, Tensor } from '../tensor/index.ts';

/** One learned row of C numbers for each of V ids. */
export class Embedding {
  readonly weight: Tensor;

  constructor(V: number, C: number, { std = 0.02, rng }: { std?: number; rng: Rng }) {
    this.weight = Tensor.normal([V, C], std, rng).asParameter();
  }
  /** ids in the given shape → (…shape, C). Throws on an id outside 0 … V − 1. */
  forward(ids: ArrayLike<number>, shape: Shape): Tensor {
    return this.weight.rows(ids, shape);
  }
}
