/** The six styles of published tokenizer.json files that statement 5.1.3c names, each with a vocabulary trained here on generated text. */
import { type Tokenizer, tokenizerToJson, trainBpe, trainUnigram, trainWordPiece } from '../../../src/tokenizers/index.ts';

const changed = (
  tokenizer: Tokenizer,
  change: (file: { model: Record<string, unknown>; normalizer: unknown }) => void,
): string => {
  const file = JSON.parse(tokenizerToJson(tokenizer));
  change(file);
  return JSON.stringify(file);
};

export const styles: Record<string, (corpus: readonly string[], vocabSize: number) => string> = {
  'GPT-2': (corpus, vocabSize) => tokenizerToJson(trainBpe(corpus, { vocabSize, specialTokens: ['<|endoftext|>'] })),
  'Llama 3': (corpus, vocabSize) =>
    changed(trainBpe(corpus, { vocabSize, pattern: 'llama3', specialTokens: ['<|begin_of_text|>'] }), (file) => {
      file.model.ignore_merges = true;
    }),
  'Qwen 2': (corpus, vocabSize) =>
    changed(trainBpe(corpus, { vocabSize, pattern: 'qwen2', specialTokens: ['<|im_start|>', '<|im_end|>'] }), (file) => {
      file.normalizer = { type: 'NFC' };
    }),
  'BERT uncased': (corpus, vocabSize) => tokenizerToJson(trainWordPiece(corpus, { vocabSize, limitAlphabet: 900 })),
  'BERT Chinese': (corpus, vocabSize) =>
    tokenizerToJson(trainWordPiece(corpus, { vocabSize, limitAlphabet: 900, lowercase: false })),
  T5: (corpus, vocabSize) =>
    tokenizerToJson(trainUnigram(corpus, { vocabSize, characterCoverage: 0.98, specialTokens: ['<unk>', '<pad>', '</s>'] })),
};
