/** Vocabularies in the files of before `tokenizer.json`: BERT's `vocab.txt`, and GPT-2's `vocab.json` with `merges.txt`. */
import { specialToken } from './added-tokens.ts';
import { Bpe } from './bpe.ts';
import type { NormalizerSpec } from './normalize.ts';
import { PipelineTokenizer } from './pipeline.ts';
import { splitPatterns } from './pattern.ts';
import type { SplitPatternName } from './pattern.ts';
import { tokenizerError } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';
import { byteLevelBpe } from './train/bpe.ts';
import { WordPiece } from './wordpiece.ts';

const limits = { entries: 1 << 21, tokenLength: 1 << 16 };

/** Texts of a file by lines; a last newline begins no line, `\r` before `\n` is dropped. */
function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
}

const bertTokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/**
 * BERT's WordPiece from `vocab.txt`: a token a line, its number the id. `lowercase`: letters are made small and lose their accents (uncased models);
 * left out, it is so when no token holds a capital letter of ASCII besides the special ones.
 */
export function tokenizerFromVocabTxt(text: string, { lowercase }: { lowercase?: boolean } = {}): PipelineTokenizer {
  const lines = linesOf(text);
  if (lines.length > limits.entries) throw tokenizerError(`vocab.txt: ${lines.length} lines; the limit is ${limits.entries}`);
  const vocab = new Map<string, number>();
  lines.forEach((token, id) => {
    if (token.length > limits.tokenLength) throw tokenizerError(`vocab.txt: line ${id + 1} has ${token.length} characters`);
    // Of a token that stands twice the last place counts, as in BERT's own reader.
    vocab.set(token, id);
  });
  for (const token of ['[UNK]', '[CLS]', '[SEP]'])
    if (!vocab.has(token)) throw tokenizerError(`vocab.txt: there is no ${token}; is it a file of BERT?`, { token });
  const specials = bertTokens.filter((token) => vocab.has(token));
  const small = lowercase ?? !lines.some((token) => /[A-Z]/.test(token) && !/^\[.*\]$/.test(token));
  return bertTokenizer(vocab, specials, small);
}

function bertTokenizer(vocab: ReadonlyMap<string, number>, specials: readonly string[], lowercase: boolean): PipelineTokenizer {
  const normalizer: NormalizerSpec = {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase,
  };
  const frame = (name: string, typeId: number) => ({ SpecialToken: { id: name, type_id: typeId } });
  const special = (name: string) => ({ id: name, ids: [vocab.get(name)!], tokens: [name] });
  const single = [frame('[CLS]', 0), { Sequence: { id: 'A' as const, type_id: 0 } }, frame('[SEP]', 0)];
  return new PipelineTokenizer({
    model: new WordPiece({ vocab }),
    addedTokens: specials.map((token) => specialToken(token, vocab.get(token)!)),
    normalizer,
    preTokenizer: { type: 'BertPreTokenizer' },
    postProcessor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, { Sequence: { id: 'B' as const, type_id: 1 } }, frame('[SEP]', 1)],
      special_tokens: { '[CLS]': special('[CLS]'), '[SEP]': special('[SEP]') },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  });
}

/** `vocab.txt` of a WordPiece tokenizer. Throws where ids have gaps or a token has a line end, which the format cannot say. */
export function vocabTxt(tokenizer: Tokenizer): string {
  if (!(tokenizer instanceof PipelineTokenizer) || tokenizer.parts.model.type !== 'WordPiece')
    throw tokenizerError(`vocabTxt: the format is WordPiece's; this is ${tokenizer.kind}`, { kind: tokenizer.kind });
  let text = '';
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    const token = tokenizer.idToToken(id);
    if (token === undefined || /[\r\n]/.test(token)) throw tokenizerError(`vocabTxt: id ${id} cannot be a line`, { id });
    text += `${token}\n`;
  }
  return text;
}

/**
 * Byte-level BPE from GPT-2's pair of files. `specialTokens`: those of the vocabulary that are control tokens, and new ones, which take the next ids.
 * `pattern`: how text is cut (Qwen 2 has these files with its own).
 */
export function tokenizerFromMerges(
  vocabJson: string,
  mergesTxt: string,
  {
    specialTokens = ['<|endoftext|>'],
    pattern = 'gpt2',
  }: { specialTokens?: readonly string[]; pattern?: SplitPatternName | (string & {}) } = {},
): PipelineTokenizer {
  let json: unknown;
  try {
    json = JSON.parse(vocabJson);
  } catch (error) {
    throw tokenizerError(`vocab.json: not JSON: ${(error as Error).message.slice(0, 200)}`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw tokenizerError('vocab.json: expected an object');
  const vocab = new Map<string, number>();
  const owner = new Map<number, string>();
  for (const [token, id] of Object.entries(json)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= limits.entries)
      throw tokenizerError(`vocab.json: ${JSON.stringify(token.slice(0, 60))} has the id ${JSON.stringify(id)?.slice(0, 60)}`);
    const other = owner.get(id);
    if (other !== undefined)
      throw tokenizerError(`vocab.json: ${JSON.stringify(other)} and ${JSON.stringify(token)} have the same id ${id}`, { id });
    owner.set(id, token);
    vocab.set(token, id);
  }
  if (vocab.size === 0) throw tokenizerError('vocab.json: the vocabulary is empty');
  const merges = linesOf(mergesTxt)
    .map((line, i) => [line, i + 1] as const)
    .filter(([line, n]) => line !== '' && !(n === 1 && line.startsWith('#version')))
    .map(([line, n]): [string, string] => {
      const parts = line.split(' ');
      if (parts.length !== 2)
        throw tokenizerError(`merges.txt: line ${n} is not two tokens: ${JSON.stringify(line.slice(0, 60))}`);
      return [parts[0], parts[1]];
    });
  const tokenizer = byteLevelBpe({ vocab, merges, specialTokens: specialTokens.filter((t) => t !== ''), pattern });
  if (!robertaTokens.every((token) => vocab.has(token))) return tokenizer;
  // RoBERTa has the same files, and <s> … </s> around a text; its mask takes the blank before it.
  const named = (token: string): [string, number] => [token, vocab.get(token)!];
  return new PipelineTokenizer({
    ...tokenizer.parts,
    addedTokens: [...new Set([...robertaTokens, ...specialTokens])]
      .filter((token) => vocab.has(token))
      .map((token) => ({ ...specialToken(token, vocab.get(token)!), lstrip: token === '<mask>' })),
    postProcessor: {
      type: 'RobertaProcessing',
      sep: named('</s>'),
      cls: named('<s>'),
      trim_offsets: true,
      add_prefix_space: false,
    },
  });
}

const robertaTokens = ['<s>', '<pad>', '</s>', '<unk>', '<mask>'];

/** `vocab.json` and `merges.txt` of a byte-level BPE tokenizer. Special tokens are in the vocabulary; the split pattern is in neither file. */
export function mergesFiles(tokenizer: Tokenizer): {
  vocabJson: string;
  mergesTxt: string;
  pattern: SplitPatternName | undefined;
} {
  const model = tokenizer instanceof PipelineTokenizer ? tokenizer.parts.model : undefined;
  if (!(model instanceof Bpe) || !model.byteLevel)
    throw tokenizerError(`mergesFiles: the format is byte-level BPE's; this is ${tokenizer.kind}`, { kind: tokenizer.kind });
  const entries: string[] = [];
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    const token = tokenizer.idToToken(id);
    if (token !== undefined) entries.push(`${JSON.stringify(token)}:${id}`);
  }
  const preTokenizer = (tokenizer as PipelineTokenizer).parts.preTokenizer;
  const split = preTokenizer?.type === 'Sequence' ? preTokenizer.pretokenizers[0] : preTokenizer;
  const source = split?.type === 'Split' && 'Regex' in split.pattern ? split.pattern.Regex : undefined;
  const named = (Object.keys(splitPatterns) as SplitPatternName[]).find((name) => splitPatterns[name] === source);
  return {
    vocabJson: `{${entries.join(',')}}`,
    mergesTxt: `#version: 0.2\n${model
      .merges()
      .map(([a, b]) => `${a} ${b}\n`)
      .join('')}`,
    pattern: named ?? (split?.type === 'ByteLevel' ? 'gpt2' : undefined),
  };
}
