import { QuantisedWeight, Tensor } from '../tensor/index.ts';
import { Embedding } from './embedding.ts';
import { Linear } from './linear.ts';
import { freeze, walk } from './walk.ts';

/** How the matrices of a model that only writes are kept. */
export const weightPrecisions = ['f32', 'bf16', 'int8', 'int4'] as const;
export type WeightPrecision = (typeof weightPrecisions)[number];

/** What `quantise` did. */
export interface Quantised {
  /** Bytes of the matrices before and after. */
  bytesBefore: number;
  bytesAfter: number;
  /** Matrices left as they were, by name: their rows cannot be cut into blocks of 32. */
  kept: string[];
}

/**
 * Makes a model smaller and faster to write with: the weights of its linear layers and token embeddings become bf16 (2 bytes a number), or
 * blocks of 32 whole numbers with one scale: int8 (1.06 bytes) or int4 (0.56 bytes). Norms, biases and tables of positions stay f32. Tied weights
 * stay tied. The model is frozen: it cannot be trained any more, and asking for a gradient through int8 or int4 throws.
 * docs/performance.md says what each costs in bits per byte.
 */
export function quantise(model: object, precision: WeightPrecision): Quantised {
  const done: Quantised = { bytesBefore: 0, bytesAfter: 0, kept: [] };
  freeze(model);
  if (precision === 'f32') return done;
  const made = new Map<Tensor, Tensor | QuantisedWeight | undefined>();
  for (const [path, module] of walk(model)) {
    if (!(module instanceof Linear || (module instanceof Embedding && !/position/i.test(path)))) continue;
    const { weight } = module;
    if (!(weight instanceof Tensor)) continue; // it has been done before
    if (!made.has(weight)) made.set(weight, smaller(weight, precision));
    const small = made.get(weight);
    if (small === undefined) done.kept.push(`${path}.weight`);
    // A QuantisedWeight is no Tensor, but it is all that linear() and rows() ask of one.
    else (module as { weight: Tensor | QuantisedWeight }).weight = small;
  }
  for (const [weight, small] of made) {
    if (small === undefined) continue;
    done.bytesBefore += bytesOf(weight);
    done.bytesAfter += bytesOf(small);
    weight.free(`its model was quantised to ${precision}`);
  }
  return done;
}

function smaller(weight: Tensor, precision: Exclude<WeightPrecision, 'f32'>): Tensor | QuantisedWeight | undefined {
  if (weight.shape[1] % 32 === 0) return QuantisedWeight.from(weight, { bf16: 16, int8: 8, int4: 4 }[precision] as 16 | 8 | 4);
  return precision === 'bf16' ? weight.contiguousCopy('bf16').asParameter().freeze() : undefined;
}
const bytesOf = (w: Tensor | QuantisedWeight): number =>
  w instanceof QuantisedWeight ? w.codes.size : w.size * { f32: 4, bf16: 2, f16: 2, i32: 4, u8: 1 }[w.dtype];
