/** The part `model` of a `tokenizer.json`, and its added tokens. */
import type { AddedToken } from './added-tokens.ts';
import { Bpe } from './bpe.ts';
import { limits, type Reader } from './json-reader.ts';
import type { Model } from './model.ts';
import { Unigram } from './unigram.ts';
import { WordLevel } from './wordlevel.ts';
import { WordPiece } from './wordpiece.ts';

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

export function readModel(model: Reader, byteLevel: boolean): Model {
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

export function readAddedTokens(reader: Reader, model: Model): AddedToken[] {
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
