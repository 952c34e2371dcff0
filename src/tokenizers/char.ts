/** One token for each character (code point) that a text holds: the smallest vocabulary that a person can read. */
import { specialToken } from './added-tokens.ts';
import { Bpe } from './bpe.ts';
import { PipelineTokenizer } from './pipeline.ts';
import type { Tokenizer } from './tokenizer.ts';
import { replaceLoneSurrogates } from './utf8.ts';

/**
 * The characters of a text in order of their code points, after the special tokens (and `unk`, when given).
 * A character that the text lacked is refused by `encode`, unless there is `unk`.
 * Written to `tokenizer.json` as BPE without merges, which the official package reads with the same ids.
 */
export function charTokenizer(
  text: string | Iterable<string>,
  { specialTokens = [], unk }: { specialTokens?: readonly string[]; unk?: string } = {},
): Tokenizer {
  const chars = new Set<string>();
  for (const part of typeof text === 'string' ? [text] : text)
    for (const char of replaceLoneSurrogates(part).text) chars.add(char);
  const specials = [...new Set(unk === undefined ? specialTokens : [...specialTokens, unk])];
  const sorted = [...chars].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!).filter((char) => !specials.includes(char));
  const vocab = new Map([...specials, ...sorted].map((token, id) => [token, id]));
  return new PipelineTokenizer({
    model: new Bpe({ vocab, merges: [], unk }),
    addedTokens: specials.map(specialToken),
    decoder: { type: 'Fuse' },
  });
}
