import type { Rng, Tensor } from '../tensor/index.ts';

/** Dropout while the context has an rng; the identity otherwise. */
export const dropout = (x: Tensor, p: number, { rng }: { rng?: Rng }): Tensor => (rng && p > 0 ? x.dropout(p, rng.fork()) : x);
