import { type AttentionCache, type Context, inLayer, KVCache, type LayerContext, RotatingCache } from '../attention/index.ts';
import { dropout, type Embedding, type Linear } from '../nn/index.ts';
import { check, crossEntropy, linear, linearCrossEntropy, type Tensor } from '../tensor/index.ts';

/** What every decoder needs to know of its size; each family adds its own. */
export interface DecoderConfig {
  vocabSize: number;
  contextLength: number;
  nLayer: number;
  nHead: number;
  dModel: number;
}

/** B rows of T token ids and, for each place, the id that follows. */
export interface TokenBatch {
  inputs: Int32Array;
  targets: Int32Array;
  shape: readonly [B: number, T: number];
}

/** A decoder as the rest of the system sees it: ids in, logits or a loss out. */
export interface Decoder {
  readonly config: DecoderConfig;
  /** ids: B rows of T token ids → logits (B, T, V). */
  forward(ids: Int32Array, shape: readonly [B: number, T: number], ctx?: Context): Tensor;
  /** The last hidden states (B, T, C), normed. */
  hidden(ids: Int32Array, shape: readonly [B: number, T: number], ctx?: Context): Tensor;
  /** The logits (B, V) of the last place only: what decoding needs. */
  nextLogits(ids: Int32Array, shape: readonly [B: number, T: number], ctx?: Context): Tensor;
  /** Mean cross-entropy, in nats a token, of predicting each next id. */
  loss(batch: TokenBatch, ctx?: Context): Tensor;
  /** Empty key-value caches, one a layer, for B sequences of at most `length` tokens. */
  newCaches(B: number, length?: number): AttentionCache[];
}

/** x (B, T, C) through every block in turn; a recorder sees what each gives, as `blocks.i.output`. */
export function throughBlocks(
  blocks: readonly { forward(x: Tensor, ctx: LayerContext): Tensor }[],
  x: Tensor,
  ctx: Context,
): Tensor {
  for (const [i, block] of blocks.entries()) {
    const layer = inLayer(ctx, i);
    x = block.forward(x, layer);
    layer.record?.('output', x.detach());
  }
  return x;
}

/** Embeddings of B rows of T tokens that follow what the caches hold, times `scale`: (B, T, C). */
export function embedded(
  { config, tokenEmbedding }: { config: { contextLength: number; dropout: number }; tokenEmbedding: Embedding },
  ids: Int32Array,
  [B, T]: readonly [number, number],
  ctx: Context,
  scale = 1,
): Tensor {
  const { contextLength, dropout: p } = config;
  const start = ctx.caches?.[0]?.length ?? 0;
  check(start + T <= contextLength, `${start + T} tokens, but contextLength is ${contextLength}`);
  const x = tokenEmbedding.forward(ids, [B, T]);
  return dropout(scale === 1 ? x : x.mul(scale), p, ctx);
}

// From hidden states to logits and a loss: alike in all decoders, so that each file holds only what is its own.

/** Hidden states, and the matrix (V, C) that makes logits of them: that of the embedding where there is no other. */
interface Hidden {
  readonly config: { vocabSize: number; logitSoftcap?: number };
  readonly tokenEmbedding: Embedding;
  readonly lmHead?: Linear;
  hidden: Decoder['hidden'];
}
const headWeight = ({ lmHead, tokenEmbedding }: Hidden): Tensor => (lmHead ?? tokenEmbedding).weight;

/** x Wᵀ, with a soft cap c·tanh(·/c) where the family has one: (…, C) → (…, V). */
function logitsOf(model: Hidden, x: Tensor): Tensor {
  const { logitSoftcap: c } = model.config;
  const logits = linear(x, headWeight(model));
  return c ? logits.div(c).tanh().mul(c) : logits;
}
/** Mean cross-entropy of hidden states (B, T, C); without a cap the logits are never whole. */
export const lossOf = (model: Hidden, x: Tensor, targets: Int32Array): Tensor =>
  model.config.logitSoftcap ? crossEntropy(logitsOf(model, x), targets) : linearCrossEntropy(x, headWeight(model), targets);

export const forward =
  (model: Hidden): Decoder['forward'] =>
  (ids, shape, ctx = {}) =>
    logitsOf(model, model.hidden(ids, shape, ctx));

export const nextLogits =
  (model: Hidden): Decoder['nextLogits'] =>
  (ids, shape, ctx = {}) =>
    logitsOf(model, lastPlace(model.hidden(ids, shape, ctx)));

export const loss =
  (model: Hidden): Decoder['loss'] =>
  ({ inputs, targets, shape }, ctx = {}) =>
    lossOf(model, model.hidden(inputs, shape, ctx), targets);

/** The hidden states of the last place only: (B, T, C) → (B, C). */
function lastPlace(hidden: Tensor): Tensor {
  const { B, T, C } = hidden.dims('B T C');
  return hidden.slice(1, T - 1, T).reshape([B, C]);
}

/**
 * Empty caches for B sequences of at most `length` tokens, one a layer. A layer that sees `window(i)` places to the left keeps no more than two
 * windows, however long the text.
 */
export function layerCaches(
  B: number,
  length: number,
  { nLayer, nKvHead, headDim }: { nLayer: number; nKvHead: number; headDim: number },
  window: (layer: number) => number | undefined = () => undefined,
): AttentionCache[] {
  return Array.from({ length: nLayer }, (_, i) => {
    const w = window(i);
    return w !== undefined && 2 * (w + 1) < length
      ? new RotatingCache(B, nKvHead, w, headDim)
      : new KVCache(B, nKvHead, length, headDim);
  });
}
