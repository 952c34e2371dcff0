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

/** y = (w + offset) · x / √(mean(x²) + ε) over the last axis. Zhang & Sennrich 2019, eq. 4; offset 1, with w near 0, is Gemma's. */
export class RMSNorm {
  readonly weight: Tensor;

  constructor(
    C: number,
    readonly eps = 1e-6,
    readonly offset = 0,
  ) {
    this.weight = Tensor.full([C], 1 - offset).asParameter();
  }
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, this.eps, this.offset);
  }
}
