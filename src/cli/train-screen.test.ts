import { expect, test } from 'vitest';
import { displayWidth } from '../figures/width.ts';
import { resolve, settingsOfArguments } from '../settings/config.ts';
import { memoryOf } from './estimate.ts';
import { Output } from './output.ts';
import { box } from './start-box.ts';
import { TrainScreen } from './train-screen.ts';

/** Collects what is written; a terminal of `columns` when told so. */
function sink(columns?: number) {
  const parts: string[] = [];
  return { write: (t: string) => parts.push(t), isTTY: columns !== undefined, columns, text: () => parts.join('') };
}
const config = resolve(
  [],
  settingsOfArguments([
    { key: 'steps', text: '100' },
    { key: 'batch', text: '8' },
    { key: 'accumulate', text: '2' },
  ]),
  { needData: false },
).config;
const start = {
  name: 'demo-1',
  folder: 'runs/demo-1',
  config: { ...config, data: 'book.txt' },
  vocabSize: 2048,
  parameters: 1_066_112,
  trainTokens: 412_873,
  valTokens: 21_730,
  charactersPerToken: 1.62,
  memory: memoryOf(config, 2048),
  seconds: 160,
  backend: { name: 'native', isa: 'avx2', threads: 2 },
};

/** A screen with a clock of its own. */
function screen(options: { lang?: 'zh' | 'en'; columns?: number } = {}) {
  const stdout = sink(options.columns);
  const out = new Output({ stdout, stderr: sink(), lang: options.lang, env: { TERM: 'xterm', NO_COLOR: '1' } });
  const clock = { ms: 0 };
  return { stdout, clock, view: new TrainScreen(out, () => clock.ms) };
}

test('the box: every line has the same width in both languages, and long lines are broken inside it', () => {
  for (const lang of ['zh', 'en'] as const) {
    const { stdout, view } = screen({ lang });
    view.start(start);
    const lines = stdout.text().trimEnd().split('\n');
    expect(new Set(lines.map((l) => displayWidth(l))).size, lang).toBe(1);
    expect(displayWidth(lines[0])).toBeLessThanOrEqual(100);
    expect(stdout.text()).toContain('7.62'); // ln 2048
    expect(stdout.text()).toContain('AdamW lr 1e-3 → 1e-4');
    expect(stdout.text()).toContain(lang === 'zh' ? '参数 1.07M' : '1.07M parameters');
  }
  const narrow = box('解码器', [['标签', '很长的一段中文，需要折行才能放进这个框里。'.repeat(3)]], 40).split('\n');
  expect(new Set(narrow.map((l) => displayWidth(l))).size).toBe(1);
  expect(narrow.length).toBeGreaterThan(4);
});

test('throughput is tokens of the interval ÷ time of the interval, without the time of evaluations and samples', () => {
  const { stdout, clock, view } = screen();
  view.start(start);
  const tokensPerStep = 8 * 2 * 64;
  for (let step = 1; step <= 10; step++) {
    clock.ms += 50; // 20 steps a second
    view.step({ step, lossNats: 5, lr: 1e-3 });
  }
  clock.ms += 3000; // an evaluation
  expect(view.evaluation({ step: 10, lossNats: 4.9 }, 1e-3)).toEqual({ tokensPerSecond: 20 * tokensPerStep, trainLossNats: 5 });
  clock.ms += 7000; // a sample
  view.sample({ step: 10, prompt: 'a', text: 'b' });
  for (let step = 11; step <= 20; step++) {
    clock.ms += 25; // twice as fast from here on
    view.step({ step, lossNats: step === 20 ? 4 : 3, lr: 1e-3 });
    if (step === 15) {
      clock.ms += 2000; // a checkpoint
      view.pause();
    }
  }
  expect(view.evaluation({ step: 20, lossNats: 5.1 }, 1e-3)).toEqual({ tokensPerSecond: 40 * tokensPerStep, trainLossNats: 3.1 });
  const rows = stdout.text().split('\n');
  expect(rows.find((r) => /^\s+20 /.test(r))).toMatch(/3\.100 ▼ +5\.100 ▲ +40,960 +1e-3 +0:13\/0:51/);
});

test('not a terminal: a row for each evaluation, no cursor movement; a terminal: a live line that fits', () => {
  const plain = screen();
  const tty = screen({ columns: 60 });
  for (const s of [plain, tty]) {
    s.view.start(start);
    for (let step = 1; step <= 40; step++) {
      s.clock.ms += 200;
      s.view.step({ step, lossNats: 6 - step / 20, lr: 1e-3 });
      if (step % 20 === 0) s.view.evaluation({ step, lossNats: 5.5 - step / 40, best: true }, 1e-3);
    }
    s.view.done(
      { step: 40, status: 'stopped', best: { step: 40, lossNats: 4.5 } },
      { name: 'demo-1', folder: 'runs/demo-1', prompt: 'x' },
    );
  }
  expect(plain.stdout.text()).not.toMatch(/[\x1b\r]/);
  expect(
    plain.stdout
      .text()
      .split('\n')
      .filter((l) => l.includes('◇')),
  ).toHaveLength(2);
  expect(plain.stdout.text()).toContain('qkv train demo-1 --resume');
  const drawn = tty.stdout
    .text()
    .split('\r\x1b[K')
    .map((l) => l.split('\n')[0]);
  expect(drawn.some((l) => /40% · 40\/100 · loss 4\.\d+ ▼ · 5,120 tokens\/s · 0:12 left/.test(l))).toBe(true);
  for (const l of drawn) if (l.includes('% ·')) expect(displayWidth(l)).toBeLessThan(72);
});

test('a loss that is no number is shown as what it is', () => {
  const { stdout, clock, view } = screen();
  view.start(start);
  clock.ms += 10;
  view.step({ step: 1, lossNats: Number.NaN, lr: 1e-3 });
  view.evaluation({ step: 1, lossNats: Number.POSITIVE_INFINITY }, 1e-3);
  expect(stdout.text()).toMatch(/NaN +∞/);
});

test('on a terminal of 40 columns nothing is wider: box, rows, samples, the live line', () => {
  for (const lang of ['zh', 'en'] as const) {
    const { stdout, view, clock } = screen({ lang, columns: 40 });
    view.start(start);
    clock.ms = 5000;
    view.step({ step: 1, lossNats: 7.6, lr: 1e-3 });
    view.evaluation({ step: 1, lossNats: 7.5, best: true }, 1e-3);
    view.sample({ step: 1, prompt: '春眠不觉晓', text: '处处闻啼鸟。'.repeat(9) });
    clock.ms = 9000;
    view.step({ step: 2, lossNats: 7.4, lr: 1e-3 });
    for (const line of stdout.text().split(/[\r\n]/)) expect(displayWidth(line), `${lang}: ${line}`).toBeLessThanOrEqual(40);
  }
});
