import { layerNorm, rmsNorm, Tensor } from '../tensor/index.ts';

/** y = (x − mean)/√(var + ε) · w + b over the last axis. Ba et al. 2016, eq. 4. */
export class LayerNorm {
  readonly weight: Tensor;
  readonly bias?: Tensor;

  constructor(C: number, { eps = 1e-5, bias = true }: { eps?: number; bias?: boolean } = {}) {
    this.eps = eps;
    this.weight = Tensor.ones([C]).asParameter();
    if (bias) this.bias = Tensor.zeros([C]).asParameter();
  }
  readonly eps: number;
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
}

/** y = w · x / √(mean(x²) + ε) over the last axis. Zhang & Sennrich 2019, eq. 4. */
export class RMSNorm {
  readonly weight: Tensor;

  constructor(
    C: number,
    readonly eps = 1e-6,
  ) {
    this.weight = Tensor.ones([C]).asParameter();
  }
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, this.eps);
  }
}
