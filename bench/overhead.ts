/**
 * What an operation costs in JavaScript (the kernels are given nothing to do), and whether memory grows with the steps.
 *   npm run bench -- overhead [--quick] [--json]
 * Goals: ≤ 2 µs an operation in the median with all bookkeeping of the tape; ≤ 1 MB of resident memory per 1,000 steps; bytes live after = before.
 */
import { GPT2 } from 'qkv/models';
import { dispose, stateDict } from 'qkv/nn';
import { layerNorm, linear, memory, noGrad, Rng, scope, Tensor } from 'qkv/tensor';
import { AdamW, train } from 'qkv/train';
import { best, describeMachine, median, native, parseArguments, printer, table } from './harness.ts';

const args = parseArguments();
const print = printer(args);
const backend = native();
print(describeMachine(backend));

// ---- one operation

const rng = new Rng(1);
const parameter = (...shape: number[]): Tensor => Tensor.normal(shape, 1, rng).asParameter();
const x = parameter(1, 2, 4); // as in a model: three axes
const b = parameter(1, 2, 4);
const w = parameter(4, 4);
const bias = parameter(4);

/** Each takes the tensor so far to the next one: a chain of one operation. */
const chains: Record<string, (y: Tensor) => Tensor> = {
  add: (y) => y.add(b),
  'multiply by a number': (y) => y.mul(0.5),
  tanh: (y) => y.tanh(),
  linear: (y) => linear(y, w, bias),
  layerNorm: (y) => layerNorm(y, bias, bias),
  'reshape (a view)': (y) => y.reshape(y.shape.length === 3 ? [8] : [1, 2, 4]),
};
const LENGTH = 64;
const ROUNDS = args.quick ? 200 : 2000;

/** µs of JavaScript an operation: made and recorded; made, recorded and freed with its scope; differentiated and freed. */
function cost(next: (y: Tensor) => Tensor) {
  const plain: number[] = [];
  const recorded: number[] = [];
  const back: number[] = [];
  const chain = (): Tensor => {
    let y = x;
    for (let i = 0; i < LENGTH; i++) y = next(y);
    return y;
  };
  const us = (from: number): number => ((performance.now() - from) * 1000) / LENGTH;
  for (let round = 0; round < ROUNDS; round++) {
    backend.sync(); // an empty queue: its end is never waited for
    let at = performance.now();
    noGrad(() => {
      using _ = scope();
      chain();
    });
    plain.push(us(at));
    backend.sync();
    at = performance.now();
    {
      using _ = scope();
      chain();
    }
    recorded.push(us(at));
    backend.sync();
    {
      using _ = scope();
      const y = chain();
      const dy = Tensor.ones(y.shape);
      backend.sync();
      at = performance.now();
      y.backwardFrom(dy);
      back.push(us(at));
    }
  }
  return { plain, recorded, back };
}

const overhead = Object.entries(chains).map(([name, next]) => ({ name, ...cost(next) }));

// ---- thousands of steps

const steps = args.quick ? 1000 : 10_000;
const size = { vocabSize: 29, contextLength: 8, nLayer: 2, nHead: 2, dModel: 16 };
const ids = Int32Array.from({ length: 2 * 8 }, () => rng.int(size.vocabSize));

/** The slope of a straight line through (step, bytes), in bytes a step. */
function slope(points: readonly [step: number, bytes: number][]): number {
  const n = points.length;
  const mx = points.reduce((s, [p]) => s + p, 0) / n;
  const my = points.reduce((s, [, q]) => s + q, 0) / n;
  return points.reduce((s, [p, q]) => s + (p - mx) * (q - my), 0) / points.reduce((s, [p]) => s + (p - mx) ** 2, 0);
}

async function growth() {
  const before = memory.liveBytes;
  const model = new GPT2(size, new Rng(1));
  const optimizer = new AdamW(stateDict(model));
  const live = memory.liveBytes;
  let worst = 0;
  const resident: [number, number][] = [];
  const heap: [number, number][] = [];
  const options = {
    steps: steps * 1.2,
    batch: () => ({ inputs: ids, targets: ids, shape: [2, 8] as const }),
    loss: (batch: { inputs: Int32Array; targets: Int32Array; shape: readonly [number, number] }) => model.loss(batch),
    optimizer,
    schedule: () => 1e-3,
    clip: 1,
  };
  const start = performance.now();
  for await (const { step } of train(model, options)) {
    worst = Math.max(worst, Math.abs(memory.liveBytes - live));
    // the first sixth warms up: compiled code, the arena, the heap's own size
    if (step >= steps * 0.2 && step % (steps / 50) === 0) {
      globalThis.gc?.();
      const { rss, heapUsed } = process.memoryUsage();
      resident.push([step, rss]);
      heap.push([step, heapUsed]);
    }
  }
  const seconds = (performance.now() - start) / 1000;
  optimizer.dispose();
  dispose(model);
  return {
    steps,
    microsecondsPerStep: (seconds * 1e6) / options.steps,
    residentBytesPer1000Steps: slope(resident) * 1000,
    heapBytesPer1000Steps: slope(heap) * 1000,
    residentBytes: resident.at(-1)![1],
    worstLiveBytesAfterAStep: worst,
    liveBytesLeft: memory.liveBytes - before,
  };
}
const memoryRow = await growth();
for (const t of [x, b, w, bias]) t.free();

// ---- results

if (args.json) {
  for (const { name, plain, recorded, back } of overhead)
    console.log(
      JSON.stringify({
        kernel: 'overhead',
        operation: name,
        unit: 'µs',
        plain: median(plain),
        recorded: median(recorded),
        backward: median(back),
        withTape: median(recorded) + median(back),
        best: { plain: best(plain), recorded: best(recorded), backward: best(back) },
      }),
    );
  console.log(JSON.stringify({ kernel: 'memory', ...memoryRow }));
} else {
  const cells = (xs: number[]): string[] => [median(xs).toFixed(2), best(xs).toFixed(2)];
  print(`\nµs of JavaScript an operation, median and best of ${ROUNDS} chains of ${LENGTH}; goal: recorded ≤ 2.00\n`);
  print(
    table(
      ['operation', '', 'plain', 'best', 'recorded', 'best', 'its backward', 'best'],
      overhead.map(({ name, plain, recorded, back }) => [name, '', ...cells(plain), ...cells(recorded), ...cells(back)]),
    ),
  );
  const kB = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`;
  const m = memoryRow;
  print(`
${m.steps.toLocaleString('en')} steps of a decoder of 2 layers and 16 channels, ${m.microsecondsPerStep.toFixed(0)} µs each
  resident memory       ${kB(m.residentBytesPer1000Steps)} per 1,000 steps (goal ≤ 1,000 kB), ${(m.residentBytes / 1e6).toFixed(0)} MB at the end
  JavaScript heap       ${kB(m.heapBytesPer1000Steps)} per 1,000 steps
  live tensor bytes     at most ${m.worstLiveBytesAfterAStep} more after a step than before the first; ${m.liveBytesLeft} left at the end`);
}
