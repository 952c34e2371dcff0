// tokenizer.json → the vocabulary inside a GGUF file; gguf-vocabulary.ts is the way back. llama.cpp knows two kinds of BPE: `gpt2` on bytes, with merges, and `llama` (SentencePiece) on
// characters, where the score of a token is its rank. A vocabulary of bytes or characters without merges is written as its `rwkv`: the longest token
// that fits.

import { fromByteAlphabet } from '../tokenizers/byte-alphabet.ts';
import { splitPatterns } from '../tokenizers/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import type { GgufValue } from './gguf-head.ts';

export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
const byteToken = /^<0x[0-9A-F]{2}>$/;

/** What is read of tokenizer.json; the tokenizer itself was checked by tokenizerFromJson before. */
interface TokenizerFile {
  added_tokens?: { id: number; content: string; special: boolean }[];
  normalizer?: Step | null;
  pre_tokenizer?: Step | null;
  post_processor?: Step | null;
  model: {
    type?: string;
    vocab: Record<string, number>;
    merges?: (string | [string, string])[];
    unk_token?: string | null;
    byte_fallback?: boolean;
  };
}
type Step = { type: string } & Record<string, unknown>;

/** What llama.cpp calls the ways to cut a text before merging. Those of one line are the same pattern under several names. */
export const cuts: [pattern: keyof typeof splitPatterns | 'digits', names: string[]][] = [
  ['gpt2', ['gpt-2', 'phi-2', 'mpt', 'olmo', 'jais', 'trillion', 'gigachat']],
  ['digits', ['smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b']],
  ['llama3', ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'pixtral', 'dbrx', 'smaug-bpe']],
  ['qwen2', ['qwen2', 'deepseek-r1-qwen', 'stablelm2', 'megrez', 'kormo']],
  ['gpt4o', ['gpt-4o', 'llama4', 'kanana2']],
];

/** Ids that mean something to a program that writes. */
export interface SpecialIds {
  bos?: number;
  /** All that end a text; the first is the one of llama.cpp's key, the second its end of a turn. */
  eos?: number[];
  pad?: number;
}

/**
 * The keys of a tokenizer in a GGUF file with `vocabSize` entries; ids that the tokenizer lacks become unused ones. `notes` gains what
 * llama.cpp will do otherwise. @throws CheckpointError TOKENIZER for a kind that it does not have
 */
export function ggufTokenizer(json: string, vocabSize: number, ids: SpecialIds, notes: string[]): [string, GgufValue][] {
  const file = JSON.parse(json) as TokenizerFile;
  const { model, added_tokens: added = [] } = file;
  if ((model.type ?? 'BPE') !== 'BPE')
    throw new CheckpointError(
      'TOKENIZER',
      'tokenizer.json',
      `llama.cpp's decoders have no ${model.type} tokenizer`,
      'Use hf or onnx',
      1,
    );
  const steps = flatten(file.pre_tokenizer);
  const byteLevel = steps.at(-1)?.type === 'ByteLevel';
  const tokens: string[] = Array.from({ length: vocabSize }, (_, id) => `[unused${id}]`);
  const types: number[] = tokens.map(() => tokenTypes.unused);
  const single = (model.merges ?? []).length === 0;
  for (const [token, id] of Object.entries(model.vocab)) {
    tokens[id] = single ? escaped(token, byteLevel) : token;
    types[id] =
      token === model.unk_token ? tokenTypes.unknown : !byteLevel && byteToken.test(token) ? tokenTypes.byte : tokenTypes.normal;
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    if (types[id] !== tokenTypes.unknown) types[id] = special ? tokenTypes.control : tokenTypes.userDefined;
  }
  if (tokens.length > vocabSize)
    throw new CheckpointError('TOKENIZER', 'tokenizer.json', `it has ${tokens.length} entries, the model ${vocabSize}`, '', 1);

  const frame = frameOf(file.post_processor);
  const bos = ids.bos ?? frame.before[0];
  const eos = ids.eos?.length ? ids.eos : endOf(tokens, notes);
  const keys: [string, GgufValue][] = [
    ['tokenizer.ggml.model', { type: 'string', value: single ? 'rwkv' : byteLevel ? 'gpt2' : 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: types }],
  ];
  const id = (key: string, value: number | undefined): void => {
    if (value !== undefined && value < vocabSize) keys.push([`tokenizer.ggml.${key}_token_id`, { type: 'u32', value }]);
  };
  const flag = (key: string, value: boolean): void => void keys.push([`tokenizer.ggml.${key}`, { type: 'bool', value }]);
  if (single) keys.push(['tokenizer.ggml.pre', { type: 'string', value: 'default' }]);
  else if (byteLevel) {
    keys.push(['tokenizer.ggml.pre', { type: 'string', value: cutOf(steps, notes) }]);
    const merges = (model.merges ?? []).map((m) => (typeof m === 'string' ? m : m.join(' ')));
    keys.push(['tokenizer.ggml.merges', { type: 'array', of: 'string', value: merges }]);
  } else {
    keys.push(['tokenizer.ggml.pre', { type: 'string', value: 'default' }]);
    keys.push(['tokenizer.ggml.scores', { type: 'array', of: 'f32', value: scoresOf(tokens, model.merges ?? []) }]);
    flag('add_space_prefix', addsBlank(file));
  }
  id('bos', bos ?? eos[0]);
  id('eos', eos[0]);
  id('eot', eos[1]);
  id('padding', ids.pad);
  // A character that the vocabulary lacks needs some id: without one llama.cpp ends the process.
  if (model.unk_token) id('unknown', model.vocab[model.unk_token]);
  else if (single) id('unknown', eos[0]);
  flag('add_bos_token', frame.before.length > 0);
  flag('add_eos_token', frame.after.length > 0);
  return keys;
}

/** As RWKV's vocabularies are written: what is not printable, by its bytes. */
function escaped(token: string, byteLevel: boolean): string {
  const bytes = byteLevel ? fromByteAlphabet(token) : undefined;
  const hex = (b: number): string => `\\x${b.toString(16).padStart(2, '0')}`;
  if (bytes) return [...bytes].map((b) => (b > 32 && b < 127 && b !== 92 ? String.fromCharCode(b) : hex(b))).join('');
  return token.replace(/[\u0000-\u001f\\\u007f]/g, (c) => hex(c.charCodeAt(0)));
}

const flatten = (step: Step | null | undefined, key = 'pretokenizers'): Step[] =>
  !step ? [] : step.type === 'Sequence' ? (step[key] as Step[]).flatMap((s) => flatten(s, key)) : [step];

/** The ids that stand around one text. */
function frameOf(post: Step | null | undefined): { before: number[]; after: number[] } {
  const template = flatten(post, 'processors').find((s) => s.type === 'TemplateProcessing');
  if (!template) return { before: [], after: [] };
  const specials = template['special_tokens'] as Record<string, { ids: number[] }>;
  const single = template['single'] as ({ SpecialToken: { id: string } } | { Sequence: object })[];
  const text = single.findIndex((part) => 'Sequence' in part);
  const idsOf = (parts: typeof single): number[] =>
    parts.flatMap((p) => ('SpecialToken' in p ? specials[p.SpecialToken.id].ids : []));
  return { before: idsOf(single.slice(0, text)), after: idsOf(single.slice(text + 1)) };
}

/** <|endoftext|> and the like, by name. llama.cpp cannot do without: where there is none, the NUL byte, or the end of a line. */
function endOf(tokens: readonly string[], notes: string[]): [number] {
  const names = ['<|endoftext|>', '</s>', '<eos>', '<|end_of_text|>', '\\x00', '\\x0a'];
  const at = names.map((name) => tokens.indexOf(name)).find((id) => id >= 0) ?? tokens.length - 1;
  if (!tokens[at].startsWith('<'))
    notes.push(`the tokenizer has no token that ends a text; llama.cpp is told to stop at ${JSON.stringify(tokens[at])}`);
  return [at];
}

function cutOf(steps: readonly Step[], notes: string[]): string {
  const before = steps.slice(0, -1);
  const last = steps.at(-1)!;
  const regex = (before.at(-1)?.['pattern'] as { Regex?: string } | undefined)?.Regex;
  const found =
    before.length === 0 && last['use_regex'] !== false
      ? 'gpt2'
      : before.length === 1 && before[0].type === 'Digits' && before[0]['individual_digits'] === true
        ? 'digits'
        : before.length === 1 && before[0].type === 'Split'
          ? Object.entries(splitPatterns).find(([, pattern]) => pattern === regex)?.[0]
          : undefined;
  const names = cuts.find(([pattern]) => pattern === found)?.[1];
  if (names) return names[0];
  if (before.length > 0 || last['use_regex'] !== false)
    notes.push('llama.cpp has no such way to cut a text: it will cut as gpt-2 does, so that some texts get other ids than here');
  return 'gpt-2';
}

/** −rank of the first merge that makes a token: the earlier it was learned, the sooner it is merged. */
function scoresOf(tokens: readonly string[], merges: readonly (string | [string, string])[]): number[] {
  const rank = new Map<string, number>();
  merges.forEach((m, i) => {
    const token = typeof m === 'string' ? m.replace(' ', '') : m.join('');
    if (!rank.has(token)) rank.set(token, i);
  });
  return tokens.map((token) => (rank.has(token) ? -rank.get(token)! - 1 : 0));
}

const addsBlank = (file: TokenizerFile): boolean =>
  flatten(file.normalizer, 'normalizers').some((s) => s.type === 'Prepend') ||
  flatten(file.pre_tokenizer).some((s) => s.type === 'Metaspace' && s['prepend_scheme'] !== 'never');
