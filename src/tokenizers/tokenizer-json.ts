/** `tokenizer.json`, the Hugging Face format: read defensively (a file may be damaged or hostile), written so that the official package gives the same ids. */
import type { AddedToken } from './added-tokens.ts';
import { Bpe } from './bpe.ts';
import type { DecoderSpec } from './decode.ts';
import type { Model } from './model.ts';
import type { NormalizerSpec } from './normalize.ts';
import { PipelineTokenizer } from './pipeline.ts';
import type { PostProcessorSpec } from './postprocess.ts';
import type { PreTokenizerSpec } from './pretokenize.ts';
import { tokenizerError } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { PaddingSpec, TruncationSpec } from './truncate.ts';
import { Unigram } from './unigram.ts';
import { WordLevel } from './wordlevel.ts';
import { WordPiece } from './wordpiece.ts';

/** What a file may ask for; the largest published vocabularies (Gemma: 262k entries, 515k merges, 6k added) are far below. */
const limits = {
  characters: 256 << 20,
  entries: 1 << 21,
  merges: 1 << 22,
  addedTokens: 1 << 17,
  tokenLength: 1 << 16,
  steps: 64,
  padding: 1 << 20,
  depth: 16,
};

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

/** A value of the file and where it stands; each accessor checks one kind. */
class Reader {
  constructor(
    readonly value: unknown,
    readonly path: string,
  ) {}

  refuse(why: string): never {
    throw tokenizerError(`${this.path}: ${why}`, { path: this.path });
  }

  get missing(): boolean {
    return this.value === undefined || this.value === null;
  }

  #expected(kind: string): never {
    return this.refuse(`expected ${kind}, found ${JSON.stringify(this.value)?.slice(0, 60) ?? 'nothing'}`);
  }

  object(): Reader {
    return typeof this.value === 'object' && this.value !== null && !Array.isArray(this.value)
      ? this
      : this.#expected('an object');
  }

  optional(key: string): Reader {
    const here = this.object().value as Record<string, unknown>;
    return new Reader(Object.hasOwn(here, key) ? here[key] : undefined, `${this.path}.${key}`);
  }

  field(key: string): Reader {
    const reader = this.optional(key);
    return reader.missing ? this.refuse(`"${key}" is missing`) : reader;
  }

  list(limit: number): Reader[] {
    if (!Array.isArray(this.value)) return this.#expected('a list');
    if (this.value.length > limit) return this.refuse(`${this.value.length} entries; the limit is ${limit}`);
    return this.value.map((item, i) => new Reader(item, `${this.path}[${i}]`));
  }

  /** The entries of an object as pairs: JSON.parse keeps "__proto__" as an own key, and no key is ever looked up in the object. */
  entries(limit: number): [string, Reader][] {
    const entries = Object.entries(this.object().value as Record<string, unknown>);
    if (entries.length > limit) this.refuse(`${entries.length} entries; the limit is ${limit}`);
    return entries.map(([key, value]) => [key, new Reader(value, this.path)]);
  }

  text(limit = limits.tokenLength): string {
    if (typeof this.value !== 'string') return this.#expected('a text');
    return this.value.length > limit
      ? this.refuse(`a text of ${this.value.length} characters; the limit is ${limit}`)
      : this.value;
  }

  id(): number {
    const { value } = this;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= limits.entries)
      return this.#expected(`an id below ${limits.entries}`);
    return value;
  }

  /** A number of things; published files have 10³⁰ and 2⁶⁴ − 1 for "no limit". */
  count(): number {
    const { value } = this;
    return typeof value === 'number' && value >= 0 && Math.floor(value) === value ? value : this.#expected('a whole number');
  }

  number(): number {
    return typeof this.value === 'number' && Number.isFinite(this.value) ? this.value : this.#expected('a number');
  }

  flag(fallback: boolean): boolean {
    return this.missing ? fallback : typeof this.value === 'boolean' ? this.value : this.#expected('true or false');
  }

  oneOf<T extends string>(...words: T[]): T {
    return words.includes(this.value as T) ? (this.value as T) : this.#expected(`one of ${words.join(', ')}`);
  }
}

function readVocab(reader: Reader): Map<string, number> {
  const vocab = new Map<string, number>();
  const owner = new Map<number, string>();
  for (const [token, place] of reader.entries(limits.entries)) {
    if (token.length > limits.tokenLength) reader.refuse(`a token of ${token.length} characters`);
    const id = place.id();
    const other = owner.get(id);
    if (other !== undefined) reader.refuse(`${JSON.stringify(other)} and ${JSON.stringify(token)} have the same id ${id}`);
    owner.set(id, token);
    vocab.set(token, id);
  }
  if (vocab.size === 0) reader.refuse('the vocabulary is empty');
  return vocab;
}

function readModel(model: Reader, byteLevel: boolean): Model {
  model.object();
  const optionalText = (key: string) => (model.optional(key).missing ? undefined : model.field(key).text());
  const type = model.optional('type');
  // Files of before 2020 have no type; the fields tell.
  const kind = !type.missing
    ? type.oneOf('BPE', 'WordPiece', 'WordLevel', 'Unigram')
    : !model.optional('merges').missing
      ? 'BPE'
      : Array.isArray(model.optional('vocab').value)
        ? 'Unigram'
        : model.optional('continuing_subword_prefix').missing
          ? 'WordLevel'
          : 'WordPiece';
  switch (kind) {
    case 'BPE': {
      const prefix = optionalText('continuing_subword_prefix') || undefined;
      const suffix = optionalText('end_of_word_suffix') || undefined;
      const dropout = model.optional('dropout');
      if (!dropout.missing && dropout.number() > 0) dropout.refuse('merges left out at random are for training; set it to null');
      return new Bpe({
        vocab: readVocab(model.field('vocab')),
        merges: model.field('merges').list(limits.merges).map(readMerge),
        unk: optionalText('unk_token'),
        fuseUnk: model.optional('fuse_unk').flag(false),
        byteFallback: model.optional('byte_fallback').flag(false),
        ignoreMerges: model.optional('ignore_merges').flag(false),
        continuingSubwordPrefix: prefix,
        endOfWordSuffix: suffix,
        byteLevel: byteLevel && !prefix && !suffix,
        rankByToken: model.optional('rank_by_token').flag(false),
        frozen: model.optional('frozen').missing
          ? []
          : model
              .field('frozen')
              .list(limits.addedTokens)
              .map((token) => token.text()),
      });
    }
    case 'WordPiece': {
      const max = model.optional('max_input_chars_per_word');
      return new WordPiece({
        vocab: readVocab(model.field('vocab')),
        unk: optionalText('unk_token'),
        prefix: optionalText('continuing_subword_prefix'),
        maxCharsPerWord: max.missing ? undefined : max.id(),
      });
    }
    case 'WordLevel':
      return new WordLevel({ vocab: readVocab(model.field('vocab')), unk: optionalText('unk_token') });
    case 'Unigram': {
      const unk = model.optional('unk_id');
      const pieces = model
        .field('vocab')
        .list(limits.entries)
        .map((entry) => {
          const pair = entry.list(2);
          if (pair.length !== 2) entry.refuse('expected [token, log probability]');
          return [pair[0].text(), pair[1].number()] as const;
        });
      if (pieces.length === 0) model.refuse('the vocabulary is empty');
      return new Unigram({
        pieces,
        unkId: unk.missing ? null : unk.id(),
        byteFallback: model.optional('byte_fallback').flag(false),
        sentencePiece: model.optional('outside').missing
          ? undefined
          : {
              outside: idList(model.field('outside'), pieces.length),
              userDefined: idList(model.field('user_defined'), pieces.length),
            },
      });
    }
  }
}

function idList(reader: Reader, size: number): number[] {
  return reader.list(limits.entries).map((entry) => {
    const id = entry.id();
    return id < size ? id : entry.refuse(`id ${id} of a vocabulary of ${size}`);
  });
}

function readMerge(merge: Reader): [string, string] {
  if (typeof merge.value === 'string') {
    const parts = merge.text(2 * limits.tokenLength + 1).split(' ');
    return parts.length === 2
      ? [parts[0], parts[1]]
      : merge.refuse(`expected two tokens with a blank between, found ${JSON.stringify(merge.value.slice(0, 60))}`);
  }
  const pair = merge.list(2);
  return pair.length === 2 ? [pair[0].text(), pair[1].text()] : merge.refuse('expected two tokens');
}

function readAddedTokens(reader: Reader, model: Model): AddedToken[] {
  if (reader.missing) return [];
  const seen = new Map<number, string>();
  return reader.list(limits.addedTokens).map((entry) => {
    const special = entry.optional('special').flag(false);
    const content = entry.field('content').text();
    const id = entry.field('id').id();
    if (content === '') entry.refuse('an added token is empty');
    const other = seen.get(id) ?? content;
    if (other !== content) entry.refuse(`${JSON.stringify(other)} and ${JSON.stringify(content)} have the same id ${id}`);
    seen.set(id, content);
    const inModel = model.tokenToId(content);
    if (inModel !== undefined && inModel !== id)
      entry.refuse(`${JSON.stringify(content)} has id ${id} here and ${inModel} in the vocabulary`);
    return {
      id,
      content,
      special,
      singleWord: entry.optional('single_word').flag(false),
      lstrip: entry.optional('lstrip').flag(false),
      rstrip: entry.optional('rstrip').flag(false),
      normalized: entry.optional('normalized').flag(!special),
    };
  });
}

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
function normalizerSpec(reader: Reader, depth = 0): NormalizerSpec | null {
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

function preTokenizerSpec(reader: Reader, depth = 0): PreTokenizerSpec | null {
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

function postProcessorSpec(reader: Reader, depth = 0): PostProcessorSpec | null {
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

function truncationSpec(reader: Reader): TruncationSpec | null {
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

function paddingSpec(reader: Reader): PaddingSpec | null {
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

function decoderSpec(reader: Reader, depth = 0): DecoderSpec | null {
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
