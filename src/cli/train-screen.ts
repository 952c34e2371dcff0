/**
 * What a person sees while a model trains: the box at the start, a row for each evaluation, samples, a live line, the ending.
 * On a terminal the last line is drawn over; elsewhere there is one line for each evaluation and nothing moves.
 */
import type { Score } from '../applications/events.ts';
import { barOf } from '../figures/terminal.ts';
import { clip, displayWidth, padStart } from '../figures/width.ts';
import type { TrainConfig } from '../settings/config.ts';
import { asksTokens, familyOf } from '../settings/families.ts';
import { clock, count, loss, short } from './format.ts';
import { type Output, printable } from './output.ts';
import { scoreWords } from './score-words.ts';
import { box, type StartInfo, shortPath, startLines } from './start-box.ts';

export interface StepInfo {
  /** Steps done so far, this one included. */
  step: number;
  lossNats: number;
  lr: number;
  /** Of this step; rows of full length when left out. */
  tokens?: number;
}
export interface EvalInfo extends Partial<Score> {
  step: number;
  lossNats: number;
  best?: boolean;
}
export interface SampleInfo {
  step: number;
  prompt: string;
  text: string;
}
export interface DoneInfo {
  step: number;
  status: 'done' | 'stopped';
  best?: { step: number; lossNats: number; bitsPerByte?: number };
}

/** Drawn at most this often. */
const FRAME_MS = 100;
/** Weight of the past in the loss of the live line: about the last 30 steps. */
const SMOOTHING = 0.97;

export class TrainScreen {
  #config!: TrainConfig;
  #dialogues = false;
  #firstStep = 0;
  #began = 0;
  /** Tokens and time since the last evaluation, without evaluations and samples. */
  #interval = { tokens: 0, ms: 0, lossSum: 0, steps: 0 };
  /** The same over the last moments, for the live line. */
  #recent = { tokens: 0, ms: 0, rate: 0 };
  #lastStepAt = 0;
  #ema = { value: 0, weight: 0 };
  #before: { train?: number; val?: number; live?: number } = {};
  #drawn = 0;
  #headed = false;
  #step = 0;

  constructor(
    readonly out: Output,
    /** Milliseconds; a test gives its own clock. */
    readonly now: () => number = () => performance.now(),
  ) {}

  /** The box. */
  start(info: StartInfo): void {
    const { out } = this;
    this.#config = info.config;
    this.#dialogues = info.dialogues ?? false;
    this.#firstStep = info.resumedFrom ?? 0;
    this.#step = this.#firstStep;
    this.#began = this.now();
    this.#lastStepAt = this.#began;
    out.say(box('qkv train', startLines(info, out.lang), Math.min(out.columns, 100)));
  }

  /** After every step. */
  step({ step, lossNats, lr, tokens: counted }: StepInfo): void {
    const at = this.now();
    const ms = at - this.#lastStepAt;
    this.#lastStepAt = at;
    this.#step = step;
    const c = this.#config;
    const tokens = counted ?? c.batch * c.accumulate * c.contextLength;
    this.#interval.tokens += tokens;
    this.#interval.ms += ms;
    this.#interval.lossSum += lossNats;
    this.#interval.steps++;
    this.#recent.tokens += tokens;
    this.#recent.ms += ms;
    if (Number.isFinite(lossNats)) {
      this.#ema.value = SMOOTHING * this.#ema.value + (1 - SMOOTHING) * lossNats;
      this.#ema.weight = SMOOTHING * this.#ema.weight + (1 - SMOOTHING);
    }
    this.#draw(lr);
  }

  /** After an evaluation: one row. Returns what the row says of speed, for the JSON line. */
  evaluation({ step, lossNats, best, ...score }: EvalInfo, lr: number): { tokensPerSecond: number; trainLossNats: number } {
    const { out } = this;
    const { tokens, ms, lossSum, steps } = this.#interval;
    const rate = ms > 0 ? (1000 * tokens) / ms : 0;
    const train = steps > 0 ? lossSum / steps : Number.NaN;
    const n = (x: number) => count(x, out.lang);
    if (!this.#headed) {
      this.#headed = true;
      out.say(
        out.style(
          'dim',
          this.#row(
            out.lang === 'zh'
              ? ['步', '训练', '验证', '词元/秒', '学习率', '已过/剩余']
              : ['step', 'train', 'val', 'tokens/s', 'lr', 'elapsed/left'],
          ),
        ),
      );
    }
    const arrow = (value: number, before: number | undefined) =>
      before === undefined || !Number.isFinite(value)
        ? ' '
        : value < before
          ? out.style('green', '▼')
          : value > before
            ? out.style('yellow', '▲')
            : ' ';
    out.say(
      `${this.#row([
        n(step),
        steps > 0 ? `${loss(train)} ${arrow(train, this.#before.train)}` : '–  ',
        `${loss(lossNats)} ${arrow(lossNats, this.#before.val)}`,
        steps > 0 ? n(rate) : '–',
        short(lr),
        `${clock(this.#elapsed())}/${clock(this.#left())}`,
      ])}${best ? `  ${out.style('cyan', '◇')}` : ''}${scoreWords(score)
        .map((words) => `  ${out.t(words)}`)
        .join('')}`,
    );
    if (steps > 0) this.#before.train = train;
    this.#before.val = lossNats;
    // The smoothed loss lags behind: it is compared with itself.
    if (this.#ema.weight > 0) this.#before.live = this.#ema.value / this.#ema.weight;
    this.#interval = { tokens: 0, ms: 0, lossSum: 0, steps: 0 };
    this.#skip();
    return { tokensPerSecond: rate, trainLossNats: train };
  }

  /** A text that the model wrote. */
  sample({ prompt, text }: SampleInfo): void {
    const { out } = this;
    const label = out.t({ en: 'sample', zh: '样例' });
    const oneLine = (t: string) => printable(t.replace(/\r?\n/g, '⏎ '));
    // What the model wrote matters; of what it was given, the end is enough.
    const given = oneLine(prompt);
    let end = given;
    while (displayWidth(end) > 24) end = [...end].slice(1).join('');
    const shown = `«${end === given ? '' : '…'}${end}»${oneLine(text)}`;
    out.say(`${' '.repeat(8)}${out.style('dim', label)} ${clip(shown, Math.min(out.columns, 100) - 10 - displayWidth(label))}`);
    this.#skip();
  }

  /** Time spent beside training (evaluating, saving) is no training time. */
  #skip(): void {
    this.#lastStepAt = this.now();
  }
  /** The trainer did something that is not a step. */
  pause(): void {
    this.#skip();
  }

  /** One row; what a narrow terminal has no room for is left out from the right. */
  #row(cells: readonly string[]): string {
    const widths = [7, 9, 9, 10, 8, 15];
    const full = widths.reduce((sum, w) => sum + w + 1, 4);
    const shown = this.out.columns >= full ? cells : cells.slice(0, this.out.columns < 50 ? 3 : 4);
    return shown.map((c, i) => padStart(c, widths[i])).join(' ');
  }

  #elapsed(): number {
    return (this.now() - this.#began) / 1000;
  }
  /** Seconds left, evaluations and samples included, from all that was done so far. */
  #left(): number {
    const done = this.#step - this.#firstStep;
    return done === 0 ? Number.NaN : (this.#elapsed() / done) * (this.#config.steps - this.#step);
  }

  #draw(_lr: number): void {
    const at = this.now();
    if (at - this.#drawn < FRAME_MS) return;
    this.#drawn = at;
    if (this.#recent.ms > 2000 || this.#recent.rate === 0) {
      this.#recent = { tokens: 0, ms: 0, rate: (1000 * this.#recent.tokens) / Math.max(1, this.#recent.ms) };
    }
    const { out } = this;
    const { steps } = this.#config;
    const share = this.#step / steps;
    const value = this.#ema.weight > 0 ? this.#ema.value / this.#ema.weight : Number.NaN;
    const arrow =
      this.#before.live === undefined
        ? ''
        : value < this.#before.live
          ? ` ${out.style('green', '▼')}`
          : ` ${out.style('yellow', '▲')}`;
    const n = (x: number) => count(x, out.lang);
    const text = out.t({
      en: `${Math.floor(100 * share)}% · ${n(this.#step)}/${n(steps)} · loss ${loss(value)}${arrow} · ${n(this.#recent.rate)} tokens/s · ${clock(this.#left())} left`,
      zh: `${Math.floor(100 * share)}% · ${n(this.#step)}/${n(steps)} · 损失 ${loss(value)}${arrow} · ${n(this.#recent.rate)} 词元/秒 · 剩 ${clock(this.#left())}`,
    });
    const room = Math.min(30, out.columns - displayWidth(text) - 4);
    const filled = room > 4 ? barOf(share, room) : '';
    out.live(
      room > 4 ? ` ${filled}${out.style('dim', '░'.repeat(Math.max(0, room - displayWidth(filled))))}  ${text}` : ` ${text}`,
    );
  }

  /** The last lines: how it went, where it lies, what to type next. */
  done({ step, status, best }: DoneInfo, { name, folder, prompt }: { name: string; folder: string; prompt: string }): void {
    const { out } = this;
    out.live('');
    const zh = out.lang === 'zh';
    const n = (x: number) => count(x, out.lang);
    const { objective } = this.#config;
    const perplexity = best && asksTokens(objective) ? Math.exp(best.lossNats).toFixed(1) : undefined;
    const bestText = best
      ? zh
        ? ` · 最佳验证 ${loss(best.lossNats)}（第 ${n(best.step)} 步${perplexity === undefined ? '' : `，困惑度 ${perplexity}`}${best.bitsPerByte === undefined ? '' : `，${best.bitsPerByte.toFixed(2)} 比特/字节`}）`
        : ` · best validation ${loss(best.lossNats)} (step ${n(best.step)}${perplexity === undefined ? '' : `, perplexity ${perplexity}`}${best.bitsPerByte === undefined ? '' : `, ${best.bitsPerByte.toFixed(2)} bits a byte`})`
      : '';
    const elapsed = clock(this.#elapsed());
    const words = firstWords(prompt);
    if (status === 'done')
      out.say(
        `${out.style('green', '✔')} ${zh ? `完成 ${n(step)} 步 · ${elapsed}` : `${n(step)} steps done · ${elapsed}`}${bestText}`,
      );
    else
      out.say(
        `${out.style('yellow', '■')} ${zh ? `停在第 ${n(step)} 步，已保存 · ${elapsed}` : `stopped at step ${n(step)}, saved · ${elapsed}`}${bestText}`,
      );
    const { kind } = familyOf(this.#config.model);
    const [en, zhSays, use] = {
      decoder: ['let it write:', '让它写', `qkv generate ${name} "${words}"`],
      'encoder-decoder': ['let it write:', '让它写', `qkv generate ${name} "${words}"`],
      encoder: ['let it fill:', '让它填空', `qkv generate ${name} "${words}"`],
      dialogues: ['talk with it:', '与它对话', `qkv chat ${name}`],
      replaced: ['let it judge:', '让它判断', `qkv generate ${name} "${words}"`],
      contrastive: ['let it compare:', '让它比较', `qkv generate ${name} "${words}" "…"`],
    }[this.#dialogues ? 'dialogues' : objective === 'replaced' || objective === 'contrastive' ? objective : kind];
    const look =
      kind === 'decoder' && !this.#dialogues
        ? zh
          ? ` · 看注意力 qkv trace ${name} "${words}"`
          : ` · look inside: qkv trace ${name} "${words}"`
        : '';
    out.say(
      status === 'done'
        ? zh
          ? `  存于 ${shortPath(folder)} · ${zhSays} ${use}${look}`
          : `  in ${shortPath(folder)} · ${en} ${use}${look}`
        : zh
          ? `  存于 ${shortPath(folder)} · 继续 qkv train ${name} --resume`
          : `  in ${shortPath(folder)} · go on: qkv train ${name} --resume`,
    );
  }
}

/** The beginning of a prompt that can be typed again between quotes. */
function firstWords(prompt: string): string {
  const line = prompt
    .replace(/["`$\\!]/g, '')
    .replace(/\s+/g, ' ')
    .trim();
  if (displayWidth(line) <= 24) return line;
  let start = line;
  while (displayWidth(start) > 24) start = [...start].slice(0, -1).join('');
  // Not in the middle of a word, where there are words.
  return (start.includes(' ') ? start.slice(0, start.lastIndexOf(' ')) : start).trim();
}
