export { attentionByLoops, attentionGradientsByLoops, type LoopOptions } from './attention-by-loops.ts';
export { type Context, inLayer, type LayerContext } from './context.ts';
export { CrossAttention, type CrossAttentionOptions, CrossCache, type CrossContext } from './cross-attention.ts';
export { type AttentionCache, KVCache, selectRows, type SteadyCache } from './kv-cache.ts';
export { linearAttention, LinearAttentionState, linearFeatures } from './linear-attention.ts';
export {
  bandMask,
  blockMask,
  causalMask,
  documentMask,
  eitherMask,
  globalLocalMask,
  maskFrom,
  paddingMask,
  prefixMask,
  stridedMask,
} from './masks.ts';
export { SelfAttention, type SelfAttentionOptions } from './multi-head.ts';
export { LearnedPositions, sinusoidalPositions } from './positions.ts';
export { QuantizedCache } from './quantized-cache.ts';
export { Alibi, alibiSlopes, type BucketOptions, type PositionBias, RelativeBias, relativeBucket } from './relative-bias.ts';
export { ropeFrequencies, type RopeScaling, type YarnOptions } from './rope-scaling.ts';
export { convertProjection, Rotary, toHalfSplit, toInterleaved } from './rotary.ts';
export { RotatingCache } from './rotating-cache.ts';
export {
  attention,
  type AttentionOptions,
  attentionWeights,
  plainAttention,
  type Recording,
  repeatHeads,
} from './scaled-dot-product.ts';
export { AdditiveScore, ConcatScore, dotScore, GeneralScore, scaledDotScore, type Score } from './scores.ts';
export { keysSeen, nextPlace, UnevenRows } from './uneven-rows.ts';
