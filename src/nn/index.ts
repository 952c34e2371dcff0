export { dropout } from './dropout.ts';
export { Embedding } from './embedding.ts';
export { Linear } from './linear.ts';
export { type Activation, activations, GeGLU, MLP, type MLPOptions, SwiGLU } from './mlp.ts';
export { LayerNorm, RMSNorm } from './norm.ts';
export { quantise, type Quantised, smallMatrices, type WeightPrecision, weightPrecisions } from './quantise.ts';
export { dispose, freeze, parameterCount, parameters, replace, stateDict, walk } from './walk.ts';
