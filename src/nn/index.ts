export { dropout } from './dropout.ts';
export { Embedding } from './embedding.ts';
export { Linear } from './linear.ts';
export { MLP, SwiGLU } from './mlp.ts';
export { LayerNorm, RMSNorm } from './norm.ts';
export { dispose, freeze, parameterCount, parameters, replace, stateDict, walk } from './walk.ts';
