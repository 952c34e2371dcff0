import { type Rng, swiglu, type Tensor } from '../tensor/index.ts';
import { Linear } from './linear.ts';

export interface MLPOptions {
  dModel: number;
  dFF: number;
  bias: boolean;
  /** Standard deviation of the weights, and of the projection that writes into the residual stream. */
  std: number;
  residualStd: number;
  rng: Rng;
}

/** What bends the line between two matrices, by its usual name. */
export const activations = {
  relu: (x: Tensor): Tensor => x.relu(),
  /** So et al. 2021 */
  reluSquared: (x: Tensor): Tensor => x.relu().square(),
  gelu: (x: Tensor): Tensor => x.gelu(),
  geluTanh: (x: Tensor): Tensor => x.geluTanh(),
  silu: (x: Tensor): Tensor => x.silu(),
  tanh: (x: Tensor): Tensor => x.tanh(),
};
export type Activation = keyof typeof activations;

/** f(x W₁ᵀ + b₁) W₂ᵀ + b₂: it sees one token at a time. Vaswani et al. 2017, eq. 2 (f = ReLU); f is GPT-2's GELU when left out. */
export class MLP {
  readonly upProj: Linear;
  readonly downProj: Linear;
  readonly activation: Activation;

  constructor({ dModel, dFF, bias, std, residualStd, rng, activation = 'geluTanh' }: MLPOptions & { activation?: Activation }) {
    this.activation = activation;
    this.upProj = new Linear(dModel, dFF, { bias, std, rng });
    this.downProj = new Linear(dFF, dModel, { bias, std: residualStd, rng });
  }
  forward(x: Tensor): Tensor {
    return this.downProj.forward(activations[this.activation](this.upProj.forward(x)));
  }
}

/** (SiLU(x W_gᵀ) ∘ x W_uᵀ) W_dᵀ: a gate decides how much of each channel passes. Shazeer 2020, eq. 6. */
export class SwiGLU {
  readonly gateProj: Linear;
  readonly upProj: Linear;
  readonly downProj: Linear;

  constructor({ dModel, dFF, bias, std, residualStd, rng }: MLPOptions) {
    this.gateProj = new Linear(dModel, dFF, { bias, std, rng });
    this.upProj = new Linear(dModel, dFF, { bias, std, rng });
    this.downProj = new Linear(dFF, dModel, { bias, std: residualStd, rng });
  }
  forward(x: Tensor): Tensor {
    return this.downProj.forward(swiglu(this.gateProj.forward(x), this.upProj.forward(x)));
  }
}

/** (GELU(x W_gᵀ) ∘ x W_uᵀ) W_dᵀ, the gate of T5 v1.1 and Gemma. Shazeer 2020, eq. 6. */
export class GeGLU {
  readonly gateProj: Linear;
  readonly upProj: Linear;
  readonly downProj: Linear;

  constructor({ dModel, dFF, bias, std, residualStd, rng }: MLPOptions) {
    this.gateProj = new Linear(dModel, dFF, { bias, std, rng });
    this.upProj = new Linear(dModel, dFF, { bias, std, rng });
    this.downProj = new Linear(dFF, dModel, { bias, std: residualStd, rng });
  }
  forward(x: Tensor): Tensor {
    return this.downProj.forward(this.gateProj.forward(x).geluTanh().mul(this.upProj.forward(x)));
  }
}
