// llama.cpp through node-llama-cpp. Arguments: the folder of the packages, the GGUF file, threads, sequences at once, places a sequence.
// A line `prefill T` or `decode T N` in: T tokens of prompt a sequence (and N more, greedily); a line of JSON out.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { load, versionOf } from './protocol.mjs';

const [, , , file, threads, sequences, places] = process.argv;
const { getLlama, LlamaLogLevel } = await load('node-llama-cpp');
const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);
const peakBytes = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;

const baseBytes = peakBytes();
const llama = await getLlama({
  gpu: false,
  build: 'never',
  progressLogs: false,
  logLevel: LlamaLogLevel.error,
  maxThreads: Number(threads),
});
const model = await llama.loadModel({ modelPath: file });
const B = Number(sequences);
const context = await model.createContext({
  sequences: B,
  contextSize: Number(places),
  batchSize: Math.max(512, B * 64),
  threads: { ideal: Number(threads), min: Number(threads) },
});
const all = Array.from({ length: B }, () => context.getSequence());
const V = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
const prompt = (T, b) => Array.from({ length: T }, (_, t) => (t * 7919 + b * 104729 + 13) % (V - 1));

say({ version: versionOf('node-llama-cpp'), system: llama.systemInfo, threads: context.currentThreads, baseBytes });
for await (const line of createInterface({ input: process.stdin })) {
  const [what, T, N] = line.split(' ');
  for (const s of all) await s.clearHistory();
  const began = performance.now();
  const writers = all.map((s, b) => s.evaluate(prompt(Number(T), b), { temperature: 0, yieldEogToken: true }));
  await Promise.all(writers.map((w) => w.next()));
  const prefillSeconds = (performance.now() - began) / 1000;
  const seconds = [];
  const ids = [];
  if (what === 'decode')
    for (let n = 0; n < Number(N); n++) {
      const start = performance.now();
      const step = await Promise.all(writers.map((w) => w.next()));
      seconds.push((performance.now() - start) / 1000);
      ids.push(step[0].value);
    }
  for (const w of writers) await w.return();
  say({ prefillSeconds, seconds, ids: ids.slice(0, 16), peakBytes: peakBytes() });
}
process.exit(0);
