/** The models whose whole training step is measured; each contender, ours or another's, is a process of its own that is given one of these as JSON. */
// V vocabulary · L layers · H heads · C channels · T tokens of a row · B rows

export interface TrainConfiguration {
  V: number;
  /** Rows of the position table. */
  contextLength: number;
  L: number;
  H: number;
  C: number;
  T: number;
  B: number;
  /** Steps of one turn; turns alternate between the contenders. */
  stepsPerTurn: number;
}

export const configurations: Readonly<Record<string, TrainConfiguration>> = {
  char: { V: 65, contextLength: 256, L: 6, H: 6, C: 384, T: 256, B: 64, stepsPerTurn: 1 },
  small: { V: 65, contextLength: 64, L: 4, H: 4, C: 128, T: 64, B: 12, stepsPerTurn: 20 },
  'gpt2-124M': { V: 50257, contextLength: 1024, L: 12, H: 12, C: 768, T: 64, B: 4, stepsPerTurn: 1 },
};

/**
 * Useful floating-point operations of one step: forward and backward are three products for each matrix, 2 operations a weight and token each;
 * of attention's T×T products (QKᵀ and PV, 3 times 2·T·C a token) half is seen. Norms, GELU and the optimizer are not counted.
 */
export function flopsPerStep({ V, L, C, T, B }: TrainConfiguration): number {
  const matrices = L * 12 * C * C + V * C;
  return B * T * (6 * matrices + L * ((3 * 2 * 2 * T * C) / 2));
}
