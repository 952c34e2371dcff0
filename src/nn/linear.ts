import { linear, Tensor, type Rng } from '../tensor/index.ts';

/** y = x Wᵀ + b, with W of shape (dOut, dIn), the layout of every published checkpoint. */
export class Linear {
  readonly weight: Tensor;
  readonly bias?: Tensor;

  /** Weights start normal with standard deviation `std`, the bias at zero. */
  constructor(dIn: number, dOut: number, { bias = true, std = 0.02, rng }: { bias?: boolean; std?: number; rng: Rng }) {
    this.weight = Tensor.normal([dOut, dIn], std, rng).asParameter();
    if (bias) this.bias = Tensor.zeros([dOut]).asParameter();
  }
  /** x (…, dIn) → (…, dOut) */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}
