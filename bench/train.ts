/**
 * The whole training step, ours through the public API, beside PyTorch on as many threads; all take turns, so that what slows the machine slows them all.
 *   npm run bench -- train [--only=small,char,gpt2-124M] [--ours] [--bf16] [--profile] [--quick] [--json]
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchHome, debianPython, Program, program, python, tuned } from './competitors/process.ts';
import type { KernelTime } from 'qkv/tensor';
import {
  best,
  describeMachine,
  median,
  megabytes,
  native,
  parseArguments,
  Peaks,
  percent,
  printer,
  table,
  times,
} from './harness.ts';
import { configurations, flopsPerStep, type TrainConfiguration } from './train-configs.ts';

const args = parseArguments(['--bf16', '--profile']);
const print = printer(args);
const backend = native();
const { isa, threads } = backend.describe();
const turns = args.quick ? 2 : 7;
const peaks = new Peaks(backend);
peaks.measureFlops();
/** Where there are no bf16 products everybody emulates them, slower than f32: measured on request only. */
const precisions = ['fp32', ...(peaks.flopsBf16 > 0 || args.flags.has('--bf16') ? ['bf16'] : [])] as ('fp32' | 'bf16')[];

interface Contender {
  name: string;
  precision: 'fp32' | 'bf16';
  child: Program;
  version: string;
  parameters: number;
  baseBytes: number;
  seconds: number[];
  peakBytes: number;
  tensorPeakBytes?: number;
  lagP99Ms: number[];
  lossNats: number;
  /** Ours: where the time of all its turns went. */
  kernels: Map<string, KernelTime>;
  idleSeconds: number;
  /** Steps a turn, where those of the configuration would take minutes. */
  stepsPerTurn?: number;
}
const missing = new Map<string, string>();
if (!args.ours)
  missing.set(
    'llm.c',
    'no package registry has it, so that nothing here installs or runs it (github.com/karpathy/llm.c; its own train_gpt2 prints ms a step)',
  );

async function start(name: string, precision: 'fp32' | 'bf16', command: string, argv: string[]): Promise<Contender | undefined> {
  const child = new Program(name, command, argv, {
    ...(name === 'ours' ? process.env : tuned(threads)),
    TORCHINDUCTOR_CACHE_DIR: join(benchHome, 'inductor'),
  });
  try {
    const { version, parameters, baseBytes } = await child.answer();
    await child.ask('steps 2'); // compiles, touches its memory
    return {
      name,
      precision,
      child,
      version: String(version),
      parameters: Number(parameters),
      baseBytes: Number(baseBytes),
      seconds: [],
      peakBytes: 0,
      lagP99Ms: [],
      lossNats: Number.NaN,
      kernels: new Map(),
      idleSeconds: 0,
    };
  } catch (e) {
    child.close();
    if (name === 'ours') throw e;
    missing.set(`${name} ${precision}`, (e as Error).message);
    return undefined;
  }
}

async function contenders(name: string, configuration: TrainConfiguration): Promise<Contender[]> {
  const json = JSON.stringify(configuration);
  const worker = fileURLToPath(new URL('train-worker.js', import.meta.url));
  const found: (Contender | undefined)[] = [];
  for (const precision of precisions) found.push(await start('ours', precision, process.execPath, [worker, json, precision]));
  if (!args.ours && !existsSync(python)) missing.set('PyTorch', `no ${python}; bench/competitors/install.sh installs it`);
  else if (!args.ours)
    for (const precision of precisions)
      for (const mode of ['eager', 'compile'])
        found.push(await start(`PyTorch ${mode}`, precision, python, [program('torch-gpt2.py'), json, precision, mode]));
  // An old release (1.13 in Debian 12), which other published comparisons use.
  if (!args.ours)
    for (const precision of precisions)
      found.push(await start("Debian's PyTorch", precision, debianPython, [program('torch-gpt2.py'), json, precision, 'eager']));
  // In the browser's language: a hundred times slower on the larger ones, so that only the smallest is waited for.
  if (!args.ours && name === 'small')
    for (const [library, file, pkg, stepsPerTurn] of [
      ['jax-js wasm', 'jax-gpt2.mjs', '@jax-js/jax', 10],
      ['tfjs wasm', 'tfjs-gpt2.mjs', '@tensorflow/tfjs-backend-wasm', 2],
    ] as const) {
      if (!existsSync(join(benchHome, 'node_modules', pkg))) {
        missing.set(library, `no ${pkg} in ${benchHome}; bench/competitors/install.sh installs it`);
        continue;
      }
      const other = await start(library, 'fp32', process.execPath, [program(file), benchHome, json]);
      found.push(other && { ...other, stepsPerTurn });
    }
  return found.filter((c) => c !== undefined);
}

async function turn(c: Contender, steps: number): Promise<void> {
  const a = await c.child.ask(`steps ${steps}`);
  c.seconds.push(...(a.seconds as number[]));
  c.peakBytes = Number(a.peakBytes);
  c.tensorPeakBytes = a.tensorPeakBytes as number | undefined;
  c.lossNats = Number(a.lossNats);
  if (c.name !== 'ours') return;
  c.lagP99Ms.push(Number(a.lagP99Ms));
  c.idleSeconds += Number(a.idleSeconds);
  for (const [name, { calls, seconds }] of Object.entries(a.kernels as Record<string, KernelTime>)) {
    const t = c.kernels.get(name) ?? { calls: 0, seconds: 0 };
    c.kernels.set(name, { calls: t.calls + calls, seconds: t.seconds + seconds });
  }
}

const chosen = Object.entries(configurations).filter(([name]) => args.only.length === 0 || args.only.includes(name));
if (chosen.length === 0) {
  console.error(`bench: --only=${args.only} names no configuration; there are ${Object.keys(configurations).join(', ')}`);
  process.exit(2);
}
print(describeMachine(backend));
if (precisions.length === 1) print('bf16: this machine has no bf16 products; left out (--bf16 measures the emulation)');

for (const [name, configuration] of chosen) {
  const { B, T, V, L, H, C, stepsPerTurn } = configuration;
  const all = await contenders(name, configuration);
  for (let t = 0; t < turns; t++) {
    peaks.measureFlops();
    for (const c of all) await turn(c, args.quick ? 1 : (c.stepsPerTurn ?? stepsPerTurn));
  }
  for (const c of all) c.child.close();

  const rate = (c: Contender, pick = median): number => (B * T) / pick(c.seconds);
  const mfu = (c: Contender): number =>
    flopsPerStep(configuration) / median(c.seconds) / peaks.of('flop/s', c.precision === 'bf16' ? 'bf16' : 'f32');
  const oursAt = (precision: string): Contender => all.find((c) => c.name === 'ours' && c.precision === precision)!;

  if (args.json) {
    for (const precision of precisions) {
      const us = oursAt(precision);
      console.log(
        JSON.stringify({
          config: name,
          precision,
          tokensPerSecond: rate(us),
          bestTokensPerSecond: rate(us, best),
          peakBytes: us.peakBytes,
          tensorPeakBytes: us.tensorPeakBytes,
          mfu: mfu(us),
          eventLoopLagP99Ms: Math.max(...us.lagP99Ms),
          parameters: us.parameters,
          steps: us.seconds.length,
          threads,
          isa,
          peakFlops: peaks.of('flop/s', precision === 'bf16' ? 'bf16' : 'f32'),
          idleSecondsPerStep: us.idleSeconds / us.seconds.length,
          secondsPerStep: Object.fromEntries([...us.kernels].map(([k, { seconds }]) => [k, seconds / us.seconds.length])),
          competitors: Object.fromEntries(
            all
              .filter((c) => c.name !== 'ours')
              .map((c) => [
                `${c.name} ${c.precision}`,
                {
                  version: c.version,
                  tokensPerSecond: rate(c),
                  bestTokensPerSecond: rate(c, best),
                  peakBytes: c.peakBytes,
                  ourRatio: rate(us) / rate(c),
                  ourMemoryRatio: us.peakBytes / c.peakBytes,
                },
              ]),
          ),
          missing: [...missing.keys()],
        }),
      );
    }
    continue;
  }

  print(
    `\n${name}: GPT-2, L${L} H${H} C${C} V${V}, ${(all[0].parameters / 1e6).toFixed(2)} M parameters, ${B}×${T} tokens a step; ${(flopsPerStep(configuration) / 1e9).toFixed(1)} GFLOP a step, peak of this run ${(peaks.flops / 1e9).toFixed(0)} GF/s\n`,
  );
  print(
    table(
      ['contender', 'precision', 'steps', 'ms', 'tokens/s', 'best', 'of peak', 'peak memory', 'before the model', 'ours ×'],
      all.map((c) => [
        c.name === 'ours' ? 'ours' : `${c.name} ${c.version}`,
        c.precision,
        String(c.seconds.length),
        (median(c.seconds) * 1000).toFixed(1),
        rate(c).toFixed(0),
        rate(c, best).toFixed(0),
        percent(mfu(c)),
        megabytes(c.peakBytes),
        megabytes(c.baseBytes),
        c.name === 'ours' ? '' : times(rate(oursAt(c.precision)) / rate(c)),
      ]),
    ),
  );
  for (const us of all.filter((c) => c.name === 'ours')) {
    const steps = us.seconds.length;
    const rows = [...us.kernels].sort((a, b) => b[1].seconds - a[1].seconds);
    const total = us.seconds.reduce((n, x) => n + x, 0);
    print(
      `\nours ${us.precision} by kernel: mean step ${((total / steps) * 1000).toFixed(1)} ms, of it ${((us.idleSeconds / steps) * 1000).toFixed(2)} ms without work; timers late by at most ${Math.max(...us.lagP99Ms).toFixed(0)} ms (99 of 100); tensors at most ${megabytes(us.tensorPeakBytes!)}`,
    );
    print(
      table(
        ['kernel', 'calls', 'ms', 'share'],
        rows
          .slice(0, args.flags.has('--profile') ? undefined : 8)
          .map(([k, t]) => [k, String(t.calls / steps), ((t.seconds / steps) * 1000).toFixed(2), percent(t.seconds / total)]),
      ),
    );
  }
}
for (const [name, why] of missing) print(`\nMISSING ${name}: ${why}`);
