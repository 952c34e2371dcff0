// What the settings leave to the data and to the model that a run begins with, filled in.

import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { QkvError } from '../errors.ts';
import { type Place, type TrainConfig, tokenizerKinds } from '../settings/index.ts';
import { nearest } from '../settings/nearest.ts';
import { withFrom } from './from.ts';
import { objectiveFor } from './tasks/open.ts';
import { isPacked } from './text-data.ts';

/**
 * The settings with the shape of `from`, the tokenizer of packed data, and the objective that family and data lend themselves to.
 * @throws E114, E116 of `from` · E117 packed data without its tokenizer · E144 no pairs where the family needs them
 */
export async function settle(config: TrainConfig, places: ReadonlyMap<string, Place>): Promise<TrainConfig> {
  const shaped = withTokenizerOfPack(withFrom(config, places));
  checkTokenizer(shaped, places);
  return { ...shaped, objective: await objectiveFor(shaped) };
}

/** A word that is nearly the name of a kind and no file: a slip. */
function checkTokenizer({ tokenizer }: TrainConfig, places: ReadonlyMap<string, Place>): void {
  if (tokenizerKinds.includes(tokenizer) || existsSync(tokenizer)) return;
  const word = basename(tokenizer);
  const near = nearest(word, tokenizerKinds);
  if (near === undefined || existsSync(join('runs', word))) return;
  const kinds = tokenizerKinds.join(' | ');
  throw new QkvError('E103', `tokenizer=${word} is not possible. Did you mean ${near}?`, {
    key: 'tokenizer',
    value: word,
    at: places.get('tokenizer'),
    allowed: `${kinds}, a tokenizer.json, or a folder or run with one. Did you mean ${near}?`,
    allowedZh: `${kinds}、tokenizer.json，或含有它的文件夹或运行。你是不是想写 ${near}？`,
  });
}

/** Packed data was cut by one tokenizer, and is read by no other. */
function withTokenizerOfPack(config: TrainConfig): TrainConfig {
  const { data, tokenizer } = config;
  if (data === '' || !isPacked(data) || !tokenizerKinds.includes(tokenizer)) return config;
  const own = join(data, 'tokenizer.json');
  if (existsSync(own)) return { ...config, tokenizer: own };
  if (tokenizer === 'byte') return config;
  throw new QkvError('E117', `${data} was packed with a tokenizer; name it: tokenizer=FILE`, { path: data });
}
