/** One token for each byte of UTF-8: 256 ids (id = byte), every text, no training. */
import { specialToken } from './added-tokens.ts';
import { Bpe } from './bpe.ts';
import { byteToChar } from './byte-alphabet.ts';
import { PipelineTokenizer } from './pipeline.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Ids 0–255 are the bytes; special tokens follow. Written to `tokenizer.json` as byte-level BPE without merges. */
export function byteTokenizer({ specialTokens = [] }: { specialTokens?: readonly string[] } = {}): Tokenizer {
  const vocab = new Map(byteToChar.map((char, byte) => [char, byte]));
  return new PipelineTokenizer({
    model: new Bpe({ vocab, merges: [], byteLevel: true }),
    addedTokens: [...new Set(specialTokens)].map((token, i) => specialToken(token, 256 + i)),
    preTokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
  });
}
