// Many MLPs, of which each token uses a few. N tokens · C = dModel channels · E experts · k experts a token

import { Linear, type MLPOptions, SwiGLU } from '../nn/index.ts';
import { check, concat, noGrad, type Rng, stack, Tensor } from '../tensor/index.ts';

export interface MixtureOptions extends MLPOptions {
  /** E. */
  nExpert: number;
  /** k: the experts with the highest scores. */
  nPerToken: number;
  /** The k weights sum to 1 (Mixtral); else they are the router's probabilities as they are (OLMoE, some Qwen). */
  renormalise?: boolean;
  /** Width of one more MLP, which every token uses, behind a gate of its own: + σ(x w) · SwiGLU(x). Qwen Team 2024; Dai et al. 2024, §3.2 */
  dShared?: number;
  rng: Rng;
}

/** Where a layer sent its tokens: what `balanceLoss` takes. */
export interface Routing {
  /** The router's probabilities, (N, E). */
  probs: Tensor;
  /** The k chosen experts of each token, (N, k), best first. */
  chosen: Int32Array;
}

/**
 * y = Σ over the top k of wₑ · SwiGLUₑ(x), with w from softmax(x W_r). Parameters grow with E, the work of a token with k.
 * Shazeer et al. 2017, §2; Jiang et al. 2024, §2.1. The router is read to know which rows go where: one wait a layer.
 */
export class MixtureOfExperts {
  readonly router: Linear;
  readonly experts: SwiGLU[];
  readonly shared?: SwiGLU;
  readonly sharedGate?: Linear;
  readonly #o: MixtureOptions;

  constructor(o: MixtureOptions) {
    const { dModel, nExpert, nPerToken, std, rng } = o;
    check(nPerToken >= 1 && nPerToken <= nExpert, `MixtureOfExperts: ${nPerToken} experts a token, of ${nExpert}`);
    this.#o = o;
    this.router = new Linear(dModel, nExpert, { bias: false, std, rng });
    this.experts = Array.from({ length: nExpert }, () => new SwiGLU(o));
    if (o.dShared) {
      this.shared = new SwiGLU({ ...o, dFF: o.dShared });
      this.sharedGate = new Linear(dModel, 1, { bias: false, std, rng });
    }
  }

  /** x (…, C) → y (…, C), and which experts the tokens went to. */
  forward(x: Tensor): { y: Tensor; routing: Routing } {
    const { nPerToken: k, renormalise = true } = this.#o;
    const C = x.shape.at(-1)!;
    const rows = x.reshape([x.size / C, C]);
    const probs = this.router.forward(rows).softmax(); // (N, E)
    const chosen = noGrad(() => probs.topK(k).indices.readSync()) as Int32Array; // (N, k), best first
    let weights = pickEach(probs, chosen, k); // (N, k)
    if (renormalise) weights = weights.div(weights.sum({ axis: -1, keepDims: true }));

    // Each expert computes the rows that chose it, all at once; `place` says where in that order the row of (token, slot) came to lie.
    const parts: Tensor[] = [];
    const place = new Int32Array(chosen.length);
    let at = 0;
    for (const [e, expert] of this.experts.entries()) {
      const mine = Int32Array.from(chosen.keys()).filter((i) => chosen[i] === e);
      if (mine.length === 0) continue;
      for (const i of mine) place[i] = at++;
      parts.push(expert.forward(rows.rows(mine.map((i) => Math.floor(i / k)))));
    }
    const N = rows.shape[0];
    const each = concat(parts, 0).rows(place, [N, k]); // (N, k, C)
    let y = each.mul(weights.reshape([N, k, 1])).sum({ axis: 1 });
    if (this.shared) y = y.add(this.shared.forward(rows).mul(this.sharedGate!.forward(rows).sigmoid()));
    return { y: y.reshape(x.shape), routing: { probs, chosen } };
  }
}

/**
 * E · Σₑ fₑ·Pₑ: fₑ the share of the tokens sent to expert e, Pₑ its mean probability. k when all are equally busy, and then smallest.
 * Fedus et al. 2021, eq. 4; f has no derivative, P has.
 */
export function balanceLoss({ probs, chosen }: Routing): Tensor {
  const { N, E } = probs.dims('N E');
  const shares = new Float32Array(E);
  for (const e of chosen) shares[e] += 1 / N;
  return probs.mean({ axis: 0 }).mul(Tensor.from(shares)).sum().mul(E);
}

/** The routing of several layers as one, so that the loss sees a token once a layer (transformers). */
export const allRouting = (layers: readonly Routing[]): Routing => ({
  probs: concat(
    layers.map((r) => r.probs),
    0,
  ),
  chosen: Int32Array.from(layers.flatMap((r) => [...r.chosen])),
});

/** probs (N, E) at the k chosen places of each row → (N, k) */
function pickEach(probs: Tensor, chosen: Int32Array, k: number): Tensor {
  const N = probs.shape[0];
  const slots = Array.from({ length: k }, (_, j) =>
    probs.pick(Tensor.from(Int32Array.from({ length: N }, (_n, n) => chosen[n * k + j]))),
  );
  return stack(slots, 1);
}
