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

/** GELU(x W₁ᵀ + b₁) W₂ᵀ + b₂: it sees one token at a time. Vaswani et al. 2017, eq. 2, with GPT-2's GELU. */
export class MLP {
  readonly upProj: Linear;
  readonly downProj: Linear;

  constructor({ dModel, dFF, bias, std, residualStd, rng }: MLPOptions) {
    this.upProj = new Linear(dModel, dFF, { bias, std, rng });
    this.downProj = new Linear(dFF, dModel, { bias, std: residualStd, rng });
  }
  forward(x: Tensor): Tensor {
    return this.downProj.forward(this.upProj.forward(x).geluTanh());
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
