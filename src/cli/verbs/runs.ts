/** `qkv runs [ls|show|diff|rm]`: the runs of this folder, as a table; one in full; two beside each other; one taken away. */
import { readdirSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { QkvError } from '../../errors.ts';
import { curve } from '../../figures/terminal.ts';
import { clip } from '../../figures/width.ts';
import { bestStep, listRuns, readJson, resolveRun, type RunSummary, summarizeRun } from '../../io/run-folder.ts';
import { currentTimeline, logNumber, readLog } from '../../io/run-log.ts';
import { bytes, compact, count, loss } from '../format.ts';
import { here, shellWord } from '../messages/index.ts';
import { type Output, printable, table } from '../output.ts';
import type { Flag, Verb } from '../verb.ts';

export const rootFlag: Flag = {
  name: 'root',
  takes: 'text',
  about: { en: 'folder of the runs (runs)', zh: '运行所在文件夹（runs）' },
};

const statusText: Record<RunSummary['status'], { en: string; zh: string; mark: string }> = {
  running: { en: 'running', zh: '运行中', mark: '●' },
  done: { en: 'done', zh: '完成', mark: '✔' },
  stopped: { en: 'stopped', zh: '已停止', mark: '■' },
  interrupted: { en: 'interrupted', zh: '中断', mark: '!' },
  failed: { en: 'failed', zh: '失败', mark: '✗' },
};

/** What tables and JSON say of a run. */
function facts(run: RunSummary) {
  let config: Record<string, unknown> = {};
  try {
    config = readJson(join(run.folder, 'config.json')) as Record<string, unknown>;
  } catch {
    // a damaged config still has a row
  }
  const evaluations = currentTimeline(readLog(run.folder).records.map((r) => r.record)).filter((r) => r.type === 'eval');
  const losses = evaluations.map((r) => ({
    step: Number(r['step']),
    lossNats: logNumber(r['lossNats'] ?? r['valLossNats']) ?? Number.NaN,
  }));
  const best = losses.filter((l) => Number.isFinite(l.lossNats)).sort((a, b) => a.lossNats - b.lossNats)[0];
  // A run that went on with more steps says so in its log; its settings stay as it began.
  const steps = Number(run.last['step']?.['steps'] ?? config['steps'] ?? 0);
  return { config, steps, losses, best, bestCheckpoint: bestStep(run.folder) };
}

export const runsLs: Verb = {
  name: 'runs ls',
  about: { en: 'the runs of this folder', zh: '此文件夹里的运行' },
  words: [],
  flags: [rootFlag],
  examples: ['qkv runs', 'qkv runs ls --json'],
  run({ flags }, out) {
    const root = (flags['root'] as string | undefined) ?? 'runs';
    const runs = listRuns(root);
    const rows = runs.map((run) => ({ run, ...facts(run) }));
    if (rows.length === 0)
      out.answer(
        out.t({
          en: `No runs in ${here(root)}. Make one: qkv train data=book.txt`,
          zh: `${here(root)} 里没有运行。训练一个：qkv train data=book.txt`,
        }),
      );
    else {
      out.answer(
        table(
          out.lang === 'zh'
            ? ['名字', '状态', '步', '最佳验证', '模型', '检查点']
            : ['name', 'status', 'step', 'best val', 'model', 'checkpoints'],
          rows.map(({ run, config, steps, best }) => [
            run.name,
            `${statusText[run.status].mark} ${out.t(statusText[run.status])}`,
            `${count(run.step, out.lang)}/${count(steps, out.lang)}`,
            best ? loss(best.lossNats) : '–',
            shapeText(config),
            run.checkpoints.length
              ? run.checkpoints
                  .slice(0, 3)
                  .map((s) => `@${s}`)
                  .join(' ')
              : '–',
          ]),
          [2, 3],
        ),
      );
      out.say();
      out.say(`${out.t({ en: 'Next', zh: '下一步' })}  qkv runs show ${shellWord(rows.at(-1)!.run.name)}`);
    }
    out.event({
      type: 'result',
      ok: true,
      runs: rows.map(({ run, best }) => ({
        name: run.name,
        status: run.status,
        step: run.step,
        checkpoints: run.checkpoints,
        bestValLossNats: best?.lossNats ?? null,
        bestStep: best?.step ?? null,
      })),
    });
    return 0;
  },
};

const shapeText = (c: Record<string, unknown>) =>
  c['nLayer'] === undefined ? '–' : `${c['model']} ${c['nLayer']}×${c['nHead']} d=${c['dModel']}`;

export const runsShow: Verb = {
  name: 'runs show',
  about: { en: 'one run: status, losses, checkpoints, last sample', zh: '一次运行：状态、损失、检查点、最近样例' },
  words: [{ name: 'RUN' }],
  flags: [rootFlag],
  examples: ['qkv runs show demo-1', 'qkv runs show demo-1 --json'],
  run({ words: [spec], flags }, out) {
    const { folder } = resolveRun(spec, { root: flags['root'] as string | undefined });
    const run = summarizeRun(folder);
    const { config, steps, losses, best, bestCheckpoint } = facts(run);
    const env = readJson(join(folder, 'env.json')) as Record<string, unknown>;
    out.answer(
      out.style('bold', `${run.name}   ${statusText[run.status].mark} ${out.t(statusText[run.status])}   ${here(folder)}`),
    );
    out.answer(
      `${shapeText(config)} · ${out.t({ en: 'context', zh: '上下文' })} ${config['contextLength']} · ${out.t({ en: 'step', zh: '步' })} ${count(run.step, out.lang)}/${count(steps, out.lang)}`,
    );
    out.answer(`${out.t({ en: 'data', zh: '数据' })} ${here(String(config['data'] ?? '–'))}`);
    if (losses.length > 0) {
      out.answer();
      out.answer(out.t({ en: 'validation loss, nats a token', zh: '验证损失，nat/词元' }));
      out.answer(
        curve(
          losses.map((l) => ({ x: l.step, y: l.lossNats })),
          { width: Math.min(64, out.columns - 10), height: 7 },
        ),
      );
      if (best)
        out.answer(
          out.t({
            en: `best ${loss(best.lossNats)} at step ${count(best.step, 'en')} (perplexity ${Math.exp(best.lossNats).toFixed(1)})`,
            zh: `最佳 ${loss(best.lossNats)}，第 ${count(best.step, 'zh')} 步（困惑度 ${Math.exp(best.lossNats).toFixed(1)}）`,
          }),
        );
    }
    out.answer();
    out.answer(
      run.checkpoints.length
        ? `${out.t({ en: 'checkpoints', zh: '检查点' })} ${run.checkpoints.map((s) => `@${s}${s === bestCheckpoint ? out.t({ en: ' (best)', zh: '（最佳）' }) : ''}`).join('  ')}   ${bytes(sizeOf(folder))}`
        : out.t({ en: 'no checkpoint yet', zh: '还没有检查点' }),
    );
    const sample = run.last['sample'];
    if (sample) {
      out.answer();
      const text = String(sample['text'] ?? '');
      out.answer(
        `${out.t({ en: 'last sample', zh: '最近样例' })}: ${clip(printable(`«${sample['prompt'] ?? ''}» ${text}`.replace(/\n/g, '⏎')), out.columns - 16)}`,
      );
    }
    const next =
      run.status === 'interrupted' || run.status === 'stopped' || run.status === 'failed'
        ? `qkv train ${shellWord(run.name)} --resume`
        : run.status === 'done'
          ? `qkv generate ${shellWord(run.name)} "…"`
          : undefined;
    if (next) {
      out.say();
      out.say(`${out.t({ en: 'Next', zh: '下一步' })}  ${next}`);
    }
    out.event({
      type: 'result',
      ok: true,
      name: run.name,
      folder,
      status: run.status,
      step: run.step,
      checkpoints: run.checkpoints,
      best: best ?? null,
      evaluations: losses,
      env,
      config,
    });
    return 0;
  },
};

export const runsDiff: Verb = {
  name: 'runs diff',
  about: { en: 'the settings in which two runs differ, and their losses', zh: '两次运行不同的配置与损失' },
  words: [{ name: 'RUN-A' }, { name: 'RUN-B' }],
  flags: [rootFlag],
  examples: ['qkv runs diff demo-1 demo-2'],
  run({ words, flags }, out) {
    const runs = words.map((w) => summarizeRun(resolveRun(w, { root: flags['root'] as string | undefined }).folder));
    const [a, b] = runs.map(facts);
    const keys = [...new Set([...Object.keys(a.config), ...Object.keys(b.config)])].filter(
      (k) => JSON.stringify(a.config[k]) !== JSON.stringify(b.config[k]),
    );
    const show = (v: unknown) => (v === undefined || v === null ? '–' : typeof v === 'object' ? JSON.stringify(v) : String(v));
    const rows = [
      ...keys.map((k) => [k, show(a.config[k]), show(b.config[k])]),
      [
        out.t({ en: 'best validation loss', zh: '最佳验证损失' }),
        a.best ? loss(a.best.lossNats) : '–',
        b.best ? loss(b.best.lossNats) : '–',
      ],
      [out.t({ en: 'at step', zh: '在第几步' }), a.best ? String(a.best.step) : '–', b.best ? String(b.best.step) : '–'],
    ];
    out.answer(table(['', ...runs.map((r) => r.name)], rows));
    out.event({
      type: 'result',
      ok: true,
      runs: runs.map((r) => r.name),
      differs: Object.fromEntries(keys.map((k) => [k, [a.config[k] ?? null, b.config[k] ?? null]])),
      best: [a.best ?? null, b.best ?? null],
    });
    return 0;
  },
};

export const runsRm: Verb = {
  name: 'runs rm',
  about: { en: 'takes a run and its checkpoints away', zh: '删除一次运行及其检查点' },
  words: [{ name: 'RUN' }],
  flags: [rootFlag],
  examples: ['qkv runs rm demo-1', 'qkv runs rm demo-1 --yes'],
  async run({ words: [spec], flags }, out) {
    const { name, folder, step } = resolveRun(spec, { root: flags['root'] as string | undefined });
    if (step !== undefined)
      throw new QkvError('E110', `one word too many: @${step}`, { word: `@${step}`, usage: 'qkv runs rm RUN' });
    const run = summarizeRun(folder);
    if (run.status === 'running') throw new QkvError('E156', `${folder} is in use`, { name, pid: run.pid, host: hostname() });
    const size = sizeOf(folder);
    if (!flags['yes']) {
      const question = out.t({
        en: `Remove ${here(folder)} (${bytes(size)}, ${compact(run.step, 'en')} steps)? [y/N] `,
        zh: `删除 ${here(folder)}（${bytes(size)}，${compact(run.step, 'zh')} 步）？[y/N] `,
      });
      if (!(await confirmed(question, out))) {
        if (!process.stdin.isTTY)
          throw new QkvError('E109', 'removing a run needs a yes', {
            what: out.t({ en: `removing ${name}`, zh: `删除 ${name}` }),
          });
        out.say(out.t({ en: 'Nothing was changed.', zh: '没有改动任何东西。' }));
        out.event({ type: 'result', ok: false, removed: null });
        return 0;
      }
    }
    rmSync(folder, { recursive: true });
    out.say(
      `${out.style('green', '✔')} ${out.t({ en: `${here(folder)} is gone (${bytes(size)})`, zh: `已删除 ${here(folder)}（${bytes(size)}）` })}`,
    );
    out.event({ type: 'result', ok: true, removed: name, bytes: size });
    return 0;
  },
};

/** Asks on a terminal; elsewhere the answer is no. */
async function confirmed(question: string, out: Output): Promise<boolean> {
  if (!process.stdin.isTTY || !out.isTerminal) return false;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^(y|yes|是|好)$/i.test((await lines.question(question)).trim());
  } finally {
    lines.close();
  }
}

function sizeOf(folder: string): number {
  let total = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) total += statSync(join(entry.parentPath ?? entry.path, entry.name)).size;
  }
  return total;
}
