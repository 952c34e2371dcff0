export { bitsPerByte, type EvalBatch, type LanguageModelScore, scoreLanguageModel } from './language-model.ts';
