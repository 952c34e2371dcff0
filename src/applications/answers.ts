// What a model of pairs writes for sources that it was not trained on, beside what it should have written.

import type { TrainConfig } from '../settings/index.ts';
import type { Tokenizer } from '../tokenizers/index.ts';
import type { AnyModel } from './model-folder.ts';
import { readPairs } from './pair-data.ts';
import { pairWriter } from './pair-writer.ts';

export interface Answers {
  rows: { source: string; target: string; text: string }[];
  /** Rows whose text is the target, blanks at the ends aside. */
  exact: number;
}

/** Answers `most` validation pairs, spread evenly. Sources and targets are as the tokenizer gives them back. */
export async function answersOf(
  { any, tokenizer }: { any: AnyModel; tokenizer: Tokenizer },
  config: TrainConfig,
  most = 50,
  {
    whole = false,
    beams = 1,
    stop = () => false,
    onAnswer,
  }: {
    whole?: boolean;
    beams?: number;
    stop?: () => boolean;
    onAnswer?: (done: number, of: number) => void | Promise<void>;
  } = {},
): Promise<Answers> {
  const writer = pairWriter(any, tokenizer, { prefix: config.objective === 'prefix' });
  const { val } = await readPairs(config, tokenizer, writer.endId, { whole, together: any.kind === 'decoder' });
  const count = Math.min(most, val.length);
  const rows: Answers['rows'] = [];
  const maxTokens = config.contextLength; // no target was longer
  const plain = (ids: Int32Array): string => tokenizer.decode(ids.subarray(0, -1));
  for (let i = 0; i < count && !stop(); i++) {
    const at = Math.floor((i * val.length) / count);
    const source = plain(val.sources.row(at));
    const { text } = await writer.write(source, { maxTokens, beams });
    rows.push({ source, target: plain(val.targets.row(at)), text });
    await onAnswer?.(i + 1, count);
  }
  return { rows, exact: rows.filter(({ text, target }) => text.trim() === target.trim()).length };
}
