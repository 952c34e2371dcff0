import { type Rng, Scope, type Tensor } from '../tensor/index.ts';
import type { AttentionCache } from './kv-cache.ts';

/** What a forward pass may need beyond its input. Every field is optional; `{}` is a plain evaluation. */
export interface Context {
  /** One a layer, while generating. */
  caches?: readonly AttentionCache[];
  /** Added to the scores of every self-attention, (B or 1, H or 1, T or 1, S): padding, packed documents; masks.ts makes them. */
  mask?: Tensor;
  /** false: the mask alone says who sees whom, as in a prefix LM, whose mask is prefixMask. */
  causal?: false;
  /** (B, T), the place of each token for models with a table of positions: packed documents begin again at 0. In order when left out. */
  positions?: Int32Array;
  /** While looking inside: receives `blocks.0.attn.weights`, `blocks.0.output` …; they live until the outermost scope ends, or until freed. */
  record?: (name: string, value: Tensor) => void;
  /** Present while training with dropout: every dropout takes its mask's seed from here, in order. */
  rng?: Rng;
}

export interface LayerContext {
  cache?: AttentionCache;
  mask?: Tensor;
  causal?: false;
  record?: Context['record'];
  rng?: Rng;
}

/** The context as layer i sees it: its own cache, and names that begin with its path. */
export const inLayer = (ctx: Context, i: number): LayerContext => ({
  cache: ctx.caches?.[i],
  mask: ctx.mask,
  causal: ctx.causal,
  record: ctx.record && ((name, value) => ctx.record!(`blocks.${i}.${name}`, Scope.keepOutermost(value))),
  rng: ctx.rng,
});
