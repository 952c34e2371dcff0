/**
 * Our contender of bench/decode.ts: GPT-2 through the API that users call. Takes a shape, a precision and a number of sequences.
 * A line `prefill T` or `decode T N` in: T tokens of prompt a sequence (and N more, greedily); a line of JSON out.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { generateBatch } from 'qkv/generate';
import { quantise, type WeightPrecision } from 'qkv/nn';
import { memory } from 'qkv/tensor';
import { randomModel, type ShapeName, shapes } from './decode-model.ts';
import { native } from './harness.ts';

const [shape, precision, sequences] = process.argv.slice(2);
const B = Number(sequences);
const say = (o: object): boolean => process.stdout.write(`${JSON.stringify(o)}\n`);
const backend = native();

/** Most bytes that this process ever had in memory. */
function peakResident(): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

const baseBytes = peakResident();
const model = randomModel(shape as ShapeName);
quantise(model, precision as WeightPrecision);
backend.trim();
const V = shapes[shape as ShapeName].vocabSize;
const prompts = (T: number): number[][] =>
  Array.from({ length: B }, (_, b) => Array.from({ length: T }, (_, t) => (t * 7919 + b * 104729 + 13) % (V - 1)));

say({ version: backend.describe().isa, baseBytes });
for await (const line of createInterface({ input: process.stdin })) {
  const [what, T, N] = line.split(' ');
  const steps = what === 'decode' ? Number(N) : 0;
  let start = performance.now();
  const clock = (): number => {
    const now = performance.now();
    const seconds = (now - start) / 1000;
    start = now;
    return seconds;
  };
  const seconds: number[] = [];
  const ids: number[] = [];
  let prefillSeconds = 0;
  for await (const step of generateBatch(model, prompts(Number(T)), { maxTokens: steps + 1, temperature: 0 })) {
    if (prefillSeconds === 0) prefillSeconds = clock();
    else {
      seconds.push(clock());
      ids.push(step[0]);
    }
  }
  say({ prefillSeconds, seconds, ids: ids.slice(0, 16), peakBytes: peakResident(), tensorPeakBytes: memory.peakBytes });
}
process.exit(0);
