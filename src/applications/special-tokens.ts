// The tokens that are no text: which ones a training needs, and what they are called in published vocabularies.

import { QkvError } from '../errors.ts';
import { endOfTextOf } from '../data/index.ts';
import { familyOf, pairObjectives, type TrainConfig } from '../settings/index.ts';
import { chatmlTokens, type Tokenizer } from '../tokenizers/index.ts';

/** Sentinels of T5's vocabulary: as many spans as one text may lose. Raffel et al. 2019, §3.1.4. */
const SENTINELS = 100;
const sentinel = (i: number): string => `<extra_id_${i}>`;

const names = {
  end: ['</s>', '<|endoftext|>', '<|end_of_text|>', '<eos>', '[SEP]'],
  pad: ['<pad>', '[PAD]', '<|pad|>'],
  mask: ['[MASK]', '<mask>'],
  first: ['[CLS]', '<s>'],
  last: ['[SEP]', '</s>'],
} as const;
export type SpecialName = keyof typeof names;

/** The special tokens, first ids first, of a tokenizer that is made for these settings. */
export function specialTokensFor(config: TrainConfig): string[] {
  const tokens = tokensOf(config);
  if (config.tokenizer === 'wordpiece') return [...new Set([...tokens, '[UNK]', '[CLS]', '[SEP]'])];
  if (config.tokenizer !== 'unigram') return tokens;
  const unknown = tokens.find((token) => /^[<[]unk[>\]]$/i.test(token)) ?? '<unk>'; // its trainer wants this one first
  return [...new Set([unknown, ...tokens])];
}

function tokensOf({ model, objective, tokenizer }: TrainConfig): string[] {
  if (familyOf(model).kind === 'encoder') return ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  if (familyOf(model).kind === 'encoder-decoder') {
    const extra = objective === 'spans' ? Array.from({ length: SENTINELS }, (_, i) => sentinel(i)) : [];
    return ['<pad>', '</s>', '<unk>', ...extra];
  }
  if (objective === 'dialogues') return ['<|endoftext|>', ...chatmlTokens];
  // Characters and bytes of plain text: nothing but the text.
  return pairObjectives.includes(objective) || !['char', 'byte'].includes(tokenizer) ? ['<|endoftext|>'] : [];
}

/** The id of a special token by its meaning. @throws E165 when the tokenizer has none of its names */
export function specialId(tokenizer: Tokenizer, name: SpecialName): number {
  const id = specialIdOf(tokenizer, name);
  if (id === undefined) throw lacks(names[name]);
  return id;
}
/** The same; undefined when there is none. */
export function specialIdOf(tokenizer: Tokenizer, name: SpecialName): number | undefined {
  if (name === 'end') return endOfTextOf(tokenizer) ?? tokenizer.specialTokens.get('[SEP]');
  for (const token of names[name]) {
    const id = tokenizer.specialTokens.get(token) ?? tokenizer.tokenToId(token);
    if (id !== undefined) return id;
  }
  return undefined;
}

/** Sentinel i, of which there must be `count`. @throws E165 */
export function sentinelIds(tokenizer: Tokenizer, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const id = tokenizer.tokenToId(sentinel(i));
    if (id === undefined) throw lacks([sentinel(i)]);
    return id;
  });
}

const lacks = (tokens: readonly string[]): QkvError =>
  new QkvError('E165', `the tokenizer has no ${tokens.join(' or ')}, which this training needs`, { tokens: [...tokens] });
