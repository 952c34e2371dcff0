// Our contender of bench/train.ts: GPT-2 through the API that users call, without a loader of TypeScript in the process.
//   train-worker.js CONFIGURATION(JSON) PRECISION      then lines `steps N` in, JSON out
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { createBatches, memoryStream } from 'qkv/data';
import { GPT2 } from 'qkv/models';
import { parameterCount, stateDict } from 'qkv/nn';
import { backend as engine, memory, Rng, setPrecision, startProfile } from 'qkv/tensor';
import { AdamW, train } from 'qkv/train';

const { V, contextLength, L, H, C, T, B } = JSON.parse(process.argv[2]);
setPrecision(process.argv[3]);
const backend = engine(); // train.ts has made sure that it is the native one
const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);

/** Most bytes that this process ever had in memory. */
function peakResident() {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

const rng = new Rng(1);
const baseBytes = peakResident();
const model = new GPT2({ vocabSize: V, contextLength, nLayer: L, nHead: H, dModel: C }, rng);
const batches = createBatches(
  memoryStream(
    Int32Array.from({ length: 100_000 }, () => rng.int(V)),
    V,
  ),
  { batchSize: B, contextLength: T, seed: 1 },
);
const loop = train(model, {
  steps: Number.POSITIVE_INFINITY,
  batch: (step) => batches.at(step * B),
  loss: (batch) => model.loss(batch),
  optimizer: new AdamW(stateDict(model)),
  schedule: () => 1e-4,
  clip: 1,
});

async function steps(n) {
  const seconds = [];
  let lossNats = Number.NaN;
  for (let i = 0; i < n; i++) {
    const start = performance.now();
    lossNats = (await loop.next()).value.lossNats;
    seconds.push((performance.now() - start) / 1000);
  }
  return { seconds, lossNats };
}

say({ version: backend.describe().isa, parameters: parameterCount(model), baseBytes });
for await (const line of createInterface({ input: process.stdin })) {
  const lag = monitorEventLoopDelay({ resolution: 5 });
  lag.enable();
  const since = startProfile();
  const result = await steps(Number(line.split(' ')[1]));
  const { idleSeconds, kernels } = since();
  lag.disable();
  // the histogram counts from the timer's own resolution on
  const lagP99Ms = Math.max(0, lag.percentile(99) / 1e6 - 5);
  say({
    ...result,
    peakBytes: peakResident(),
    tensorPeakBytes: memory.peakBytes,
    lagP99Ms,
    idleSeconds,
    kernels: Object.fromEntries(kernels),
  });
}
process.exit(0);
