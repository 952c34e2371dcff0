export { Bert, type BertConfig, type BertVariant, bertVariants, type EncoderContext, firstToken } from './bert.ts';
export {
  BertPretraining,
  type LabelledBatch,
  type MaskedBatch,
  MaskedLM,
  meanPool,
  ReplacedTokenDetector,
  type SegmentedBatch,
  SequenceClassifier,
  SpanReader,
  TokenClassifier,
  unitLength,
} from './bert-heads.ts';
export { Electra, type ElectraBatch } from './electra.ts';
export { SentenceEncoder, type Texts } from './sentence-encoder.ts';
export { buildDecoder, type DecoderSettings, type DecoderSwitches } from './build.ts';
export type { Decoder, DecoderConfig, TokenBatch } from './decoder.ts';
export { type DecodeContext, type EncoderDecoder, type PairBatch, pairLogits, SourceWriter } from './encoder-decoder.ts';
export { GPT2, type GPT2Config } from './gpt2.ts';
export { Llama, type LlamaConfig } from './llama.ts';
export { Olmo2, type Olmo2Config } from './olmo2.ts';
export { T5, type T5Config } from './t5.ts';
export { Transformer, type TransformerConfig } from './transformer.ts';
export { Gemma, type GemmaConfig } from './gemma.ts';
export { NeoX, type NeoXConfig } from './neox.ts';
export { Cell, type CellKind, cells, type CellState, Recurrent, type RecurrentOptions } from './rnn.ts';
export { Convolution, type ConvolutionOptions, glu, receptiveField } from './cnn.ts';
export { Tcn, type TcnConfig } from './tcn.ts';
export { ConvTranslator, type ConvTranslatorConfig } from './conv-translator.ts';
export { CarriedState } from './recurrent-state.ts';
export { RnnTranslator, type RnnTranslatorConfig } from './rnn-translator.ts';
export { allRouting, balanceLoss, MixtureOfExperts, type MixtureOptions, type Routing } from './mixture-of-experts.ts';
export { Mixtral, type MixtralConfig } from './mixtral.ts';
