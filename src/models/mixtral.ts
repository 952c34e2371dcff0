// B batch · T tokens · C = dModel channels · H heads · G key-value heads · D head channels · F width of an expert · V vocabulary

import { type AttentionCache, type Context, inLayer, type LayerContext, Rotary, type SelfAttention } from '../attention/index.ts';
import { dropout, Embedding, Linear, RMSNorm } from '../nn/index.ts';
import { check, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import { type Decoder, layerCaches, type TokenBatch, forward, nextLogits, lossOf, embedded } from './decoder.ts';
import { llamaAttention, type LlamaConfig, llamaDefaults, residualStd, STD } from './llama.ts';
import { allRouting, balanceLoss, MixtureOfExperts, type Routing } from './mixture-of-experts.ts';

/** As Llama's, with dFF the width of one expert. */
export interface MixtralConfig extends LlamaConfig {
  /** E experts in each layer, of which a token uses the best few. */
  nExpert: number;
  nExpertPerToken: number;
  /** The weights of the chosen ones sum to 1; Qwen 2's do not. */
  renormalise?: boolean;
  /** Width of an MLP that every token uses (Qwen 2). */
  dShared?: number;
  /** Share of the loss that keeps the experts equally busy; it teaches, and does not measure. */
  balanceWeight?: number;
}

export const mixtralDefaults = (c: MixtralConfig) => ({
  ...llamaDefaults(c),
  tied: false,
  renormalise: true,
  balanceWeight: 0.001,
  ...c,
});
type Config = ReturnType<typeof mixtralDefaults>;

/** Llama's block with many MLPs in the place of one. */
class Block {
  readonly attnNorm: RMSNorm;
  readonly attn: SelfAttention;
  readonly mlpNorm: RMSNorm;
  readonly mlp: MixtureOfExperts;
  readonly #dropout: number;

  constructor(c: Config, rotary: Rotary, rng: Rng) {
    const { dModel, nLayer, dFF, normEps, nExpert, nExpertPerToken: nPerToken, renormalise, dShared, dropout: p } = c;
    const size = { dModel, dFF, bias: false, std: STD, residualStd: residualStd(nLayer), rng };
    this.#dropout = p;
    this.attnNorm = new RMSNorm(dModel, normEps);
    this.attn = llamaAttention(c, rotary, rng);
    this.mlpNorm = new RMSNorm(dModel, normEps);
    this.mlp = new MixtureOfExperts({ ...size, nExpert, nPerToken, renormalise, dShared });
  }
  forward(x: Tensor, ctx: LayerContext): { x: Tensor; routing: Routing } {
    let chosen: Int32Array;
    const { y, probs } = tidy(() => {
      x = x.add(this.attn.forward(this.attnNorm.forward(x), ctx));
      const { y: branch, routing } = this.mlp.forward(this.mlpNorm.forward(x));
      chosen = routing.chosen;
      return { y: x.add(dropout(branch, this.#dropout, ctx)), probs: routing.probs };
    }, 'block');
    return { x: y, routing: { probs, chosen: chosen! } };
  }
}

/**
 * Mixtral: Llama with a mixture of experts in every layer. Jiang et al. 2024. By its settings also Qwen 2 MoE (biases, a shared expert, weights
 * as the router gives them) and Qwen 3 MoE (QK-norm).
 */
export class Mixtral implements Decoder {
  readonly config: Config;
  readonly rotary: Rotary;
  readonly tokenEmbedding: Embedding;
  readonly blocks: Block[];
  readonly norm: RMSNorm;
  readonly lmHead?: Linear;
  readonly unevenRows = true;
  readonly forward = forward(this);
  readonly nextLogits = nextLogits(this);

  constructor(config: MixtralConfig, rng: Rng) {
    this.config = mixtralDefaults(config);
    const { vocabSize, dModel, headDim, nLayer, ropeBase, ropeScaling, normEps, tied } = this.config;
    check(headDim % 2 === 0, `headDim (${headDim}) must be even: rotary positions turn pairs of channels`);
    this.rotary = new Rotary(headDim / 2, ropeBase, false, ropeScaling);
    this.tokenEmbedding = new Embedding(vocabSize, dModel, { std: STD, rng });
    this.blocks = Array.from({ length: nLayer }, () => new Block(this.config, this.rotary, rng));
    this.norm = new RMSNorm(dModel, normEps);
    if (!tied) this.lmHead = new Linear(dModel, vocabSize, { bias: false, std: STD, rng });
  }

  /** The last hidden states (B, T, C), normed, and where every layer sent its tokens. */
  #read(ids: Int32Array, shape: readonly [number, number], ctx: Context): { hidden: Tensor; routing: Routing[] } {
    let x = embedded(this, ids, shape, ctx);
    const routing: Routing[] = [];
    for (const [i, block] of this.blocks.entries()) {
      const layer = inLayer(ctx, i);
      const after = block.forward(x, layer);
      x = after.x;
      routing.push(after.routing);
      layer.record?.('output', x.detach());
      layer.record?.('router.probs', after.routing.probs.detach());
    }
    return { hidden: this.norm.forward(x), routing };
  }
  hidden(ids: Int32Array, shape: readonly [number, number], ctx: Context = {}): Tensor {
    return this.#read(ids, shape, ctx).hidden;
  }
  /** Cross-entropy; while training (ctx.rng is there) with the loss that balances the experts. */
  loss({ inputs, targets, shape }: TokenBatch, ctx: Context = {}): Tensor {
    const { hidden, routing } = this.#read(inputs, shape, ctx);
    const loss = lossOf(this, hidden, targets);
    const { balanceWeight } = this.config;
    return ctx.rng && balanceWeight > 0 ? loss.add(balanceLoss(allRouting(routing)).mul(balanceWeight)) : loss;
  }
  newCaches(B: number, length = this.config.contextLength): AttentionCache[] {
    return layerCaches(B, length, this.config, () => this.config.window);
  }
}
