export { type BatchScore, scoreBatches } from './batches.ts';
export { bitsPerByte, type EvalBatch, type LanguageModelScore, scoreLanguageModel } from './language-model.ts';
