/**
 * Kernels one by one: ours beside other libraries, all on as many threads as ours, and beside the peak FLOP/s and bandwidth that this run measures.
 *   npm run bench -- kernels [--only=matmul,adamW] [--ours] [--quick] [--json]
 */
import { memory, noGrad, Rng, run, scope, Tensor } from 'qkv/tensor';
import { startKernelCompetitors } from './competitors/kernels.ts';
import {
  best,
  describeMachine,
  median,
  native,
  parseArguments,
  Peaks,
  percent,
  printer,
  table,
  timeCalls,
  times,
} from './harness.ts';
import { type Workload, workloads } from './workloads.ts';

const args = parseArguments();
const print = printer(args);
const backend = native();
const { isa, threads } = backend.describe();
const [rounds, repeats, atLeast] = args.quick ? [1, 3, 0.002] : [3, 5, 0.02];

const rng = new Rng(1);
const normal = (...shape: number[]): Tensor => Tensor.normal(shape, 1, rng);

/** Makes the inputs and returns one call of the kernel. Outputs are made here too: what is timed allocates nothing. */
function ours({ kernel, sizes: s, layout = 'nn', dtype }: Workload): () => void {
  const bf16 = dtype === 'bf16';
  switch (kernel) {
    case 'matmul': {
      const a = layout[0] === 'n' ? normal(s.M, s.K) : normal(s.K, s.M).T;
      const b = layout[1] === 'n' ? normal(s.K, s.N) : normal(s.N, s.K).T;
      const y = Tensor.empty([s.M, s.N]);
      return () => run('matmul', [a, b, undefined], [y], { accumulate: false, bf16 });
    }
    case 'attention':
    case 'attentionBackward': {
      // (B, T, H, D) in memory, as the model's projections leave them
      const heads = (): Tensor => normal(s.B, s.T, s.H, s.D).permute([0, 2, 1, 3]);
      const [q, k, v, y, dy, dq, dk, dv] = Array.from({ length: 8 }, heads);
      const lse = Tensor.empty([s.B, s.H, s.T]);
      const o = { scale: 1 / Math.sqrt(s.D), left: -1, right: 0, softcap: 0, dropout: 0, seed: 0, bf16 };
      const forward = (): void => run('attention', [q, k, v, undefined, undefined], [y, lse], o);
      if (kernel === 'attention') return forward;
      forward();
      return () => run('attentionBackward', [dy, q, k, v, undefined, undefined, y, lse], [dq, dk, dv, undefined, undefined], o);
    }
    case 'crossEntropy':
    case 'crossEntropyBackward': {
      const logits = normal(s.R, s.C);
      const targets = Tensor.from(Int32Array.from({ length: s.R }, () => rng.int(s.C)));
      const [loss, lse, dlogits] = [Tensor.ones([1]), Tensor.empty([s.R]), Tensor.empty([s.R, s.C])];
      const o = { ignoreIndex: -100, labelSmoothing: 0, zLoss: 0 };
      const forward = (): void => run('crossEntropy', [logits, targets], [loss, lse], o);
      if (kernel === 'crossEntropy') return forward;
      forward();
      return () => run('crossEntropyBackward', [loss, logits, targets, lse], [dlogits], o);
    }
    case 'linearCrossEntropy': {
      const [x, w, dx, dw] = [normal(s.M, s.K), normal(s.N, s.K), normal(s.M, s.K), normal(s.N, s.K)];
      const targets = Tensor.from(Int32Array.from({ length: s.M }, () => rng.int(s.N)));
      const loss = Tensor.empty([1]);
      const o = { ignoreIndex: -100, labelSmoothing: 0, zLoss: 0, bf16 };
      return () => run('linearCrossEntropy', [x, w, undefined, targets], [loss, dx, dw, undefined], o);
    }
    case 'adamW': {
      const n = s.n / s.tensors;
      const groups = Array.from({ length: s.tensors }, () => [normal(n), normal(n), Tensor.zeros([n]), Tensor.zeros([n])]).flat();
      const norm = Tensor.ones([1]);
      const o = { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, step: 1, clip: 1, hasNorm: true };
      const decays = Array.from({ length: s.tensors }, () => true);
      return () => run('adamW', [...groups, norm], [], { ...o, decays });
    }
  }
  const [x, a, y] = [normal(s.R, s.C), normal(s.R, s.C), Tensor.zeros([s.R, s.C])];
  const [w, b, dw, db] = [normal(s.C), normal(s.C), normal(s.C), normal(s.C)];
  const [mean, rstd] = [normal(s.R), Tensor.ones([s.R])];
  switch (kernel) {
    case 'copy':
      return () => run('copy', [x], [y], { accumulate: false });
    case 'add':
      return () => run('binary', [x, a], [y], { f: 'add' });
    case 'geluTanh':
      return () => run('unary', [x], [y], { f: 'geluTanh' });
    case 'geluTanhBackward':
      return () => run('unaryBackward', [a, x], [y], { f: 'geluTanh' });
    case 'softmax':
      return () => run('softmax', [x], [y], {});
    case 'layerNorm':
      return () => run('layerNorm', [x, w, b], [y, mean, rstd], { eps: 1e-5 });
    case 'layerNormBackward':
      return () => run('layerNormBackward', [a, x, w, mean, rstd], [y, dw, db], {});
    case 'rmsNorm':
      return () => run('rmsNorm', [x, w], [y, rstd], { eps: 1e-6, offset: 0 });
    case 'rmsNormBackward':
      return () => run('rmsNormBackward', [a, x, w, rstd], [y, dw], { offset: 0 });
    case 'swiglu':
      return () => run('swiglu', [x, a], [y], {});
    default:
      throw new Error(`bench: no program for the kernel ${kernel}`);
  }
}

/** The kernel of backend.ts that a workload calls, where its name is another one. */
const kernelOf: Readonly<Record<string, string>> = { add: 'binary', geluTanh: 'unary', geluTanhBackward: 'unaryBackward' };
const lacks = ({ kernel }: Workload): boolean => (backend.missing as readonly string[]).includes(kernelOf[kernel] ?? kernel);

const wanted = workloads.filter(({ kernel }) => args.only.length === 0 || args.only.includes(kernel));
const chosen = wanted.filter((w) => !lacks(w));
for (const kernel of new Set(wanted.filter(lacks).map((w) => w.kernel)))
  console.error(`bench: this build of the addon lacks ${kernel}`);
if (chosen.length === 0) {
  console.error(
    `bench: --only=${args.only} names no kernel; there are ${[...new Set(workloads.map((w) => w.kernel))].join(', ')}`,
  );
  process.exit(2);
}
print(describeMachine(backend));
const { running, missing } = args.ours ? { running: [], missing: [] } : await startKernelCompetitors(threads);
for (const c of running) print(`beside ${c.name} ${c.version}`);
for (const { name, why } of missing) print(`MISSING ${name}: ${why}`);

const peaks = new Peaks(backend);
peaks.measureBandwidth();
const measured: { workload: Workload; seconds: number[]; others: Map<string, number[]> }[] = [];
for (const workload of chosen) {
  using _ = scope(workload.kernel);
  const call = noGrad(() => ours(workload));
  const seconds: number[] = [];
  const others = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    // Everybody once a round: what slows the machine for a while slows them all.
    peaks.measureFlops();
    seconds.push(...timeCalls(call, () => backend.sync(), repeats, atLeast));
    // Others' emulation of bf16, where the machine has no such products, takes minutes and tells nothing.
    for (const c of workload.dtype === 'bf16' && peaks.flopsBf16 === 0 ? [] : running) {
      const theirs = await c.time(workload, repeats, atLeast);
      if (theirs) others.set(c.name, [...(others.get(c.name) ?? []), ...theirs]);
    }
  }
  measured.push({ workload, seconds, others });
  if (!args.json && process.stderr.isTTY) process.stderr.write(`\r${measured.length}/${chosen.length} `);
}
peaks.measureBandwidth();
for (const c of running) c.close();
if (memory.liveBytes !== 0) throw new Error(`bench: ${memory.liveBytes} bytes were not freed`);

// ---- results

const rate = ({ work }: Workload, seconds: number): number => work / seconds;
const G = (x: number): string => (x / 1e9).toFixed(x < 1e10 ? 1 : 0);

if (args.json) {
  const peak = (kernel: string, dtype: string, value: number, unit: string): void =>
    console.log(
      JSON.stringify({ kernel, shape: 'measured in this run', dtype, threads, isa, rate: value, unit, ratioToPeak: 1 }),
    );
  peak('peak', 'f32', peaks.flops, 'flop/s');
  peak('peak', 'bf16', peaks.flopsBf16, 'flop/s');
  peak('bandwidth', 'f32', peaks.bandwidth, 'B/s');
  peak('updateBandwidth', 'f32', peaks.updateBandwidth, 'B/s');
  for (const { workload, seconds, others } of measured) {
    const { kernel, shape, dtype, unit } = workload;
    const mid = median(seconds);
    console.log(
      JSON.stringify({
        kernel,
        shape,
        dtype,
        threads,
        isa,
        rate: rate(workload, mid),
        bestRate: rate(workload, best(seconds)),
        unit,
        ratioToPeak: rate(workload, mid) / peaks.of(unit, dtype, kernel),
        bestRatioToPeak: rate(workload, best(seconds)) / peaks.of(unit, dtype, kernel),
        repeats: seconds.length,
        competitors: Object.fromEntries(
          [...others].map(([name, s]) => [
            name,
            { rate: rate(workload, median(s)), bestRate: rate(workload, best(s)), ourRatio: median(s) / mid },
          ]),
        ),
        missing: missing.map((m) => m.name),
      }),
    );
  }
} else {
  print(
    `\npeak of this run: ${G(peaks.flops)} GF/s f32${peaks.flopsBf16 ? `, ${G(peaks.flopsBf16)} GF/s bf16` : ' (no bf16 products on this machine: bf16 is measured against f32)'}, reading ${G(peaks.bandwidth)} GB/s, updating (four streams read, three written: the measure of adamW) ${G(peaks.updateBandwidth)} GB/s`,
  );
  print(
    'GF/s or GB/s; the median of all repeats, then the best; of others the median and, after it, how many times faster ours is\n',
  );
  const head = ['kernel', 'shape', 'dtype', 'unit', 'ours', 'best', 'of peak', ...running.flatMap((c) => [c.name, '×'])];
  print(
    table(
      head,
      measured.map(({ workload: w, seconds, others }) => [
        w.kernel,
        w.shape,
        w.dtype,
        w.unit === 'flop/s' ? 'GF/s' : 'GB/s',
        G(rate(w, median(seconds))),
        G(rate(w, best(seconds))),
        percent(rate(w, median(seconds)) / peaks.of(w.unit, w.dtype, w.kernel)),
        ...running.flatMap((c) => {
          const s = others.get(c.name);
          return s ? [G(rate(w, median(s))), times(median(s) / median(seconds))] : ['–', ''];
        }),
      ]),
    ),
  );
}
