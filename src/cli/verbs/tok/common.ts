/** What the verbs of `qkv tok` share: tokenizers read and written, a text encoded. */
import { existsSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { QkvError } from '../../../errors.ts';
import { hasTokenizer, loadTokenizer as loadFile } from '../../../io/load-tokenizer.ts';
import { resolveRun } from '../../../io/run-folder.ts';
import {
  byteTokenizer,
  type EncodeOptions,
  mergesFiles,
  tiktokenFile,
  type Tokenizer,
  tokenizerToJson,
  vocabTxt,
} from '../../../tokenizers/index.ts';
import type { Flag } from '../../verb.ts';

export const END_OF_TEXT = '<|endoftext|>';

/** Where a tokenizer is written to. */
export const outFlag: Flag = {
  name: 'out',
  takes: 'text',
  about: {
    en: 'file to write (tokenizer.json); NAME.model, NAME.tiktoken, vocab.txt and vocab.json are written in those formats',
    zh: '写到哪个文件（tokenizer.json）；名字为 *.model、*.tiktoken、vocab.txt、vocab.json 时写成相应格式',
  },
};

export const forceFlag: Flag = { name: 'force', about: { en: 'write over a file that exists', zh: '覆盖已有文件' } };

/** The tokenizer that FILE-or-RUN means: a file of any known format, a folder that holds one, a run, or `byte`, which needs no file. */
export async function loadTokenizer(word: string, pattern?: string): Promise<{ tokenizer: Tokenizer; path: string }> {
  if (word === 'byte' && !existsSync(word)) return { tokenizer: byteTokenizer({ specialTokens: [END_OF_TEXT] }), path: 'byte' };
  return loadFile(hasTokenizer(word) ? word : join(resolveRun(word).folder, 'tokenizer.json'), { pattern });
}

/** The files of a tokenizer in the format that the name says: `.model`, `.tiktoken`, `vocab.txt`, `vocab.json` (with `merges.txt` beside it), else tokenizer.json. */
async function filesOf(tokenizer: Tokenizer, path: string): Promise<Map<string, string | Uint8Array>> {
  const name = basename(path);
  if (name.endsWith('.model')) {
    const { sentencePieceModel } = await import('../../../tokenizers/sentencepiece.ts');
    return new Map([[path, sentencePieceModel(tokenizer)]]);
  }
  if (name.endsWith('.tiktoken')) return new Map([[path, tiktokenFile(tokenizer).text]]);
  if (name === 'vocab.txt') return new Map([[path, vocabTxt(tokenizer)]]);
  if (name === 'vocab.json') {
    const { vocabJson, mergesTxt } = mergesFiles(tokenizer);
    return new Map([
      [path, vocabJson],
      [join(dirname(path), 'merges.txt'), mergesTxt],
    ]);
  }
  return new Map([[path, tokenizerToJson(tokenizer)]]);
}

/** Writes them; E158 where one is there, unless `force`. */
export async function writeTokenizer(tokenizer: Tokenizer, path: string, force: boolean): Promise<string[]> {
  const files = await filesOf(tokenizer, path);
  for (const file of files.keys()) if (existsSync(file) && !force) throw new QkvError('E158', `${file} exists`, { path: file });
  for (const [file, content] of files) writeFileSync(file, content, { flag: force ? 'w' : 'wx' });
  return [...files.keys()];
}

/** Encodes, and names the first character that the vocabulary lacks (E162). */
export function encodeText(tokenizer: Tokenizer, text: string, options: EncodeOptions = {}): Int32Array {
  try {
    return tokenizer.encode(text, options);
  } catch (error) {
    // Which character? The error of a whole text does not say where.
    let position = 0;
    for (const char of text) {
      try {
        tokenizer.encode(char);
      } catch {
        throw new QkvError('E162', `the tokenizer does not know "${char}"`, { char, position, vocabSize: tokenizer.vocabSize });
      }
      position++;
    }
    throw error;
  }
}
