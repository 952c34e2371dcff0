// The tokenizer of a published folder as tokenizer.json: the file itself, or made of what folders had before there was one.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { tokenizerToJson } from '../tokenizers/index.ts';
import { readSmallFile } from './file-system.ts';

/** The text of tokenizer.json, and how it was made where it was. */
export async function tokenizerOfFolder(folder: string): Promise<{ json?: string; note?: string }> {
  const has = (...names: string[]): boolean => names.every((name) => existsSync(join(folder, name)));
  const text = (name: string): string => new TextDecoder().decode(readSmallFile(join(folder, name), 256 * 2 ** 20));
  if (has('tokenizer.json')) return { json: text('tokenizer.json') };
  if (has('vocab.json', 'merges.txt'))
    return {
      json: byteLevel(text('vocab.json'), text('merges.txt')),
      note: 'tokenizer.json was made from vocab.json and merges.txt',
    };
  if (has('vocab.txt')) {
    const config = has('tokenizer_config.json') ? (JSON.parse(text('tokenizer_config.json')) as { do_lower_case?: boolean }) : {};
    const lowercase = config.do_lower_case ?? true;
    return {
      json: wordPiece(text('vocab.txt'), lowercase),
      note: `tokenizer.json was made from vocab.txt (${lowercase ? 'lower case' : 'case kept'})`,
    };
  }
  const pieces = ['tokenizer.model', 'spiece.model', 'sentencepiece.bpe.model'].find((name) => has(name));
  if (pieces) {
    const { tokenizerFromSentencePiece } = await import('../tokenizers/sentencepiece.ts');
    const tokenizer = tokenizerFromSentencePiece(readSmallFile(join(folder, pieces), 256 * 2 ** 20));
    return { json: tokenizerToJson(tokenizer), note: `tokenizer.json was made from ${pieces}` };
  }
  return { note: 'the folder has no tokenizer (tokenizer.json, vocab.json and merges.txt, vocab.txt, tokenizer.model)' };
}

/** GPT-2's two files; RoBERTa's are told by its <s> and </s>, which stand around a text. */
function byteLevel(vocabText: string, mergesText: string): string {
  const vocab = JSON.parse(vocabText) as Record<string, number>;
  const merges = mergesText.split('\n').filter((line) => line !== '' && !line.startsWith('#version'));
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const roberta = ['<s>', '</s>', '<pad>', '<unk>', '<mask>'].filter((token) => Object.hasOwn(vocab, token));
  const specials = roberta.length === 5 ? roberta : ['<|endoftext|>'].filter((token) => Object.hasOwn(vocab, token));
  return JSON.stringify({
    ...{
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specials.map((t) => added(t, vocab[t], t === '<mask>')),
      normalizer: null,
    },
    pre_tokenizer: bytes,
    post_processor:
      roberta.length === 5
        ? {
            type: 'RobertaProcessing',
            sep: ['</s>', vocab['</s>']],
            cls: ['<s>', vocab['<s>']],
            trim_offsets: true,
            add_prefix_space: false,
          }
        : bytes,
    decoder: bytes,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      vocab,
      merges,
    },
  });
}

/** BERT's vocabulary: one token a line. */
function wordPiece(text: string, lowercase: boolean): string {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  const ids = new Map(lines.map((token, id) => [token, id]));
  const specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'].filter((token) => ids.has(token));
  const special = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
  const sequence = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  const named = (token: string) => [token, { id: token, ids: [ids.get(token)], tokens: [token] }] as const;
  const framed = ids.has('[CLS]') && ids.has('[SEP]');
  const single = [special('[CLS]', 0), sequence('A', 0), special('[SEP]', 0)];
  return JSON.stringify({
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: specials.map((t) => added(t, ids.get(t)!, false)) },
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: framed
      ? {
          type: 'TemplateProcessing',
          single,
          pair: [...single, sequence('B', 1), special('[SEP]', 1)],
          special_tokens: Object.fromEntries([named('[CLS]'), named('[SEP]')]),
        }
      : null,
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100 },
      vocab: Object.fromEntries(ids),
    },
  });
}

const added = (content: string, id: number, lstrip: boolean) => ({
  ...{ id, content, single_word: false, lstrip, rstrip: false, normalized: false, special: true },
});
