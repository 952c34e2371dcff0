export { type Context, inLayer, type LayerContext } from './context.ts';
export { KVCache } from './kv-cache.ts';
export { bandMask, documentMask, globalLocalMask, paddingMask, prefixMask } from './masks.ts';
export { SelfAttention, type SelfAttentionOptions } from './multi-head.ts';
export { Rotary, rotaryAngles } from './positions.ts';
export { attention, type AttentionOptions, attentionWeights, plainAttention, repeatHeads } from './scaled-dot-product.ts';
