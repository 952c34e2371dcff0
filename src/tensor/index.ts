export { Tensor, type Axis, type Operand } from './tensor.ts';
export { type Gradients, noGrad, recompute } from './autograd.ts';
export { memory, Scope, scope, tidy } from './scope.ts';
export { check, type Shape, ShapeError, show, size } from './shape.ts';
export { Rng } from './random.ts';
export type { DType } from './dtype.ts';
export { type KernelTime, type Profile, startProfile } from './profile.ts';
export type { FilePart } from './backends/backend.ts';
export { backend, type Precision, precision, run, setBackend, setPrecision, withBackend } from './engine.ts';
export {
  concat,
  crossEntropy,
  fusedAttention,
  layerNorm,
  linear,
  linearCrossEntropy,
  QuantisedWeight,
  rmsNorm,
  rope,
  stack,
  swiglu,
  windows,
  type AttentionOptions,
  type LossOptions,
} from './ops/index.ts';
export { recordStep, type Recording, type Replay, replayOf } from './replay.ts';
