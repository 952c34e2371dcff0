export { beamSearch, type BeamOptions, type Hypothesis } from './beam.ts';
export { generate, generateBatch, type GenerateOptions, type Writer } from './generate.ts';
export { candidates, sample, type SamplingOptions } from './sampling.ts';
export { StopStrings } from './stop.ts';
