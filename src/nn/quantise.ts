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
  for (const [weight, places] of matricesOf(model)) {
    const small = smaller(weight, precision);
    if (small === undefined) {
      done.kept.push(...places.map(({ path }) => `${path}.weight`));
      continue;
    }
    done.bytesBefore += bytesOf(weight);
    done.bytesAfter += bytesOf(small);
    put(small, places);
    weight.free(`its model was quantised to ${precision}`);
  }
  return done;
}

/**
 * The same for a model that is still to be filled: gives, for one of its matrices, the small one that has taken its place, to be set row by row; undefined for
 * tensors that stay. Whoever has filled the model calls `quantise`, for the few that cannot be made so (bf16 with rows that are no multiple of 32).
 */
export function smallMatrices(model: object, precision: WeightPrecision): (t: Tensor) => QuantisedWeight | undefined {
  const matrices = precision === 'f32' ? new Map<Tensor, Place[]>() : matricesOf(model);
  return (t) => {
    const places = matrices.get(t);
    if (!places || t.shape[1] % BLOCK !== 0) return undefined;
    const small = new QuantisedWeight(bitsOf[precision as keyof typeof bitsOf], t.shape);
    put(small, places);
    return small;
  };
}

interface Place {
  path: string;
  module: Linear | Embedding;
}
/** What becomes smaller, and the modules that hold it: several where weights are tied. */
function matricesOf(model: object): Map<Tensor, Place[]> {
  const found = new Map<Tensor, Place[]>();
  for (const [path, module] of walk(model)) {
    if (!(module instanceof Linear || (module instanceof Embedding && !/position/i.test(path)))) continue;
    const { weight } = module;
    if (!(weight instanceof Tensor) || weight.dtype !== 'f32') continue; // it has been done before
    found.set(weight, [...(found.get(weight) ?? []), { path, module }]);
  }
  return found;
}
// A QuantisedWeight is no Tensor, but it is all that linear() and rows() ask of one.
function put(weight: Tensor | QuantisedWeight, places: readonly Place[]): void {
  for (const { module } of places) (module as { weight: Tensor | QuantisedWeight }).weight = weight;
}

const BLOCK = 32;
const bitsOf = { bf16: 16, int8: 8, int4: 4 } as const;
function smaller(weight: Tensor, precision: Exclude<WeightPrecision, 'f32'>): Tensor | QuantisedWeight | undefined {
  if (weight.shape[1] % BLOCK === 0) return QuantisedWeight.from(weight, bitsOf[precision]);
  return precision === 'bf16' ? weight.contiguousCopy('bf16').asParameter().freeze() : undefined;
}
const bytesOf = (w: Tensor | QuantisedWeight): number =>
  w instanceof QuantisedWeight ? w.codes.size : w.size * { f32: 4, bf16: 2, f16: 2, i32: 4, u8: 1 }[w.dtype];
