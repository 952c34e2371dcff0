/** `.tiktoken` files: one token a line, its bytes in base64 and its rank, which is its id and its place among the merges. */
import { specialToken } from './added-tokens.ts';
import type { AddedToken } from './added-tokens.ts';
import { Bpe } from './bpe.ts';
import { fromByteAlphabet, toByteAlphabet } from './byte-alphabet.ts';
import { base64Bytes, toBase64 } from './charsmap.ts';
import { splitPatterns } from './pattern.ts';
import type { SplitPatternName } from './pattern.ts';
import { PipelineTokenizer } from './pipeline.ts';
import { tokenizerError } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

const limits = { characters: 256 << 20, entries: 1 << 21, tokenBytes: 1 << 12 };

/** Published files by the number of their ranks: how they cut text, and their special tokens. */
const published: Readonly<Record<number, { pattern: SplitPatternName; special: Readonly<Record<string, number>> }>> = {
  50256: { pattern: 'gpt2', special: { '<|endoftext|>': 50256 } },
  100256: {
    pattern: 'llama3', // cl100k_base cuts alike
    special: {
      '<|endoftext|>': 100257,
      '<|fim_prefix|>': 100258,
      '<|fim_middle|>': 100259,
      '<|fim_suffix|>': 100260,
      '<|endofprompt|>': 100276,
    },
  },
  199998: { pattern: 'gpt4o', special: { '<|endoftext|>': 199999, '<|endofprompt|>': 200018 } },
  128000: {
    pattern: 'llama3',
    special: {
      '<|begin_of_text|>': 128000,
      '<|end_of_text|>': 128001,
      '<|start_header_id|>': 128006,
      '<|end_header_id|>': 128007,
      '<|eot_id|>': 128009,
    },
  },
  151643: { pattern: 'qwen2', special: { '<|endoftext|>': 151643, '<|im_start|>': 151644, '<|im_end|>': 151645 } },
};

export interface TiktokenOptions {
  /** How text is cut: a name of `splitPatterns`, or a pattern. Left out: by the number of ranks, for published files; else it must be said. */
  pattern?: SplitPatternName | (string & {});
  /** Special tokens with their ids; left out: those of the published file with so many ranks. */
  specialTokens?: Readonly<Record<string, number>>;
}

/** Does a text look like such a file? */
export function looksLikeTiktoken(head: string): boolean {
  return /^[A-Za-z0-9+/]+={0,2} \d+\r?\n/.test(head);
}

/** The tokenizer of a `.tiktoken` file; ids are tiktoken's. A token that is a whole piece is taken as it is; the rest is merged by the rank of what a merge makes. */
export function tokenizerFromTiktoken(text: string, { pattern, specialTokens }: TiktokenOptions = {}): PipelineTokenizer {
  if (text.length > limits.characters)
    throw tokenizerError(`tiktoken: ${text.length} characters; the limit is ${limits.characters}`);
  const ranks = new Map<string, number>();
  const owner = new Set<number>();
  const lines = text.split('\n');
  if (lines.length > limits.entries) throw tokenizerError(`tiktoken: ${lines.length} lines; the limit is ${limits.entries}`);
  lines.forEach((raw, i) => {
    const line = raw.trimEnd();
    if (line === '') return;
    const blank = line.indexOf(' ');
    const rank = Number(line.slice(blank + 1));
    if (blank < 1 || !/^\d{1,7}$/.test(line.slice(blank + 1)))
      throw tokenizerError(`tiktoken: line ${i + 1} is not "base64 rank": ${JSON.stringify(line.slice(0, 60))}`, { line: i + 1 });
    const bytes = base64Bytes(line.slice(0, blank), `tiktoken: line ${i + 1}`);
    if (bytes.length === 0 || bytes.length > limits.tokenBytes)
      throw tokenizerError(`tiktoken: line ${i + 1} has a token of ${bytes.length} bytes`, { line: i + 1 });
    const token = toByteAlphabet(bytes);
    if (rank >= limits.entries || owner.has(rank) || ranks.has(token))
      throw tokenizerError(`tiktoken: line ${i + 1}: rank ${rank} or its token stands twice, or is too large`, {
        line: i + 1,
        rank,
      });
    owner.add(rank);
    ranks.set(token, rank);
  });
  if (ranks.size === 0) throw tokenizerError('tiktoken: the file has no tokens');
  const known = published[ranks.size];
  const cut = pattern ?? known?.pattern;
  if (cut === undefined)
    throw tokenizerError(
      `tiktoken: a file of ${ranks.size} ranks does not say how text is cut; give the pattern: ${Object.keys(splitPatterns).join(', ')}`,
      { ranks: ranks.size },
    );
  const special = specialTokens ?? (pattern === undefined ? (known?.special ?? {}) : {});
  for (const [token, id] of Object.entries(special))
    if (owner.has(id) && ranks.get(toByteAlphabet(new TextEncoder().encode(token))) !== id)
      throw tokenizerError(`tiktoken: the special token ${JSON.stringify(token)} has the id ${id}, which is a rank`, {
        token,
        id,
      });
  const Regex = Object.hasOwn(splitPatterns, cut) ? splitPatterns[cut as SplitPatternName] : cut;
  return new PipelineTokenizer({
    model: new Bpe({ vocab: ranks, merges: mergesOf(ranks), byteLevel: true, ignoreMerges: true, rankByToken: true }),
    addedTokens: Object.entries(special).map(([token, id]): AddedToken => specialToken(token, id)),
    preTokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  });
}

/** Every pair of tokens that makes a token, by its rank. */
function mergesOf(ranks: ReadonlyMap<string, number>): [string, string][] {
  const merges: [string, string][] = [];
  for (const [token] of [...ranks].sort((a, b) => a[1] - b[1]))
    for (let cut = 1; cut < token.length; cut++) {
      const [left, right] = [token.slice(0, cut), token.slice(cut)];
      if (ranks.has(left) && ranks.has(right)) merges.push([left, right]);
    }
  return merges;
}

/**
 * The `.tiktoken` file of a byte-level BPE tokenizer: tokens in the order of ids from 0, special tokens left out. Throws where that order is not the order of the
 * merges (special tokens before the bytes are passed over: ids then differ by their number, which `shift` tells).
 */
export function tiktokenFile(tokenizer: Tokenizer): { text: string; shift: number } {
  const model = tokenizer instanceof PipelineTokenizer ? tokenizer.parts.model : undefined;
  if (!(model instanceof Bpe) || !model.byteLevel)
    throw tokenizerError(`tiktokenFile: the format is byte-level BPE's; this is ${tokenizer.kind}`, { kind: tokenizer.kind });
  const special = new Set(tokenizer.specialTokens.values());
  const ids = [...model.vocab.values()].filter((id) => !special.has(id)).sort((a, b) => a - b);
  const shift = ids[0];
  if (ids.at(-1)! - shift !== ids.length - 1)
    throw tokenizerError('tiktokenFile: special tokens stand between the others; ranks cannot have gaps');
  let last = -1;
  for (const [a, b] of model.merges()) {
    const id = model.vocab.get(a + b)!;
    if (id < last)
      throw tokenizerError('tiktokenFile: the ids are not in the order of the merges, which the format takes for one', { id });
    last = id;
  }
  const lines = ids.map((id) => `${toBase64(fromByteAlphabet(tokenizer.idToToken(id)!)!)} ${id - shift}\n`);
  return { text: lines.join(''), shift };
}
