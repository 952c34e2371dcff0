/** `tokenizer.json`, the Hugging Face format: read defensively (a file may be damaged or hostile), written so that the official package gives the same ids. */
import { limits, Reader } from './json-reader.ts';
import type { NormalizerSpec } from './normalize.ts';
import { PipelineTokenizer } from './pipeline.ts';
import type { PreTokenizerSpec } from './pretokenize.ts';
import { readAddedTokens, readModel } from './tokenizer-json-model.ts';
import {
  decoderSpec,
  normalizerSpec,
  paddingSpec,
  postProcessorSpec,
  preTokenizerSpec,
  truncationSpec,
} from './tokenizer-json-steps.ts';
import { tokenizerError } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

/** The text of `tokenizer.json` for a tokenizer of this library. */
export function tokenizerToJson(tokenizer: Tokenizer): string {
  if (!(tokenizer instanceof PipelineTokenizer))
    throw tokenizerError('tokenizerToJson: this tokenizer was not made by this library');
  const { model, addedTokens, normalizer, preTokenizer, postProcessor, decoder, truncation, padding } = tokenizer.parts;
  const added = [...addedTokens]
    .sort((a, b) => a.id - b.id)
    .map(({ id, content, singleWord, lstrip, rstrip, normalized, special }) => ({
      id,
      content,
      single_word: singleWord,
      lstrip,
      rstrip,
      normalized,
      special,
    }));
  const field = (name: string, value: unknown) => `  "${name}": ${JSON.stringify(value)},\n`;
  return (
    '{\n' +
    field('version', '1.0') +
    field('truncation', truncation) +
    field('padding', padding) +
    field('added_tokens', added) +
    field('normalizer', normalizer && publishedNormalizer(normalizer)) +
    field('pre_tokenizer', preTokenizer) +
    field('post_processor', postProcessor) +
    field('decoder', decoder) +
    `  "model": ${model.toJson()}\n}\n`
  );
}

/**
 * SentencePiece's normalizer is a sequence of published ones (equal but for rare compositions of marks, which the official package looks up by grapheme); the key
 * `sentencepiece`, which other readers pass over, gives it back to us as it was.
 */
function publishedNormalizer(spec: NormalizerSpec): unknown {
  if (spec.type !== 'SentencePiece') return spec;
  const { type: _, charsmap, ...flags } = spec;
  const blank = spec.escapeWhitespaces ? '▁' : ' ';
  const normalizers: NormalizerSpec[] = [];
  if (charsmap !== '') normalizers.push({ type: 'Precompiled', precompiled_charsmap: charsmap });
  if (spec.removeExtraWhitespaces)
    normalizers.push(
      { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
      { type: 'Replace', pattern: { Regex: '\\A | \\z' }, content: '' },
    );
  if (spec.addDummyPrefix && !spec.whitespaceAsSuffix) normalizers.push({ type: 'Prepend', prepend: blank });
  if (spec.escapeWhitespaces) normalizers.push({ type: 'Replace', pattern: { String: ' ' }, content: '▁' });
  return { type: 'Sequence', normalizers, sentencepiece: { ...flags, charsmap: charsmap !== '' } };
}

/** The tokenizer of a `tokenizer.json`: its text, or the value that JSON.parse made of it. Throws TOKENIZER and says where. */
export function tokenizerFromJson(json: unknown): PipelineTokenizer {
  const file = new Reader(typeof json === 'string' ? parse(json) : json, 'tokenizer.json').object();
  const preTokenizer = preTokenizerSpec(file.optional('pre_tokenizer'));
  const model = readModel(file.field('model'), endsInBytes(preTokenizer));
  return new PipelineTokenizer({
    model,
    addedTokens: readAddedTokens(file.optional('added_tokens'), model),
    normalizer: normalizerSpec(file.optional('normalizer')),
    preTokenizer,
    postProcessor: postProcessorSpec(file.optional('post_processor')),
    decoder: decoderSpec(file.optional('decoder')),
    truncation: truncationSpec(file.optional('truncation')),
    padding: paddingSpec(file.optional('padding')),
  });
}

function parse(text: string): unknown {
  if (text.length > limits.characters)
    throw tokenizerError(`tokenizer.json: ${text.length} characters; the limit is ${limits.characters}`, { length: text.length });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw tokenizerError(`tokenizer.json: not JSON: ${(error as Error).message.slice(0, 200)}`);
  }
}

function endsInBytes(spec: PreTokenizerSpec | null): boolean {
  if (spec?.type === 'Sequence') return endsInBytes(spec.pretokenizers.at(-1) ?? null);
  return spec?.type === 'ByteLevel';
}
