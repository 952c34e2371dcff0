// The vocabulary inside a GGUF file → tokenizer.json.

import { splitPatterns } from '../tokenizers/index.ts';
import { type GgufReader, ggufKey } from './gguf.ts';
import { cuts, tokenTypes } from './gguf-tokenizer.ts';

/** tokenizer.json of the vocabulary in a GGUF file; a note instead where llama.cpp's kind has no form here. */
export function tokenizerOfGguf(file: GgufReader): { json?: string; notes: string[] } {
  const kind = ggufKey(file, 'tokenizer.ggml.model', 'string', 'none');
  const tokens = ggufKey(file, 'tokenizer.ggml.tokens', 'strings', []);
  if (tokens.length === 0 || kind === 'none') return { notes: ['the file has no tokenizer'] };
  const types = ggufKey(
    file,
    'tokenizer.ggml.token_type',
    'numbers',
    tokens.map(() => 1),
  );
  if (kind === 'gpt2') return gpt2Tokenizer(file, tokens, types);
  if (kind === 'llama') return llamaTokenizer(file, tokens, types);
  if (kind === 'bert') return { json: wordPieces(file, tokens, types), notes: [] };
  return { notes: [`tokenizers of the kind ${kind} are not read from GGUF`] };
}

function gpt2Tokenizer(file: GgufReader, tokens: string[], types: number[]): { json?: string; notes: string[] } {
  const pre = ggufKey(file, 'tokenizer.ggml.pre', 'string', 'default');
  const cut = cuts.find(([, names]) => names.includes(pre))?.[0];
  if (!cut) return { notes: [`the tokenizer cuts texts as ${pre} does; that is not known here, so it was left out`] };
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true };
  const steps = {
    gpt2: () => ({ ...bytes, use_regex: true }),
    digits: () => sequence({ type: 'Digits', individual_digits: true }, { ...bytes, use_regex: true }),
  };
  const split = (regex: string) =>
    sequence({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false }, { ...bytes, use_regex: false });
  return {
    json: tokenizerJson(file, tokens, types, {
      normalizer: null,
      pre_tokenizer: cut === 'gpt2' || cut === 'digits' ? steps[cut]() : split(splitPatterns[cut]),
      decoder: { ...bytes, use_regex: true },
      model: {
        ...{
          type: 'BPE',
          dropout: null,
          unk_token: null,
          continuing_subword_prefix: null,
          end_of_word_suffix: null,
          fuse_unk: false,
        },
        ...{ byte_fallback: false, ignore_merges: cut === 'llama3' },
        merges: ggufKey(file, 'tokenizer.ggml.merges', 'strings', []).map((m) => {
          const at = m.indexOf(' ', 1); // a token may begin with a blank
          return [m.slice(0, at), m.slice(at + 1)];
        }),
      },
    }),
    notes: [],
  };
}
const sequence = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers });

function llamaTokenizer(file: GgufReader, tokens: string[], types: number[]): { json?: string; notes: string[] } {
  const scores = ggufKey(
    file,
    'tokenizer.ggml.scores',
    'numbers',
    tokens.map(() => 0),
  );
  const prefix = file.metadata.get('tokenizer.ggml.add_space_prefix')?.value !== false;
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const bytes = types.includes(tokenTypes.byte);
  const unk = types.indexOf(tokenTypes.unknown);
  const decoders = [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }];
  return {
    json: tokenizerJson(file, tokens, types, {
      normalizer: prefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replace] } : replace,
      pre_tokenizer: null,
      decoder: {
        type: 'Sequence',
        decoders: prefix ? [...decoders, { type: 'Strip', content: ' ', start: 1, stop: 0 }] : decoders,
      },
      model: {
        ...{ type: 'BPE', dropout: null, unk_token: unk < 0 ? null : tokens[unk], continuing_subword_prefix: null },
        ...{ end_of_word_suffix: null, fuse_unk: true, byte_fallback: bytes, ignore_merges: false },
        merges: mergesOf(tokens, types, scores),
      },
    }),
    notes: [],
  };
}

/** WordPiece: what begins a word has ▁ before it in the file, what goes on has no ## there. A vocabulary without capitals is of lower-cased text. */
function wordPieces(file: GgufReader, listed: string[], types: number[]): string {
  const tokens = listed.map((token, id) => {
    if (token.startsWith('▁')) return token.slice(1);
    return types[id] === tokenTypes.control || /^\[.+\]$/.test(token) ? token : `##${token}`;
  });
  const lowercase = tokens.every(
    (token, id) => types[id] === tokenTypes.control || /^\[.+\]$/.test(token) || token === token.toLowerCase(),
  );
  const id = (keys: string[], name: string): number => {
    const found = keys
      .map((key) => file.metadata.get(`tokenizer.ggml.${key}_token_id`)?.value)
      .find((x) => typeof x === 'number');
    return typeof found === 'number' && found < tokens.length ? found : tokens.indexOf(name);
  };
  const [cls, sep, unk] = [id(['cls', 'bos'], '[CLS]'), id(['seperator', 'eos'], '[SEP]'), id(['unknown'], '[UNK]')];
  return tokenizerJson(file, tokens, types, {
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    ...(cls < 0 || sep < 0 ? {} : { post_processor: around(tokens, cls, sep) }),
    model: {
      ...{ type: 'WordPiece', unk_token: unk < 0 ? '[UNK]' : tokens[unk] },
      ...{ continuing_subword_prefix: '##', max_input_chars_per_word: 100 },
    },
  });
}

/** [CLS] a text [SEP], and a second text [SEP] in segment 1. Devlin et al. 2018, §3. */
function around(tokens: string[], cls: number, sep: number): object {
  const special = (token: number, type_id: number) => ({ SpecialToken: { id: tokens[token], type_id } });
  const single = [special(cls, 0), { Sequence: { id: 'A', type_id: 0 } }, special(sep, 0)];
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, { Sequence: { id: 'B', type_id: 1 } }, special(sep, 1)],
    special_tokens: Object.fromEntries([cls, sep].map((t) => [tokens[t], { id: tokens[t], ids: [t], tokens: [tokens[t]] }])),
  };
}

/** Every way to make a token of two others is a merge; the token with the higher score is made first. */
function mergesOf(tokens: string[], types: number[], scores: number[]): [string, string][] {
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (types[id] === tokenTypes.normal || types[id] === tokenTypes.userDefined) ids.set(token, id);
  });
  const found: { left: string; right: string; score: number; id: number }[] = [];
  for (const [token, id] of ids) {
    for (let at = 1; at < token.length; at++) {
      const code = token.charCodeAt(at);
      if (code >= 0xdc00 && code <= 0xdfff) continue; // inside a character
      const [left, right] = [token.slice(0, at), token.slice(at)];
      if (ids.has(left) && ids.has(right)) found.push({ left, right, score: scores[id], id });
    }
  }
  found.sort((a, b) => b.score - a.score || a.id - b.id);
  return found.map(({ left, right }) => [left, right]);
}

function tokenizerJson(
  file: GgufReader,
  tokens: string[],
  types: number[],
  parts: { model: object } & Record<string, unknown>,
): string {
  const isAdded = (type: number): boolean =>
    type === tokenTypes.control || type === tokenTypes.userDefined || type === tokenTypes.unknown;
  const added = tokens
    .map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: types[id] !== tokenTypes.userDefined,
    }))
    .filter(({ id }) => isAdded(types[id]));
  const { model, ...rest } = parts;
  // A vocabulary may list a text twice; the first id is its id.
  const vocab: [string, number][] = [];
  const seen = new Set<string>();
  tokens.forEach((token, id) => {
    if (seen.has(token)) return;
    seen.add(token);
    vocab.push([token, id]);
  });
  const json = {
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: added },
    post_processor: frame(file, tokens),
    ...rest,
  };
  const text = JSON.stringify(json);
  // Written by hand: a key such as "__proto__" or "12" would be moved or lost in an object.
  const entries = vocab.map(([token, id]) => `${JSON.stringify(token)}:${id}`).join(',');
  const head = JSON.stringify(model);
  return `${text.slice(0, -1)},"model":${head.slice(0, -1)},"vocab":{${entries}}}}`;
}

/** What stands around a text, as the file's add_bos_token and add_eos_token say. */
function frame(file: GgufReader, tokens: string[]): object | null {
  const flag = (key: string, fallback: boolean): boolean => {
    const value = file.metadata.get(`tokenizer.ggml.${key}`)?.value;
    return typeof value === 'boolean' ? value : fallback;
  };
  const id = (key: string): number | undefined => {
    const value = file.metadata.get(`tokenizer.ggml.${key}_token_id`)?.value;
    return typeof value === 'number' && value < tokens.length ? value : undefined;
  };
  const llama = file.metadata.get('tokenizer.ggml.model')?.value === 'llama';
  const llama3 = file.metadata.get('tokenizer.ggml.pre')?.value === 'llama-bpe';
  const before = flag('add_bos_token', llama || llama3) ? id('bos') : undefined;
  const after = flag('add_eos_token', false) ? id('eos') : undefined;
  if (before === undefined && after === undefined) return null;
  const special = (token: number, type_id: number) => ({ SpecialToken: { id: tokens[token], type_id } });
  const around = (text: string, type_id: number) => [
    ...(before === undefined ? [] : [special(before, type_id)]),
    { Sequence: { id: text, type_id } },
    ...(after === undefined ? [] : [special(after, type_id)]),
  ];
  const used = [before, after].filter((x) => x !== undefined);
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(used.map((t) => [tokens[t], { id: tokens[t], ids: [t], tokens: [tokens[t]] }])),
  };
}
