/** `qkv generate` for encoders that judge: which tokens were replaced, which texts belong together. */
import { findReplaced } from '../applications/find-replaced.ts';
import { specialId } from '../applications/special-tokens.ts';
import { textRows } from '../applications/tasks/contrastive.ts';
import { QkvError } from '../errors.ts';
import type { Electra, SentenceEncoder } from '../models/index.ts';
import { dispose } from '../nn/index.ts';
import { noGrad, tidy } from '../tensor/index.ts';
import type { LoadedAny } from './load-run.ts';
import { type Output, printable } from './output.ts';

/** Ids of a text between [CLS] and [SEP]. @throws E160 longer than the context */
function framed({ tokenizer, any }: LoadedAny, text: string): Int32Array {
  const [first, last] = (['first', 'last'] as const).map((name) => specialId(tokenizer, name));
  const ids = Int32Array.from([first, ...tokenizer.encode(text), last]);
  const { contextLength } = any;
  if (ids.length > contextLength)
    throw new QkvError('E160', `the text is ${ids.length} tokens; the context is ${contextLength}`, {
      tokens: ids.length,
      contextLength,
    });
  return ids;
}

/** Each text with 【】 around the tokens that do not belong there. */
export async function markReplaced(run: LoadedAny, model: Electra, texts: readonly string[], out: Output): Promise<number> {
  const results: object[] = [];
  try {
    for (const prompt of texts) {
      const ids = framed(run, prompt);
      const { text, replaced } = await findReplaced(model, run.tokenizer, ids);
      out.answer(printable(text));
      const tokens = Array.from(ids.subarray(1, -1), (id, i) => ({
        token: run.tokenizer.idToToken(id),
        replaced: replaced[i + 1],
      }));
      results.push({ prompt, text, tokens });
    }
  } finally {
    dispose(model);
  }
  out.event({ type: 'result', ok: true, run: run.name, step: run.step, texts: results });
  return 0;
}

/** The cosine of each text to the first one. @throws E161 where there are not two */
export async function compareTexts(
  run: LoadedAny,
  model: SentenceEncoder,
  texts: readonly string[],
  out: Output,
): Promise<number> {
  try {
    if (texts.length < 2) throw new QkvError('E161', 'two texts are compared; there is one', { verb: 'generate' });
    const pad = specialId(run.tokenizer, 'pad');
    const rows = texts.map((text) => framed(run, text));
    const cosines = tidy(() =>
      noGrad(() => {
        const vectors = model.forward(
          textRows(
            rows.map((row) => row.subarray(1)),
            rows[0][0],
            pad,
          ),
        );
        return vectors.slice(0, 0, 1).matmul(vectors.T); // (1, N)
      }),
    );
    const similarity = Array.from((await cosines.read()) as Float32Array);
    cosines.free();
    out.answer(printable(texts[0]));
    for (const [i, text] of texts.entries()) if (i > 0) out.answer(`  ${similarity[i].toFixed(3)}  ${printable(text)}`);
    out.event({
      type: 'result',
      ok: true,
      run: run.name,
      step: run.step,
      texts: texts.map((text, i) => ({ text, similarity: similarity[i] })),
    });
  } finally {
    dispose(model);
  }
  return 0;
}
