/** Tokenizers: text ↔ ids (outline 5.1.3). They never see a tensor. */
export { decodeStream, describeToken } from './tokenizer.ts';
export type { DecodeOptions, DecodeStream, EncodeOptions, TokenDescription, Tokenizer } from './tokenizer.ts';
export { charTokenizer } from './char.ts';
export { byteTokenizer } from './byte.ts';
export { byteLevelBpe, trainBpe, trainBpeOnWords } from './train/bpe.ts';
export type { TrainBpeOptions, TrainProgress } from './train/bpe.ts';
export { trainWordPiece } from './train/wordpiece.ts';
export type { TrainWordPieceOptions } from './train/wordpiece.ts';
export { trainUnigram } from './train/unigram.ts';
export type { TrainUnigramOptions } from './train/unigram.ts';
export { countWords } from './train/count-words.ts';
export type { WordCounts } from './train/count-words.ts';
export { tokenizerFromJson, tokenizerToJson } from './tokenizer-json.ts';
export { PipelineTokenizer } from './pipeline.ts';
export type { PipelineParts } from './pipeline.ts';
export { splitPatterns } from './pattern.ts';
export type { SplitPatternName } from './pattern.ts';
export { hexBytes, replaceLoneSurrogates, utf8Bytes, utf8Stream, utf8Text } from './utf8.ts';
