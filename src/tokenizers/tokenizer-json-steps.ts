/** The steps around the model of a `tokenizer.json`: normalizer, pre-tokenizer, post-processor, decoder, truncation and padding. What is not known is refused by name. */
import type { DecoderSpec } from './decode.ts';
import { limits, type Reader } from './json-reader.ts';
import type { NormalizerSpec } from './normalize.ts';
import type { PostProcessorSpec } from './postprocess.ts';
import type { PreTokenizerSpec } from './pretokenize.ts';
import type { PaddingSpec, TruncationSpec } from './truncate.ts';

const behaviors = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;

function patternSpec(reader: Reader): { String: string } | { Regex: string } {
  const regex = reader.optional('Regex');
  return regex.missing ? { String: reader.field('String').text() } : { Regex: regex.text() };
}

function sequence<T>(reader: Reader, key: string, read: (step: Reader, depth: number) => T | null, depth: number): T[] {
  if (depth > limits.depth) reader.refuse(`more than ${limits.depth} sequences inside each other`);
  const steps = reader.field(key).list(limits.steps);
  return steps.map((step) => read(step, depth + 1) ?? step.refuse('expected an object'));
}

/** A spec is checked field by field and copied: nothing of the file goes further unread. */
export function normalizerSpec(reader: Reader, depth = 0): NormalizerSpec | null {
  if (reader.missing) return null;
  const type = reader.field('type').text(64);
  switch (type) {
    case 'Sequence': {
      const normalizers = sequence(reader, 'normalizers', normalizerSpec, depth);
      const own = reader.optional('sentencepiece');
      return own.missing ? { type, normalizers } : sentencePieceSpec(own, normalizers);
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
    case 'Lowercase':
    case 'StripAccents':
    case 'Nmt':
    case 'ByteLevel':
      return { type };
    case 'BertNormalizer': {
      const accents = reader.optional('strip_accents');
      return {
        type,
        clean_text: reader.optional('clean_text').flag(true),
        handle_chinese_chars: reader.optional('handle_chinese_chars').flag(true),
        strip_accents: accents.missing ? null : accents.flag(true),
        lowercase: reader.optional('lowercase').flag(true),
      };
    }
    case 'Strip':
      return {
        type,
        strip_left: reader.optional('strip_left').flag(true),
        strip_right: reader.optional('strip_right').flag(true),
      };
    case 'Replace':
      return { type, pattern: patternSpec(reader.field('pattern')), content: reader.field('content').text() };
    case 'Prepend':
      return { type, prepend: reader.field('prepend').text() };
    case 'Precompiled':
      return { type, precompiled_charsmap: reader.field('precompiled_charsmap').text(16 << 20) };
    default:
      return reader.refuse(`the normalizer ${JSON.stringify(type)} is not supported`);
  }
}

function sentencePieceSpec(own: Reader, published: readonly NormalizerSpec[]): NormalizerSpec {
  const [map] = published;
  const hasMap = own.optional('charsmap').flag(false);
  if (hasMap && map?.type !== 'Precompiled') own.refuse('"charsmap" is true, but the sequence does not begin with Precompiled');
  return {
    type: 'SentencePiece',
    charsmap: hasMap && map?.type === 'Precompiled' ? map.precompiled_charsmap : '',
    addDummyPrefix: own.optional('addDummyPrefix').flag(true),
    removeExtraWhitespaces: own.optional('removeExtraWhitespaces').flag(true),
    escapeWhitespaces: own.optional('escapeWhitespaces').flag(true),
    whitespaceAsSuffix: own.optional('whitespaceAsSuffix').flag(false),
    userDefined: own
      .field('userDefined')
      .list(limits.addedTokens)
      .map((text) => text.text()),
  };
}

function byteLevelFields(reader: Reader) {
  return {
    add_prefix_space: reader.optional('add_prefix_space').flag(true),
    trim_offsets: reader.optional('trim_offsets').flag(true),
    use_regex: reader.optional('use_regex').flag(true),
  };
}

function metaspaceFields(reader: Reader) {
  const scheme = reader.optional('prepend_scheme');
  const old = reader.optional('add_prefix_space').flag(true);
  const replacement = reader.optional('replacement');
  return {
    replacement: replacement.missing ? '▁' : replacement.text(8),
    prepend_scheme: scheme.missing ? (old ? ('always' as const) : ('never' as const)) : scheme.oneOf('always', 'first', 'never'),
    split: reader.optional('split').flag(true),
  };
}

export function preTokenizerSpec(reader: Reader, depth = 0): PreTokenizerSpec | null {
  if (reader.missing) return null;
  const type = reader.field('type').text(64);
  switch (type) {
    case 'Sequence':
      return { type, pretokenizers: sequence(reader, 'pretokenizers', preTokenizerSpec, depth) };
    case 'ByteLevel':
      return { type, ...byteLevelFields(reader) };
    case 'Split':
      return {
        type,
        pattern: patternSpec(reader.field('pattern')),
        behavior: reader.field('behavior').oneOf(...behaviors),
        invert: reader.optional('invert').flag(false),
      };
    case 'Metaspace':
      return { type, ...metaspaceFields(reader) };
    case 'Digits':
      return { type, individual_digits: reader.optional('individual_digits').flag(false) };
    case 'Punctuation': {
      const behavior = reader.optional('behavior');
      return { type, behavior: behavior.missing ? 'Isolated' : behavior.oneOf(...behaviors) };
    }
    case 'CharDelimiterSplit':
      return { type, delimiter: reader.field('delimiter').text(8) };
    case 'BertPreTokenizer':
    case 'Whitespace':
    case 'WhitespaceSplit':
      return { type };
    default:
      return reader.refuse(`the pre-tokenizer ${JSON.stringify(type)} is not supported`);
  }
}

export function postProcessorSpec(reader: Reader, depth = 0): PostProcessorSpec | null {
  if (reader.missing) return null;
  const type = reader.field('type').text(64);
  const tokenAndId = (key: string): [string, number] => {
    const pair = reader.field(key).list(2);
    return pair.length === 2 ? [pair[0].text(), pair[1].id()] : reader.refuse(`"${key}": expected [token, id]`);
  };
  switch (type) {
    case 'Sequence':
      return { type, processors: sequence(reader, 'processors', postProcessorSpec, depth) };
    case 'ByteLevel':
      return { type, ...byteLevelFields(reader) };
    case 'BertProcessing':
      return { type, sep: tokenAndId('sep'), cls: tokenAndId('cls') };
    case 'RobertaProcessing':
      return {
        type,
        sep: tokenAndId('sep'),
        cls: tokenAndId('cls'),
        trim_offsets: reader.optional('trim_offsets').flag(true),
        add_prefix_space: reader.optional('add_prefix_space').flag(true),
      };
    case 'TemplateProcessing': {
      const template = (key: string) =>
        reader
          .field(key)
          .list(limits.steps)
          .map((piece) => {
            const text = piece.optional('Sequence');
            if (!text.missing) return { Sequence: { id: text.field('id').oneOf('A', 'B'), type_id: text.field('type_id').id() } };
            const token = piece.field('SpecialToken');
            return { SpecialToken: { id: token.field('id').text(), type_id: token.field('type_id').id() } };
          });
      const specials = reader
        .field('special_tokens')
        .entries(limits.addedTokens)
        .map(
          ([name, token]) =>
            [
              name,
              {
                id: token.field('id').text(),
                ids: token
                  .field('ids')
                  .list(limits.steps)
                  .map((id) => id.id()),
                tokens: token
                  .field('tokens')
                  .list(limits.steps)
                  .map((t) => t.text()),
              },
            ] as const,
        );
      return { type, single: template('single'), pair: template('pair'), special_tokens: Object.fromEntries(specials) };
    }
    default:
      return reader.refuse(`the post-processor ${JSON.stringify(type)} is not supported`);
  }
}

const sides = ['Left', 'Right'] as const;

export function truncationSpec(reader: Reader): TruncationSpec | null {
  if (reader.missing) return null;
  const direction = reader.optional('direction');
  const strategy = reader.optional('strategy');
  const stride = reader.optional('stride');
  return {
    direction: direction.missing ? 'Right' : direction.oneOf(...sides),
    max_length: reader.field('max_length').count(),
    strategy: strategy.missing ? 'LongestFirst' : strategy.oneOf('LongestFirst', 'OnlyFirst', 'OnlySecond'),
    stride: stride.missing ? 0 : stride.count(),
  };
}

export function paddingSpec(reader: Reader): PaddingSpec | null {
  if (reader.missing) return null;
  const strategy = reader.field('strategy');
  const multiple = reader.optional('pad_to_multiple_of');
  const direction = reader.optional('direction');
  const typeId = reader.optional('pad_type_id');
  const fixed = typeof strategy.value === 'string' ? undefined : strategy.field('Fixed').count();
  if ((fixed ?? 0) > limits.padding) strategy.refuse(`rows of ${fixed} tokens; the limit is ${limits.padding}`);
  if (!multiple.missing && multiple.count() > limits.padding)
    multiple.refuse(`a multiple of ${multiple.count()}; the limit is ${limits.padding}`);
  return {
    strategy: fixed === undefined ? strategy.oneOf('BatchLongest') : { Fixed: fixed },
    direction: direction.missing ? 'Right' : direction.oneOf(...sides),
    pad_to_multiple_of: multiple.missing ? null : multiple.count(),
    pad_id: reader.field('pad_id').id(),
    pad_type_id: typeId.missing ? 0 : typeId.id(),
    pad_token: reader.field('pad_token').text(),
  };
}

export function decoderSpec(reader: Reader, depth = 0): DecoderSpec | null {
  if (reader.missing) return null;
  const type = reader.field('type').text(64);
  switch (type) {
    case 'Sequence':
      return { type, decoders: sequence(reader, 'decoders', decoderSpec, depth) };
    case 'ByteLevel':
      return { type, ...byteLevelFields(reader) };
    case 'ByteFallback':
    case 'Fuse':
      return { type };
    case 'WordPiece':
      return {
        type,
        prefix: reader.optional('prefix').missing ? '##' : reader.field('prefix').text(),
        cleanup: reader.optional('cleanup').flag(true),
      };
    case 'Metaspace':
      return { type, ...metaspaceFields(reader) };
    case 'Replace':
      return { type, pattern: patternSpec(reader.field('pattern')), content: reader.field('content').text() };
    case 'Strip':
      return {
        type,
        content: reader.field('content').text(8),
        start: reader.field('start').id(),
        stop: reader.field('stop').id(),
      };
    default:
      return reader.refuse(`the decoder ${JSON.stringify(type)} is not supported`);
  }
}
