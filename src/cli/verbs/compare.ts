/** `qkv compare families`: RNN with attention, ConvS2S and Transformer on the same pairs, with the same budget. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { compareFamilies, type Contestant, contestants, type Outcome } from '../../applications/compare-families.ts';
import type { LagAccuracy } from '../../applications/copy-lag.ts';
import { numberPairs } from '../../applications/number-words.ts';
import { QkvError } from '../../errors.ts';
import {
  checkedValue,
  resolve,
  settings,
  settingsOfArguments,
  shapeKeys,
  type TrainConfig,
  type Written,
} from '../../settings/config.ts';
import { familyOf } from '../../settings/families.ts';
import { showComparison } from '../compare-screen.ts';
import { clock, count, loss } from '../format.ts';
import { backendInfo, chooseBackend } from '../machine.ts';
import { here, shellWord } from '../messages/index.ts';
import type { Output } from '../output.ts';
import { parametersOf } from '../parameters.ts';
import { stopOnSignals, turn } from '../signals.ts';
import type { Verb } from '../verb.ts';
import { verbSettings } from '../verb-settings.ts';
import { vocabularyOf } from './estimate.ts';

const about = (en: string, zh: string) => ({ en, zh });
const names = Object.keys(contestants) as [Contestant, ...Contestant[]];

const own = {
  families: z
    .array(z.enum(names))
    .min(1)
    .default(['rnn-additive', 'conv', 'transformer'])
    .meta(about('who takes part', '参加比较的家族')),
  seeds: z.int().min(1).max(20).default(1).meta(about('trainings of each, from seed on', '每个家族训练几次，从 seed 起')),
  answers: z.int().min(1).max(100_000).default(200).meta(about('validation sources that are answered', '作答的验证源句数')),
  copySteps: z
    .int()
    .min(0)
    .max(100_000)
    .default(600)
    .meta(about('steps of the copy task for the lag curve; 0 for none', '复制任务的步数（滞后曲线）；0 表示不做')),
  out: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .meta(about('a new folder; auto: runs/compare-1 and on', '新文件夹；auto：runs/compare-1 起')),
};
/** Settings of training that may be given, with what a comparison begins with. */
const defaults = {
  nLayer: 2,
  nHead: 4,
  dModel: 64,
  contextLength: 64,
  vocabSize: 2000,
  steps: 600,
  batch: 32,
  dropout: 0,
  evalEvery: 100,
  valFraction: 0.1,
  beta2: 0.98,
  weightDecay: 0.01,
};
const passed = [
  'data', 'data.source', 'data.target', 'data.targetFile', 'data.encoding', 'tokenizer', 'pattern', 'vocabSize', 'nLayer', 'nHead', 'dModel',
  'contextLength', 'dropout', 'labelSmoothing', 'preNorm', 'cell', 'width', 'steps', 'batch', 'lr', 'warmup', 'schedule', 'evalEvery', 'valFraction', 'seed', 'threads', 'backend',
] as const; // biome-ignore format: a list of words
const compareSettings = { ...own, ...Object.fromEntries(passed.map((k) => [k, settings[k]])) } as typeof own &
  Record<string, z.ZodType>;

export const compareVerb: Verb = {
  name: 'compare families',
  about: {
    en: 'RNN with attention, ConvS2S and Transformer on the same pairs with the same budget',
    zh: '带注意力的 RNN、ConvS2S 与 Transformer：同样的成对数据、同样的预算',
  },
  words: [],
  settings: compareSettings,
  examples: [
    'qkv compare families',
    'qkv compare families data=pairs.tsv data.source=en data.target=zh seeds=3',
    'qkv compare families data=train.en data.targetFile=train.de vocabSize=6000 steps=3000 dModel=128',
    'qkv compare families families=["rnn-none","rnn-general","transformer"] copySteps=600',
  ],
  async run(args, out) {
    const words = args.settings.filter(({ key }) => key in compareSettings || !(key in settings));
    const given = verbSettings(own, {
      ...args,
      settings: words.filter(({ key }) => key in own || !(passed as readonly string[]).includes(key)),
    });
    const training = args.settings.filter(({ key }) => (passed as readonly string[]).includes(key));
    const folder = given.out ?? freeFolder();
    if (existsSync(folder) && readdirSync(folder).length > 0) throw new QkvError('E153', `${folder} exists`, { path: folder });
    const read = settingsOf(training);
    chooseBackend({ backend: (read.backend as string) ?? null, threads: (read.threads as number) ?? null });
    const ourData = read.data === undefined;
    const data = ourData ? join(folder, 'numbers.txt') : (read.data as string);
    const steps = (read.steps as number | undefined) ?? defaults.steps;
    const common = {
      ...defaults,
      warmup: Math.floor(steps / 10),
      tokenizer: ourData ? 'char' : 'bpe',
      sampleEvery: 0,
      saveEvery: 0,
    };
    const base = { common, given: { ...read, data } };
    const wanted = given.families.map((name) => [name, configOf(name, base)] as const); // checked before the first file is made
    if (ourData) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(data, numberPairs());
    }
    const vocabSize = await vocabularyOf({ ...wanted[0][1], objective: 'pairs' });
    const target = parametersOf(configOf('transformer', base), vocabSize).total;
    const configs = new Map(wanted.map(([name, config]) => [name, likeSize(config, name, base, vocabSize, target)]));
    // What attention is there for shows beside a recurrent net that has none.
    const lone: Contestant = 'rnn-none';
    const copying = new Map(configs);
    if (!copying.has(lone)) copying.set(lone, likeSize(configOf(lone, base), lone, base, vocabSize, target));
    return compare(out, { configs, copying, folder, given, data, ourData });
  },
};

type Given = { families: Contestant[]; seeds: number; answers: number; copySteps: number };

async function compare(
  out: Output,
  {
    configs,
    copying,
    folder,
    given,
    data,
    ourData,
  }: {
    configs: Map<Contestant, TrainConfig>;
    copying: Map<Contestant, TrainConfig>;
    folder: string;
    given: Given;
    data: string;
    ourData: boolean;
  },
): Promise<number> {
  const [{ seed: from, steps, batch }] = configs.values();
  const seeds = Array.from({ length: given.seeds }, (_, i) => from + i);
  const outcomes: Outcome[] = [];
  const lags = new Map<Contestant, LagAccuracy[]>();
  const controller = new AbortController();
  const stop = stopOnSignals(() => controller.abort());
  const began = performance.now();
  const n = (x: number) => count(x, out.lang);
  out.say(
    out.t({
      en: `${here(data)}${ourData ? ' (numbers in words, made here)' : ''} · ${n(steps)} steps of ${n(batch)} pairs each · ${configs.size} families × ${seeds.length} ${seeds.length === 1 ? 'seed' : 'seeds'} → ${here(folder)} · minutes each; Ctrl-C ends it and shows what is done`,
      zh: `${here(data)}${ourData ? '（由本程序生成的数字读法）' : ''} · 每个 ${n(steps)} 步 × ${n(batch)} 对 · ${configs.size} 个家族 × ${seeds.length} 个种子 → ${here(folder)} · 每个需几分钟；按 Ctrl-C 结束并显示已完成的部分`,
    }),
  );
  try {
    const copyLag = given.copySteps > 0 ? { configs: copying, steps: given.copySteps, seed: from } : undefined;
    const { name: backend, isa, threads } = backendInfo();
    const env = { backend, isa, threads };
    const events = compareFamilies({
      configs,
      seeds,
      folder,
      answers: given.answers,
      copyLag,
      env,
      stopped: () => stop.asked,
      signal: controller.signal,
    });
    for await (const e of events) {
      if (e.type === 'training' && e.event.type === 'step')
        out.live(
          `${e.contestant} seed=${e.seed} · ${n(e.event.step)}/${n(steps)} · ${loss(e.event.lossNats)} · ${n(e.event.tokensPerSecond)} ${out.t({ en: 'tokens/s', zh: '词元/秒' })}`,
        );
      else if (e.type === 'training' && e.event.type === 'eval') {
        out.event({ ...e.event, contestant: e.contestant, seed: e.seed });
        if (!out.isTerminal)
          out.say(
            out.t({
              en: `  ${e.contestant} seed=${e.seed} · step ${n(e.event.step)}/${n(steps)} · validation ${loss(e.event.valLossNats)}`,
              zh: `  ${e.contestant} seed=${e.seed} · 第 ${n(e.event.step)}/${n(steps)} 步 · 验证 ${loss(e.event.valLossNats)}`,
            }),
          );
      } else if (e.type === 'answering')
        out.live(`${e.contestant} seed=${e.seed} · ${out.t({ en: 'answers', zh: '作答' })} ${n(e.done)}/${n(e.of)}`);
      else if (e.type === 'copying')
        out.live(`${e.contestant} · ${out.t({ en: 'copying', zh: '复制任务' })} ${n(e.step)}/${n(e.of)}`);
      else if (e.type === 'outcome') {
        outcomes.push(e.outcome);
        out.live('');
        out.event({ ...e.outcome, type: 'outcome' });
      } else if (e.type === 'lags') {
        lags.set(e.contestant, e.curve);
        out.event(e);
      }
      await turn();
    }
  } catch (error) {
    if (!stop.asked || error !== controller.signal.reason) throw error;
  } finally {
    out.live('');
    stop.dispose();
  }
  showComparison(out, outcomes, lags, configs);
  const seconds = (performance.now() - began) / 1000;
  const complete = !stop.asked;
  out.say();
  if (!complete) out.say(out.t({ en: 'Stopped: what was not finished is left out.', zh: '已停止：没做完的不计入。' }));
  if (outcomes.length > 0) {
    out.say(
      out.t({
        en: `${clock(seconds)} · answers line by line: ${here(join(folder, outcomes[0].hypotheses))}, reference.txt, source.txt · try: qkv generate ${shellWord(here(outcomes.at(-1)!.run))} "…"`,
        zh: `${clock(seconds)} · 逐行对齐的作答：${here(join(folder, outcomes[0].hypotheses))}、reference.txt、source.txt · 试用：qkv generate ${shellWord(here(outcomes.at(-1)!.run))} "…"`,
      }),
    );
  }
  const result = { folder, data, outcomes, copyLag: Object.fromEntries(lags), seconds, complete };
  if (existsSync(folder)) writeFileSync(join(folder, 'comparison.json'), `${JSON.stringify(result, null, 2)}\n`);
  out.event({ type: 'result', ok: complete, ...result });
  return complete ? 0 : 130;
}

function freeFolder(): string {
  for (let i = 1; ; i++) if (!existsSync(join('runs', `compare-${i}`))) return join('runs', `compare-${i}`);
}

/** The values of the training settings that were given, each checked by itself: what they have to do with each other depends on the family. */
function settingsOf(words: readonly { key: string; text: string }[]): Record<string, unknown> {
  return Object.fromEntries(
    settingsOfArguments(words).map(({ key, value, at }) => [key, checkedValue(key, value, at, settings)]),
  );
}

/** What all begin with, and what a person asked for, which stands above a contestant's own recipe. */
interface Base {
  common: Record<string, unknown>;
  given: Record<string, unknown>;
}

/** One contestant's settings. Settings of shape that it does not have (nHead of an RNN) are left out. */
function configOf(name: Contestant, { common, given }: Base): TrainConfig {
  const { model, ...recipe } = contestants[name];
  const all = { ...common, ...recipe, ...given, model } as Record<string, unknown>;
  const shape: readonly string[] = [...shapeKeys, 'labelSmoothing'];
  const { has: own } = familyOf(model);
  const has = (key: string): boolean => !shape.includes(key) || (own as readonly string[]).includes(key);
  const rows: Written[] = Object.keys(all)
    .filter(has)
    .map((key) => ({ key, value: all[key], at: { argument: `${key}=${String(all[key])}` } }));
  return resolve([], rows).config;
}

/** The width at which a contestant has as many parameters as the Transformer, within what multiples of 8 allow. */
function likeSize(config: TrainConfig, name: Contestant, base: Base, vocabSize: number, target: number): TrainConfig {
  if (config.model === 'transformer') return config;
  let [best, off] = [config, Number.POSITIVE_INFINITY];
  for (let dModel = 8; dModel <= 4096; dModel += 8) {
    const tried = configOf(name, { ...base, given: { ...base.given, dModel } });
    const ratio = parametersOf(tried, vocabSize).total / target;
    if (Math.abs(Math.log(ratio)) < off) [best, off] = [tried, Math.abs(Math.log(ratio))];
    if (ratio > 2) break;
  }
  return best;
}
