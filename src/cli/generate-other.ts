/** `qkv generate` for models that do not write on: an answer to a source, tokens under masks. */
import { fillMasks } from '../applications/fill-mask.ts';
import { pairWriter } from '../applications/pair-writer.ts';
import { specialId } from '../applications/special-tokens.ts';
import { QkvError } from '../errors.ts';
import { StopStrings } from '../generate/index.ts';
import type { MaskedLM } from '../models/index.ts';
import { dispose } from '../nn/index.ts';
import { describeToken } from '../tokenizers/index.ts';
import { count } from './format.ts';
import type { LoadedAny } from './load-run.ts';
import { type Output, printable } from './output.ts';
import { stopOnSignals, turn } from './signals.ts';
import type { GenerateSettings } from './verbs/generate.ts';

/** Writes a target for each source. */
export async function answer(
  run: LoadedAny,
  sources: readonly string[],
  options: GenerateSettings,
  out: Output,
): Promise<number> {
  const stop = stopOnSignals(() => {});
  const { maxTokens, temperature, beams, lengthPenalty, topK, topP, minP, repetitionPenalty } = options;
  const stops = typeof options.stop === 'string' ? [options.stop] : options.stop;
  const seed = options.seed ?? Math.floor(Date.now() % 2 ** 31);
  const began = performance.now();
  const texts: { prompt: string; text: string; tokens: number; finish: string }[] = [];
  try {
    const writer = pairWriter(run.any, run.tokenizer, {
      spans: run.config.objective === 'spans',
      prefix: run.config.objective === 'prefix',
    });
    for (const [index, prompt] of sources.entries()) {
      const source = writer.sourceIds(prompt);
      const { contextLength } = run.any;
      if (source.length > contextLength)
        throw new QkvError('E160', `the source is ${source.length} tokens; the context is ${contextLength}`, {
          tokens: source.length,
          contextLength,
        });
      const ends = new StopStrings(stops);
      let text = '';
      const add = (piece: string): void => {
        text += piece;
        if (piece !== '') out.event({ type: 'text', index, text: piece });
        if (!out.json) out.stream(printable(piece));
      };
      if (!out.json) out.stream(out.style('dim', `${printable(prompt)} → `));
      const { ids, ended } = await writer.write(prompt, {
        ...{ maxTokens, temperature, beams, lengthPenalty, repetitionPenalty, seed: seed + index },
        ...{ topK: topK ?? undefined, topP: topP ?? undefined, minP: minP ?? undefined },
        stop: () => stop.asked || out.closed || ends.stopped,
        async onText(piece) {
          add(ends.push(piece));
          await turn();
        },
      });
      add(ends.end());
      if (!out.json) out.answer();
      texts.push({ prompt, text, tokens: ids.length, finish: ends.stopped ? 'stop' : ended ? 'end' : 'length' });
      if (stop.asked || out.closed) break;
    }
  } finally {
    stop.dispose();
    dispose(run.any.model);
  }
  const seconds = (performance.now() - began) / 1000;
  const tokens = texts.reduce((n, t) => n + t.tokens, 0);
  const rate = tokens / seconds;
  const n = (x: number) => count(x, out.lang);
  const how = beams > 1 ? `beams=${beams}` : temperature === 0 ? out.t({ en: 'greedy', zh: '贪心' }) : `seed=${seed}`;
  out.say(
    out.style(
      'dim',
      out.t({
        en: `${n(tokens)} tokens · ${n(rate)} tokens/s · ${run.name}@${run.step} · ${how}`,
        zh: `${n(tokens)} 词元 · ${n(rate)} 词元/秒 · ${run.name}@${run.step} · ${how}`,
      }),
    ),
  );
  out.event({
    type: 'result',
    ok: true,
    run: run.name,
    step: run.step,
    seed,
    beams,
    texts,
    tokens,
    seconds,
    tokensPerSecond: rate,
  });
  return 0;
}

/** Lists what may stand under each mask, and the text with the likeliest. */
export async function fill(
  run: LoadedAny,
  model: MaskedLM,
  texts: readonly string[],
  { topK }: GenerateSettings,
  out: Output,
): Promise<number> {
  const { tokenizer } = run;
  const [first, last, maskId] = (['first', 'last', 'mask'] as const).map((name) => specialId(tokenizer, name));
  const mask = tokenizer.idToToken(maskId) ?? '[MASK]';
  const results: object[] = [];
  try {
    for (const prompt of texts) {
      const ids = Int32Array.from([first, ...tokenizer.encode(prompt, { special: true }), last]);
      if (!ids.includes(maskId))
        throw new QkvError('E166', `${run.name} fills masks, and the text has none: ${mask}`, {
          name: run.name,
          model: run.any.family,
          mask,
        });
      const { contextLength } = run.any;
      if (ids.length > contextLength)
        throw new QkvError('E160', `the text is ${ids.length} tokens; the context is ${contextLength}`, {
          tokens: ids.length,
          contextLength,
        });
      const masks = await fillMasks(model, ids, maskId, topK ?? 5);
      const filled = ids.slice();
      for (const { at, guesses } of masks) filled[at] = guesses[0].id;
      const text = tokenizer.decode(filled.subarray(1, -1));
      out.answer(printable(text));
      for (const { guesses } of masks)
        out.answer(
          `  ${mask} ${guesses.map(({ id, probability }) => `${printable(describeToken(tokenizer, id).text)} ${(100 * probability).toFixed(1)} %`).join('   ')}`,
        );
      const named = masks.map(({ at, guesses }) => ({
        place: at - 1,
        guesses: guesses.map(({ id, probability }) => ({ id, token: tokenizer.idToToken(id), probability })),
      }));
      results.push({ prompt, text, masks: named });
    }
  } finally {
    dispose(model);
  }
  out.event({ type: 'result', ok: true, run: run.name, step: run.step, texts: results });
  return 0;
}
