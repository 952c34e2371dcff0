/** `qkv generate RUN "prompt"`: lets a run write. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { endOfTextOf } from '../../data/index.ts';
import { QkvError } from '../../errors.ts';
import { generateBatch, StopStrings } from '../../generate/index.ts';
import { dispose, quantise, type WeightPrecision, weightPrecisions } from '../../nn/index.ts';
import { decodeStream } from '../../tokenizers/index.ts';
import { checkedValue, typed, unknownSetting } from '../../settings/config.ts';
import { pairObjectives } from '../../settings/families.ts';
import { count } from '../format.ts';
import { answer, fill } from '../generate-other.ts';
import { compareTexts, markReplaced } from '../use-encoder.ts';
import { type LoadedRun, loadAnyRun } from '../load-run.ts';
import { printable } from '../output.ts';
import { stopOnSignals, turn } from '../signals.ts';
import type { Args, Flag, Verb } from '../verb.ts';
import { rootFlag } from './runs.ts';
import { encodeText } from './tok/index.ts';

const about = (en: string, zh: string) => ({ en, zh });

/** What `key=value` sets when writing. */
export const generateSettings = {
  maxTokens: z.int().min(1).max(1e6).default(128).meta(about('tokens to write', '写多少词元')),
  temperature: z
    .number()
    .min(0)
    .max(100)
    .default(0.8)
    .meta(about('below 1 sharper, above 1 wilder, 0 always the most probable', '小于 1 更稳，大于 1 更野，0 总取最可能')),
  topK: z.int().min(1).max(1e6).nullable().default(null).meta(about('keep the k most probable', '只留最可能的 k 个')),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .meta(about('keep the smallest set that reaches this probability', '只留概率和达到此值的最小集合')),
  minP: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .default(null)
    .meta(about('keep what is at least this share of the most probable', '只留不低于最可能者此比例的')),
  beams: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .meta(
      about(
        'of a source: beginnings that a beam search keeps; 1 takes the most probable',
        '有源文时：束搜索保留的开头数；1 取最可能',
      ),
    ),
  lengthPenalty: z
    .number()
    .min(-10)
    .max(10)
    .default(1)
    .meta(
      about('of a beam search: log p ÷ length to this power; above 1 longer texts', '束搜索：log p ÷ 长度的此次方；大于 1 偏长'),
    ),
  repetitionPenalty: z
    .number()
    .min(1)
    .max(10)
    .default(1)
    .meta(about('above 1: what was written becomes less probable', '大于 1：写过的变得不太可能')),
  seed: z
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .nullable()
    .default(null)
    .meta(about('the same seed writes the same; auto: another one each time', '同一种子写出同样的文字；auto：每次不同')),
  stop: z
    .union([z.array(z.string()), z.string()])
    .default([])
    .meta(about('text, or list of texts, that ends it', '遇到这段文字（或列表中的任一段）就停')),
} satisfies Record<string, z.ZodType>;

export type GenerateSettings = { [K in keyof typeof generateSettings]: z.output<(typeof generateSettings)[K]> };

/** The values of `key=value` words, checked. */
export function readGenerateSettings(args: Pick<Args, 'settings'>): GenerateSettings {
  const values: Record<string, unknown> = Object.fromEntries(
    Object.entries(generateSettings).map(([k, type]) => [k, type.parse(undefined)]),
  );
  for (const { key, text } of args.settings) {
    const at = { argument: `${key}=${text}` };
    if (!Object.hasOwn(generateSettings, key)) throw unknownSetting(key, at, { keys: Object.keys(generateSettings), text: true });
    values[key] = checkedValue(
      key,
      key === 'stop' && !text.startsWith('[') ? unescaped(text) : typed(text, key, generateSettings),
      at,
      generateSettings,
    );
  }
  return values as GenerateSettings;
}

/** `stop=\n` as a person types it. */
const unescaped = (text: string) => text.replaceAll('\\n', '\n').replaceAll('\\t', '\t');

export const weightsFlag: Flag = {
  name: 'weights',
  takes: [...weightPrecisions],
  about: {
    en: 'keeps the weights in fewer bits: less memory, faster, slightly less exact',
    zh: '用更少的位存放权重：省内存、更快、略欠精确',
  },
};

export const generate: Verb = {
  name: 'generate',
  about: {
    en: 'lets a run write on from a prompt, answer a source, fill [MASK], mark replaced tokens, or compare texts',
    zh: '让一次运行接着提示写下去、由源文写出目标、填 [MASK]、标出被替换的词元，或比较文本',
  },
  words: [{ name: 'RUN' }, { name: 'PROMPT', optional: true, rest: true }],
  settings: generateSettings,
  flags: [
    { name: 'truncate', takes: ['left'], about: { en: 'a prompt that is too long keeps its end', zh: '提示过长时保留末尾' } },
    { name: 'file', takes: 'text', about: { en: 'a file with a prompt a line', zh: '每行一个提示的文件' } },
    weightsFlag,
    rootFlag,
  ],
  examples: [
    'qkv generate demo-1 "Call me"',
    'qkv generate demo-1@best "Once" temperature=0.6 topP=0.95 seed=1',
    'qkv generate demo-1 "One" "Two" maxTokens=40',
    'qkv generate demo-1 "Call me" --weights int8',
    'qkv generate en-de-1 "a man rides a horse" beams=4',
    'qkv generate bert-1 "the [MASK] is blue"',
    'qkv generate demo-1 -- "a=b"',
  ],
  async run(args, out) {
    const options = readGenerateSettings(args);
    const [spec, ...words] = args.words;
    const prompts = [...words];
    if (args.flags['file'] !== undefined)
      prompts.push(
        ...readFileSync(args.flags['file'] as string, 'utf8')
          .split(/\r?\n/)
          .filter((l) => l !== ''),
      );
    else if (prompts.length === 0 && !process.stdin.isTTY) prompts.push(readFileSync(0, 'utf8').replace(/\r?\n$/, ''));
    if (prompts.length === 0 || prompts.some((p) => p === ''))
      throw new QkvError('E161', 'the prompt is empty', { verb: 'generate' });
    const weights = (args.flags['weights'] ?? 'f32') as WeightPrecision;
    const loaded = loadAnyRun(spec, { root: args.flags['root'] as string | undefined, weights, out });
    quantise(loaded.any.model, weights); // what was not made so while it was loaded
    if (loaded.any.kind === 'encoder') {
      const { any } = loaded;
      if (any.asked === 'contrastive') return compareTexts(loaded, any.model, prompts, out);
      if (any.asked === 'replaced') return markReplaced(loaded, any.model, prompts, out);
      return fill(loaded, any.asked === 'masked' ? any.model : any.model.lm, prompts, options, out);
    }
    if (loaded.any.kind === 'encoder-decoder' || pairObjectives.includes(loaded.config.objective))
      return answer(
        loaded,
        prompts,
        args.settings.some((s) => s.key === 'temperature') ? options : { ...options, temperature: 0 },
        out,
      );
    const run: LoadedRun = { ...loaded, model: loaded.any.model };
    const ids = prompts.map((p) => promptIds(run, p, args.flags['truncate'] === 'left'));
    const seed = options.seed ?? Math.floor(Date.now() % 2 ** 31);
    const { topK, topP, minP, maxTokens, temperature, repetitionPenalty } = options;
    const end = endOfTextOf(run.tokenizer);
    const stops = typeof options.stop === 'string' ? [options.stop] : options.stop;

    const stop = stopOnSignals(() => {});
    const texts = prompts.map(() => ({
      text: '',
      tokens: 0,
      finish: 'length',
      stream: decodeStream(run.tokenizer, { skipSpecial: true }),
      stops: new StopStrings(stops),
    }));
    const alone = prompts.length === 1;
    const began = performance.now();
    let firstAt = 0;
    const add = (i: number, piece: string) => {
      texts[i].text += piece;
      if (piece !== '') out.event({ type: 'text', index: i, text: piece });
      if (alone && !out.json) out.stream(printable(piece));
    };
    if (alone && !out.json) out.stream(out.style('dim', printable(prompts[0])));
    try {
      const batch = generateBatch(run.model, ids, {
        maxTokens,
        temperature,
        repetitionPenalty,
        topK: topK ?? undefined,
        topP: topP ?? undefined,
        minP: minP ?? undefined,
        seed,
        stopIds: end === undefined ? run.endIds : [end, ...run.endIds],
      });
      for await (const step of batch) {
        if (firstAt === 0) firstAt = performance.now();
        for (const [i, id] of step.entries()) {
          const t = texts[i];
          if (t.finish === 'stop') continue;
          if (id < 0) {
            if (t.finish === 'length') t.finish = 'end';
            continue;
          }
          t.tokens++;
          add(i, t.stops.push(t.stream.push(id)));
          if (t.stops.stopped) t.finish = 'stop';
        }
        await turn();
        if (stop.asked || out.closed || texts.every((t) => t.finish !== 'length')) break;
      }
      for (const [i, t] of texts.entries()) if (t.finish !== 'stop') add(i, t.stops.push(t.stream.end()) + t.stops.end());
    } finally {
      stop.dispose();
      dispose(run.model);
    }
    const seconds = (performance.now() - began) / 1000;
    const tokens = texts.reduce((n, t) => n + t.tokens, 0);
    if (alone && !out.json) out.answer();
    else
      for (const [i, t] of texts.entries())
        out.answer(`${out.style('dim', printable(prompts[i]))}${printable(t.text)}${alone ? '' : '\n'}`);
    const n = (x: number) => count(x, out.lang);
    const rate = tokens / seconds;
    out.say(
      out.style(
        'dim',
        out.t({
          en: `${n(tokens)} tokens · ${n(rate)} tokens/s · first after ${Math.round(firstAt - began)} ms · ${run.name}@${run.step} · seed=${seed}`,
          zh: `${n(tokens)} 词元 · ${n(rate)} 词元/秒 · 首词元 ${Math.round(firstAt - began)} 毫秒 · ${run.name}@${run.step} · seed=${seed}`,
        }),
      ),
    );
    out.event({
      type: 'result',
      ok: true,
      run: run.name,
      step: run.step,
      seed,
      texts: texts.map((t, i) => ({ prompt: prompts[i], text: t.text, tokens: t.tokens, finish: t.finish })),
      tokens,
      seconds,
      tokensPerSecond: rate,
    });
    return 0;
  },
};

/** The ids of a prompt. E160 when it is longer than the context, unless its end may be kept; E162 for a character that the vocabulary lacks. */
export function promptIds({ tokenizer, model }: LoadedRun, prompt: string, truncate: boolean): number[] {
  const ids = [...encodeText(tokenizer, prompt, { addSpecialTokens: true })]; // <s> of the models that begin with one
  const { contextLength } = model.config;
  if (ids.length <= contextLength) return ids;
  if (!truncate)
    throw new QkvError('E160', `the prompt is ${ids.length} tokens; the context is ${contextLength}`, {
      tokens: ids.length,
      contextLength,
    });
  return ids.slice(-contextLength);
}
