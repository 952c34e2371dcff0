/**
 * The tokenizer of a file or a folder, whatever its format: `tokenizer.json`, SentencePiece (`tokenizer.model`, `spiece.model`), tiktoken ranks, GPT-2's `vocab.json`
 * with `merges.txt`, BERT's `vocab.txt`. What the vocabulary files do not say (special tokens, lower case, `<s>` before a text) is read from `tokenizer_config.json` beside them.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { QkvError } from '../errors.ts';
import { type ChatTemplate, compileChatTemplate } from '../tokenizers/chat-template.ts';
import { looksLikeTiktoken, tokenizerFromTiktoken } from '../tokenizers/tiktoken.ts';
import type { TiktokenOptions } from '../tokenizers/tiktoken.ts';
import { tokenizerFromJson } from '../tokenizers/tokenizer-json.ts';
import type { Tokenizer } from '../tokenizers/tokenizer.ts';
import { tokenizerFromMerges, tokenizerFromVocabTxt } from '../tokenizers/vocabulary-files.ts';

export type TokenizerFormat = 'tokenizer.json' | 'sentencepiece' | 'tiktoken' | 'vocab.json' | 'vocab.txt';

export interface LoadedTokenizer {
  tokenizer: Tokenizer;
  /** The file that the vocabulary was read from. */
  path: string;
  format: TokenizerFormat;
}

/** In a folder the first of these that exists is read. */
const names = [
  'tokenizer.json',
  'tokenizer.model',
  'spiece.model',
  'sentencepiece.bpe.model',
  'tokenizer.tiktoken',
  'vocab.json',
  'vocab.txt',
];
/** No published vocabulary comes near; a larger file is something else. */
const mostBytes = 256 << 20;

/**
 * Load. Options are for tiktoken files, which do not say how text is cut. Throws E182 where nothing is there (with what a folder should hold), and TOKENIZER where a file is
 * damaged or of no known format.
 */
export async function loadTokenizer(path: string, options: TiktokenOptions = {}): Promise<LoadedTokenizer> {
  const file = fileAt(path);
  const config = tokenizerConfig(dirname(file));
  const bytes = read(file);
  const name = basename(file);
  if (name === 'merges.txt' || name === 'vocab.json') {
    const [vocab, merges] = [join(dirname(file), 'vocab.json'), join(dirname(file), 'merges.txt')];
    if (!existsSync(name === 'vocab.json' ? merges : vocab))
      throw new QkvError('TOKENIZER', `${file}: ${name === 'vocab.json' ? 'merges.txt' : 'vocab.json'} should stand beside it`, {
        path: file,
      });
    const qwen = /^Qwen2/.test(String(config['tokenizer_class'] ?? ''));
    return {
      tokenizer: tokenizerFromMerges(text(read(vocab)), text(read(merges)), {
        specialTokens: specialsOf(config),
        pattern: qwen ? 'qwen2' : 'gpt2',
      }),
      path: vocab,
      format: 'vocab.json',
    };
  }
  // A JSON text begins with a brace; a SentencePiece model with the tag of its first piece, 0x0a, and no text does; tiktoken and vocab.txt are lines.
  const head = text(bytes.subarray(0, 4096)).trimStart();
  if (head.startsWith('{')) return { tokenizer: tokenizerFromJson(text(bytes)), path: file, format: 'tokenizer.json' };
  if (bytes[0] === 0x0a && /\.model$/.test(name)) {
    const { tokenizerFromSentencePiece } = await import('../tokenizers/sentencepiece.ts');
    const flag = (key: string): boolean => config[key] === true;
    return {
      tokenizer: tokenizerFromSentencePiece(bytes, { bos: flag('add_bos_token'), eos: flag('add_eos_token') }),
      path: file,
      format: 'sentencepiece',
    };
  }
  if (looksLikeTiktoken(head)) return { tokenizer: tokenizerFromTiktoken(text(bytes), options), path: file, format: 'tiktoken' };
  if (/\.txt$/.test(name)) {
    const lower = config['do_lower_case'];
    return {
      tokenizer: tokenizerFromVocabTxt(text(bytes), { lowercase: typeof lower === 'boolean' ? lower : undefined }),
      path: file,
      format: 'vocab.txt',
    };
  }
  if (name.endsWith('.json')) return { tokenizer: tokenizerFromJson(text(bytes)), path: file, format: 'tokenizer.json' };
  throw new QkvError(
    'TOKENIZER',
    `${file} is no tokenizer that is known: tokenizer.json, SentencePiece .model, .tiktoken, vocab.json with merges.txt, or vocab.txt`,
    { path: file },
  );
}

/** Does a path name a tokenizer (a file, or a folder that holds one)? */
export function hasTokenizer(path: string): boolean {
  const info = statSync(path, { throwIfNoEntry: false });
  return info?.isFile() === true || (info?.isDirectory() === true && names.some((name) => existsSync(join(path, name))));
}

function fileAt(path: string): string {
  const info = statSync(path, { throwIfNoEntry: false });
  if (info?.isFile()) return path;
  const found = info?.isDirectory() ? names.map((name) => join(path, name)).find((p) => existsSync(p)) : undefined;
  if (found !== undefined) return found;
  throw new QkvError('E182', info ? `the folder ${path} holds no tokenizer: ${names.join(', ')}` : `there is no file ${path}`, {
    path: info ? join(path, 'tokenizer.json') : path,
  });
}

function read(path: string): Uint8Array {
  const { size } = statSync(path);
  if (size > mostBytes)
    throw new QkvError('TOKENIZER', `${path}: ${size} bytes; the limit for a vocabulary is ${mostBytes}`, { path, size });
  return readFileSync(path);
}

const text = (bytes: Uint8Array): string => new TextDecoder('utf-8').decode(bytes);

/** `tokenizer_config.json` beside a vocabulary; {} where there is none or it is no object. */
export function tokenizerConfig(folder: string): Readonly<Record<string, unknown>> {
  const path = join(folder, 'tokenizer_config.json');
  if (!existsSync(path)) return {};
  try {
    const json: unknown = JSON.parse(text(read(path)));
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>) : {};
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new QkvError('TOKENIZER', `${path} is not JSON: ${error.message.slice(0, 200)}`, { path });
  }
}

/** The special tokens that a configuration names, each once; GPT-2's where it names none. */
function specialsOf(config: Readonly<Record<string, unknown>>): string[] {
  const content = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && 'content' in value ? value.content : value;
  const more = config['additional_special_tokens'];
  const added = config['added_tokens_decoder'];
  const inOrder =
    typeof added === 'object' && added !== null
      ? Object.entries(added)
          .sort((a, b) => Number(a[0]) - Number(b[0]))
          .map(([, token]) => token)
      : [];
  const named = [
    ...inOrder,
    ...['bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token', 'mask_token'].map((key) => config[key]),
    ...(Array.isArray(more) ? more : []),
  ]
    .map(content)
    .filter((token): token is string => typeof token === 'string' && token !== '');
  return named.length ? [...new Set(named)] : ['<|endoftext|>'];
}

/**
 * The chat template of a model's folder: `chat_template.jinja`, else `chat_template` in `tokenizer_config.json` (of several by name, the one called `default`);
 * undefined where it has none. The special tokens that a template may name come from the same configuration. Throws TOKENIZER where it is no template.
 */
export async function loadChatTemplate(folder: string): Promise<ChatTemplate | undefined> {
  const config = tokenizerConfig(folder);
  const file = join(folder, 'chat_template.jinja');
  const given = existsSync(file) ? text(read(file)) : config['chat_template'];
  const listed = Array.isArray(given)
    ? (given as { name?: unknown; template?: unknown }[]).find((entry) => entry?.name === 'default')?.template
    : given;
  if (typeof listed !== 'string') return undefined;
  const specialTokens: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    const content = typeof value === 'object' && value !== null && 'content' in value ? value.content : value;
    if (/^[a-z_]+_token$/.test(key) && typeof content === 'string') specialTokens[key] = content;
  }
  return compileChatTemplate(listed, { specialTokens });
}
