import { type Gradients, run, Tensor } from '../tensor/index.ts';

export interface AdamWOptions {
  beta1?: number;
  beta2?: number;
  eps?: number;
  /** Decoupled decay; only matrices decay, vectors (biases, norms) do not. */
  weightDecay?: number;
}

/**
 * m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  p ← p − lr·( m̂/(√v̂ + ε) + λp ),  with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).
 * Loshchilov & Hutter 2019, alg. 2. All parameters in one pass; a step whose gradient norm is not finite changes nothing.
 */
export class AdamW {
  /** Updates made. */
  t = 0;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly #params: ReadonlyMap<string, Tensor>;
  readonly #m: Map<string, Tensor>;
  readonly #v: Map<string, Tensor>;

  /** `params`: name → parameter, as stateDict() gives them. */
  constructor(
    params: ReadonlyMap<string, Tensor>,
    { beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weightDecay = 0.1 }: AdamWOptions = {},
  ) {
    this.beta1 = beta1;
    this.beta2 = beta2;
    this.eps = eps;
    this.weightDecay = weightDecay;
    this.#params = new Map([...params].filter(([, p]) => p.trainable));
    const zeros = (): Map<string, Tensor> =>
      new Map([...this.#params].map(([name, p]) => [name, Tensor.zeros(p.shape).asParameter().freeze()]));
    this.#m = zeros();
    this.#v = zeros();
  }

  /** One update. `norm` (1) is the global gradient norm: gradients are scaled by min(1, clip/norm). */
  step(grads: Gradients, { lr, clip = 0, norm }: { lr: number; clip?: number; norm?: Tensor }): void {
    this.t++;
    const tensors: Tensor[] = [];
    const decays: boolean[] = [];
    for (const [name, p] of this.#params) {
      const g = grads.get(p);
      if (!g) continue;
      tensors.push(p, g.contiguous(), this.#m.get(name)!, this.#v.get(name)!);
      decays.push(p.shape.length >= 2);
    }
    if (norm) tensors.push(norm);
    const { beta1, beta2, eps, weightDecay, t } = this;
    run('adamW', tensors, [], { lr, beta1, beta2, eps, weightDecay, step: t, clip, hasNorm: norm !== undefined, decays });
  }

  /** The moments by name, for checkpoints: `m.NAME` and `v.NAME`. */
  state(): Map<string, Tensor> {
    return new Map([
      ...[...this.#m].map(([n, t]) => [`m.${n}`, t] as const),
      ...[...this.#v].map(([n, t]) => [`v.${n}`, t] as const),
    ]);
  }
  dispose(): void {
    for (const t of this.state().values()) t.free('its optimizer was disposed of');
  }
}
