// The tokenizer of a published folder as tokenizer.json: the file itself, or made of what folders had before there was one.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { tokenizerToJson } from '../tokenizers/index.ts';
import { readSmallFile } from './file-system.ts';
import { hasTokenizer, loadTokenizer } from './load-tokenizer.ts';

/** The text of tokenizer.json, and how it was made where it was. @throws QkvError TOKENIZER where a vocabulary file is damaged */
export async function tokenizerOfFolder(folder: string): Promise<{ json?: string; note?: string }> {
  const file = join(folder, 'tokenizer.json');
  if (existsSync(file)) return { json: new TextDecoder().decode(readSmallFile(file, 256 * 2 ** 20)) };
  if (!hasTokenizer(folder))
    return { note: 'the folder has no tokenizer: tokenizer.json, tokenizer.model, vocab.json and merges.txt, or vocab.txt' };
  const { tokenizer, path } = await loadTokenizer(folder);
  return { json: tokenizerToJson(tokenizer), note: `tokenizer.json was made of ${path}` };
}
