import type { Electra } from '../models/index.ts';
import { noGrad, tidy } from '../tensor/index.ts';
import { describeToken, type Tokenizer } from '../tokenizers/index.ts';

export interface Verdict {
  /** The text, with 【】 around the tokens that are held to be replaced. */
  text: string;
  /** Of each id: the probability that another token stood there. */
  replaced: number[];
}

/** Which tokens of `ids` ([CLS] … [SEP]) do not belong there. */
export async function findReplaced(model: Electra, tokenizer: Tokenizer, ids: Int32Array): Promise<Verdict> {
  const p = tidy(() => noGrad(() => model.detector.forward(ids, [1, ids.length]).sigmoid()));
  const replaced = Array.from((await p.read()) as Float32Array);
  p.free();
  let text = '';
  for (let from = 1; from < ids.length - 1; ) {
    const marked = replaced[from] > 0.5;
    let to = from + 1;
    while (!marked && to < ids.length - 1 && replaced[to] <= 0.5) to++;
    const piece = marked ? describeToken(tokenizer, ids[from]).text : tokenizer.decode(ids.subarray(from, to));
    text += marked ? `【${piece}】` : piece;
    from = to;
  }
  return { text, replaced };
}
