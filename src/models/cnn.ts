// Convolutions over tokens. B batch · T tokens · I input channels · O output channels · K taps

import { Linear } from '../nn/index.ts';
import { check, concat, type Rng, type Tensor } from '../tensor/index.ts';
import type { CarriedState } from './recurrent-state.ts';

export interface ConvolutionOptions {
  dIn: number;
  dOut: number;
  /** Taps: neighbours that one output sees. */
  width: number;
  /** Places between two taps. */
  dilation?: number;
  /** Sees itself and the past only; else as much to the right as to the left. */
  causal?: boolean;
  std?: number;
  rng: Rng;
}

/** y_t = b + Σₖ Wₖ x_(t + (k − c)·dilation), where the last tap (causal) or the middle one stands on t; outside of the text there are zeros. */
export class Convolution {
  /** (O, K·I): the taps side by side, the earliest first. */
  readonly proj: Linear;
  readonly #o: ConvolutionOptions;

  constructor(o: ConvolutionOptions) {
    const { dIn, dOut, width, causal = false, std = 1 / Math.sqrt(width * dIn), rng } = o;
    check(causal || width % 2 === 1, `Convolution: width ${width} must be odd, or the convolution causal`);
    this.#o = o;
    this.proj = new Linear(width * dIn, dOut, { std, rng });
  }
  /** x (B, T, I) → (B, T, O). While writing, `carried` holds the inputs before x. */
  forward(x: Tensor, carried?: CarriedState): Tensor {
    const { width, dilation = 1, causal = false } = this.#o;
    const { T } = x.dims('B T I');
    const reach = (width - 1) * dilation;
    const before = carried?.held?.[0];
    const wide = before ? concat([before, x], 1) : causal ? x.pad(1, reach, 0) : x.pad(1, reach / 2, reach / 2);
    carried?.advance(T, [wide.slice(1, T, T + reach)]);
    const taps = Array.from({ length: width }, (_, k) => wide.slice(1, k * dilation, k * dilation + T));
    return this.proj.forward(concat(taps));
  }
}

/** a ∘ σ(b), of the two halves of the channels: a gate without a squashed signal. Dauphin et al. 2017, eq. 1. */
export function glu(x: Tensor): Tensor {
  const [a, b] = x.split(2);
  return a.mul(b.sigmoid());
}

/** Places that one output of a stack sees, itself counted: 1 + Σ (width − 1)·dilation. */
export const receptiveField = (layers: readonly { width: number; dilation?: number }[]): number =>
  layers.reduce((n, { width, dilation = 1 }) => n + (width - 1) * dilation, 1);
