/** `qkv estimate`: parameters, arithmetic, memory by part and time of a run, before anything starts. */
import { specialTokensFor } from '../../applications/special-tokens.ts';
import { settle } from '../../applications/settle.ts';
import { textsOf } from '../../applications/texts.ts';
import { barOf } from '../../figures/terminal.ts';
import { displayWidth, padEnd, padStart } from '../../figures/width.ts';
import type { TrainConfig } from '../../settings/config.ts';
import { settings } from '../../settings/config.ts';
import { flopsPerToken, largestPart, type Memory, memoryOf, parametersOf, secondsFor, waysToFit } from '../estimate.ts';
import { bytes, compact, count, duration, flops } from '../format.ts';
import { availableMemory, backendInfo, chooseBackend, PEAK_SHARE, trainingFlops } from '../machine.ts';
import { partEn, partZh } from '../messages/index.ts';
import { QkvError } from '../../errors.ts';
import { readSettings } from '../settings-of.ts';
import { shapeText } from '../start-box.ts';
import type { Verb } from '../verb.ts';
import { loadTokenizer } from './tok/index.ts';

/** Over this share of what is available a run is refused, over `WARN` it is warned of (reliability.md §7.2). */
const REFUSE = 0.95;
const WARN = 0.8;
/** Characters of a vocabulary when there is no data to count them in: printable ASCII and a newline. */
const ASSUMED_CHARACTERS = 96;

/** Entries that the tokenizer of these settings will have; for characters they are counted in the data. */
export async function vocabularyOf(config: TrainConfig, signal?: AbortSignal): Promise<number> {
  if (['bpe', 'wordpiece', 'unigram'].includes(config.tokenizer) || config.from !== null) return config.vocabSize;
  const specials = specialTokensFor(config).length;
  if (config.tokenizer === 'byte') return 256 + specials;
  if (config.tokenizer !== 'char') return (await loadTokenizer(config.tokenizer)).tokenizer.vocabSize;
  if (config.data === '') return ASSUMED_CHARACTERS;
  const chars = new Set<string>(['\n']);
  let read = 0;
  for await (const text of textsOf(config, signal)) {
    for (const char of text) chars.add(char);
    if ((read += text.length) > 20e6) break;
  }
  return chars.size + specials;
}

/** Throws E120 when the run does not fit, unless `anyway`; returns whether it should be warned of. */
export function checkMemory(
  config: TrainConfig,
  vocabSize: number,
  { anyway = false, available = availableMemory() } = {},
): boolean {
  const memory = memoryOf(config, vocabSize);
  if (memory.total > REFUSE * available && !anyway) {
    const [largest, largestBytes] = largestPart(memory);
    const ways = waysToFit(config, vocabSize, WARN * available);
    throw new QkvError('E120', `does not fit: needs about ${bytes(memory.total)}, ${bytes(available)} available`, {
      needed: memory.total,
      available,
      largest,
      largestBytes,
      ways,
    });
  }
  return memory.total > WARN * available;
}

export const estimate: Verb = {
  name: 'estimate',
  about: { en: 'parameters, memory, time of a run; starts nothing', zh: '一次训练的参数、内存、时间；不启动任何东西' },
  words: [{ name: 'CONFIG', optional: true }],
  settings,
  flags: [{ name: 'anyway', about: { en: 'do not refuse what does not fit', zh: '装不下也不拒绝' } }],
  examples: ['qkv estimate', 'qkv estimate size=small batch=8', 'qkv estimate qkv.json depth=6 --json'],
  async run(args, out) {
    const { config: asked, places } = readSettings(args, out, { needData: false });
    chooseBackend(asked);
    const config = await settle(asked, places);
    const vocabSize = await vocabularyOf(config);
    const p = parametersOf(config, vocabSize);
    const memory = memoryOf(config, vocabSize);
    const available = availableMemory();
    const perToken = flopsPerToken(config, vocabSize);
    const rate = trainingFlops(config.precision === 'bf16');
    const seconds = secondsFor(config, vocabSize, rate);
    const tokens = config.steps * config.batch * config.accumulate * config.contextLength;
    const n = (x: number) => count(x, out.lang);

    const title = (text: { en: string; zh: string }) => out.answer(out.style('bold', out.t(text)));
    title({
      en: `${config.model} · ${shapeText(config, 'en')} · vocabulary ${n(vocabSize)}`,
      zh: `${config.model} · ${shapeText(config, 'zh')} · 词表 ${n(vocabSize)}`,
    });
    out.answer();
    title({
      en: `Parameters ${compact(p.total, out.lang)} (${n(p.total)})`,
      zh: `参数 ${compact(p.total, out.lang)}（${n(p.total)}）`,
    });
    const parts: [{ en: string; zh: string }, number][] = [
      [{ en: 'token embedding', zh: '词嵌入' }, p.tokenEmbedding],
      [{ en: 'position embedding', zh: '位置嵌入' }, p.positionEmbedding],
      [{ en: `attention × ${config.nLayer}`, zh: `注意力 × ${config.nLayer}` }, p.attention * config.nLayer],
      [{ en: `MLP × ${config.nLayer}`, zh: `MLP × ${config.nLayer}` }, p.mlp * config.nLayer],
      [{ en: 'norms', zh: '归一化' }, p.norms * config.nLayer + p.norm],
      [{ en: 'output head', zh: '输出头' }, p.lmHead],
    ];
    const lines = (rows: [string, number, string][]) => {
      const total = rows.reduce((s, [, v]) => s + v, 0);
      const wide = Math.max(...rows.map(([label]) => displayWidth(label)));
      for (const [label, value, note] of rows) {
        if (value > 0)
          out.answer(
            `  ${padEnd(label, wide)}  ${padStart(note, 12)}  ${barOf(value / total, 24, !out.isTerminal && Boolean(out.env['NO_COLOR']))}`,
          );
      }
    };
    lines(parts.map(([label, value]) => [out.t(label), value, n(value)]));
    out.answer();
    title({
      en: `Memory about ${bytes(memory.total)} of ${bytes(available)} available`,
      zh: `内存约 ${bytes(memory.total)}，可用 ${bytes(available)}`,
    });
    const { total: _, ...memoryParts } = memory;
    lines(
      (Object.entries(memoryParts) as [Exclude<keyof Memory, 'total'>, number][]).map(([k, v]) => [
        (out.lang === 'zh' ? partZh : partEn)[k],
        v,
        bytes(v),
      ]),
    );
    out.answer();
    const b = backendInfo();
    title({ en: `Time about ${duration(seconds, 'en')}`, zh: `时间约 ${duration(seconds, 'zh')}` });
    out.answer(
      `  ${out.t({
        en: `${n(config.steps)} steps × ${n(config.batch * config.accumulate * config.contextLength)} tokens = ${compact(tokens, 'en')} tokens · ${flops(perToken)} a token · ${flops(rate)}/s assumed (${Math.round(100 * PEAK_SHARE)} % of this machine's peak, ${b.name} ${b.threads} threads) · lr ${config.lr}`,
        zh: `${n(config.steps)} 步 × ${n(config.batch * config.accumulate * config.contextLength)} 词元 = ${compact(tokens, 'zh')} 词元 · 每词元 ${flops(perToken)} · 按 ${flops(rate)}/秒估计（本机峰值的 ${Math.round(100 * PEAK_SHARE)} %，${b.name} ${b.threads} 线程）· lr ${config.lr}`,
      })}`,
    );
    out.event({
      type: 'estimate',
      vocabSize,
      parameters: p.total,
      parametersByPart: p,
      memoryBytes: memory.total,
      memoryByPart: memory,
      availableBytes: available,
      flopsPerToken: perToken,
      flopsPerSecond: rate,
      tokens,
      lr: config.lr,
      seconds,
    });
    if (checkMemory(config, vocabSize, { anyway: Boolean(args.flags['anyway']), available }))
      out.message('W202', { needed: memory.total, available });
    out.event({
      type: 'result',
      ok: true,
      vocabSize,
      parameters: p.total,
      memoryBytes: memory.total,
      availableBytes: available,
      flopsPerToken: perToken,
      tokens,
      seconds,
    });
    return 0;
  },
};
