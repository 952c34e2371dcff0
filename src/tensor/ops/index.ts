// The table of differentiable operations: each with its shape rule, kernel and derivative, in the file named beside it.
import * as elementwise from './elementwise.ts';
import * as fused from './fused.ts';
import * as indexing from './indexing.ts';
import * as matmul from './matmul.ts';
import * as movement from './movement.ts';
import * as reduce from './reduce.ts';

export { add, cast, compare, div, dropout, maximum, minimum, mul, pow, sub, unary, where } from './elementwise.ts';
export { argmax, logSoftmax, reduce, softmax, topK } from './reduce.ts';
export { linear, matmul } from './matmul.ts';
export { QuantisedWeight } from './quantised.ts';
export { concat, contiguous, expand, pad, permute, reshape, slice, split, stack, transpose, windows } from './movement.ts';
export { embedding, pick } from './indexing.ts';
export {
  crossEntropy,
  fusedAttention,
  layerNorm,
  linearCrossEntropy,
  rmsNorm,
  rope,
  swiglu,
  type AttentionOptions,
  type LossOptions,
} from './fused.ts';

export const table = {
  // elementwise.ts
  add: elementwise.addOp,
  sub: elementwise.subOp,
  mul: elementwise.mulOp,
  div: elementwise.divOp,
  pow: elementwise.powOp,
  maximum: elementwise.maximumOp,
  minimum: elementwise.minimumOp,
  affine: elementwise.affineOp,
  unary: elementwise.unaryOp,
  where: elementwise.whereOp,
  dropout: elementwise.dropoutOp,
  cast: elementwise.castOp,
  // reduce.ts
  reduce: reduce.reduceOp,
  linearReduce: reduce.linearReduceOp,
  softmax: reduce.softmaxOp,
  logSoftmax: reduce.logSoftmaxOp,
  // matmul.ts
  matmul: matmul.matmulOp,
  linear: matmul.linearOp,
  // movement.ts
  split: movement.splitOp,
  concat: movement.concatOp,
  pad: movement.padOp,
  contiguous: movement.contiguousOp,
  // indexing.ts
  embedding: indexing.embeddingOp,
  pick: indexing.pickOp,
  // fused.ts
  layerNorm: fused.layerNormOp,
  rmsNorm: fused.rmsNormOp,
  swiglu: fused.swigluOp,
  rope: fused.ropeOp,
  attention: fused.attentionOp,
  crossEntropy: fused.crossEntropyOp,
  linearCrossEntropy: fused.linearCrossEntropyOp,
};
export type OpName = keyof typeof table;
