/**
 * Writing: tokens/s of GPT-2 124M (random weights, the same for everybody), one text and eight at once, and of reading a prompt of 256 tokens; beside
 * llama.cpp through node-llama-cpp on GGUF files of our own writer and onnxruntime-node on ONNX files of ours, each with one thread and with all,
 * whichever is faster.
 *   npm run bench -- decode [--only=f32,bf16,int8,int4] [--ours] [--quick] [--json]
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchHome, Program, program } from './competitors/process.ts';
import { ggufFile, onnxFile, type ShapeName, shapes, weightCount } from './decode-model.ts';
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

const args = parseArguments();
const print = printer(args);
const backend = native();
const { isa, threads } = backend.describe();
const shape: ShapeName = args.quick ? 'gpt2-small' : 'gpt2-124M';
const precisions = ['f32', 'bf16', 'int8', 'int4'].filter((p) => args.only.length === 0 || args.only.includes(p));
if (precisions.length === 0) {
  console.error(`bench: --only=${args.only} names no precision; there are f32, bf16, int8, int4`);
  process.exit(2);
}
const turns = args.quick ? 2 : 5;
/** Tokens of prompt before the writing that is timed, tokens written a turn, and the prompt whose reading is timed. */
const [promptTokens, written, prefillTokens] = [16, args.quick ? 16 : 48, 256];
const peaks = new Peaks(backend);
const missing = new Map<string, string>();

interface Contender {
  /** `ours`, or the library. */
  name: string;
  child: Program;
  threads: number;
  version: string;
  decode: number[]; // seconds a step, all turns
  prefill: number[]; // seconds
  ids: number[];
  peakBytes: number;
}

async function start(name: string, command: string, argv: string[], count: number): Promise<Contender | undefined> {
  const child = new Program(name, command, argv, process.env); // llama.cpp pins its threads worse when OpenMP is told how
  try {
    const { version } = await child.answer();
    return { name, child, threads: count, version: String(version), decode: [], prefill: [], ids: [], peakBytes: 0 };
  } catch (e) {
    child.close();
    if (name === 'ours') throw e;
    missing.set(name, (e as Error).message);
    return undefined;
  }
}

const libraries = ['llama.cpp', 'onnxruntime'];
async function contenders(precision: string, B: number): Promise<Contender[]> {
  const worker = fileURLToPath(new URL('decode-worker.ts', import.meta.url));
  const all = [await start('ours', process.execPath, [...process.execArgv, worker, shape, precision, String(B)], threads)];
  const places = prefillTokens + written + 64;
  for (const name of args.ours ? [] : libraries) {
    const pkg = name === 'llama.cpp' ? 'node-llama-cpp' : 'onnxruntime-node';
    if (!existsSync(join(benchHome, 'node_modules', pkg))) {
      missing.set(name, `no ${pkg} in ${benchHome}; bench/competitors/install.sh installs it`);
      continue;
    }
    let argv: (count: number) => string[];
    if (name === 'llama.cpp')
      argv = (count) => [
        program('llama.mjs'),
        benchHome,
        ggufFile(shape, precision),
        String(count),
        String(B),
        String(B * places),
      ];
    else {
      try {
        const file = await onnxFile(shape, precision);
        const sizes = JSON.stringify({ ...shapes[shape], places });
        argv = (count) => [program('onnx-decoder.mjs'), benchHome, file, String(count), String(B), sizes];
      } catch (e) {
        missing.set(`${name} ${precision}`, (e as Error).message);
        continue;
      }
    }
    for (const count of new Set([1, threads])) all.push(await start(name, process.execPath, argv(count), count));
  }
  return all.filter((c) => c !== undefined);
}

async function turn(c: Contender, prefill: boolean): Promise<void> {
  const a = await c.child.ask(`decode ${promptTokens} ${written}`);
  c.decode.push(...(a.seconds as number[]));
  c.ids = a.ids as number[];
  if (prefill) {
    const b = await c.child.ask(`prefill ${prefillTokens} 0`);
    c.prefill.push(b.prefillSeconds as number);
  }
  c.peakBytes = Number(a.peakBytes);
}

/** Bytes that one step must read: every weight once, and the keys and values of the texts, f32. */
function bytesPerStep(precision: string, B: number): number {
  const { nLayer, dModel } = shapes[shape];
  const perWeight = { f32: 4, bf16: 2, int8: 8.5 / 8, int4: 4.5 / 8 }[precision]!;
  return weightCount(shape) * perWeight + B * 2 * nLayer * dModel * 4 * (promptTokens + written / 2);
}

print(describeMachine(backend));
print(
  `${shape}: ${(weightCount(shape) / 1e6).toFixed(1)} M weights a token; ${written} tokens after a prompt of ${promptTokens}, and a prompt of ${prefillTokens}; ${turns} turns, in turns with the others`,
);
const rows: string[][] = [];
/** Written when all is measured: a share of the limit is one of the highest that the run has seen. */
const reports: (() => void)[] = [];
for (const precision of precisions)
  for (const B of [1, 8]) {
    const all = await contenders(precision, B);
    for (const c of all) await turn(c, B === 1); // warms up: compiles, touches its memory
    for (const c of all) {
      c.decode = [];
      c.prefill = [];
    }
    for (let t = 0; t < turns; t++) {
      peaks.measureBandwidth();
      peaks.measureFlops();
      for (const c of all) await turn(c, B === 1);
    }
    for (const c of all) c.child.close();
    reports.push(() => report(precision, B, all));
  }

function report(precision: string, B: number, all: readonly Contender[]): void {
  const us = all[0];
  const others = all.slice(1);
  const rate = (c: Contender, pick = median): number => B / pick(c.decode);
  const prefillRate = (c: Contender, pick = median): number => prefillTokens / pick(c.prefill);
  const fastest = (name: string, by: (c: Contender) => number): Contender | undefined =>
    others.filter((c) => c.name === name).sort((a, b) => by(b) - by(a))[0];
  const flopsPerToken = 2 * weightCount(shape);
  const flopsPerPromptToken = flopsPerToken - 2 * shapes[shape].vocabSize * shapes[shape].dModel; // the head is asked for one place
  const measured = [
    { what: 'decode', by: rate, limit: (B * peaks.bandwidth) / bytesPerStep(precision, B), flops: flopsPerToken },
    ...(B === 1
      ? [{ what: 'prefill', by: prefillRate, limit: peaks.flops / flopsPerPromptToken, flops: flopsPerPromptToken }]
      : []),
  ];
  for (const { what, by, limit, flops } of measured) {
    const ours = by(us);
    const config = what === 'decode' ? `${shape} decode batch ${B}` : `${shape} prefill ${prefillTokens}`;
    if (args.json)
      console.log(
        JSON.stringify({
          config,
          precision,
          tokensPerSecond: ours,
          bestTokensPerSecond: by(us, best),
          peakBytes: us.peakBytes,
          mfu: (ours * flops) / peaks.flops,
          ofLimit: ours / limit,
          threads,
          isa,
          bandwidth: peaks.bandwidth,
          peakFlops: peaks.flops,
          competitors: Object.fromEntries(
            others.map((c) => [
              `${c.name} ${c.threads}t`,
              {
                version: c.version,
                tokensPerSecond: by(c),
                bestTokensPerSecond: by(c, best),
                peakBytes: c.peakBytes,
                ourRatio: ours / by(c),
                sameIds: c.ids.join() === us.ids.join(),
              },
            ]),
          ),
          missing: [...missing.keys()],
        }),
      );
    rows.push([
      config.slice(shape.length + 1),
      precision,
      ours.toFixed(0),
      by(us, best).toFixed(0),
      percent(ours / limit),
      megabytes(us.peakBytes),
      ...libraries.flatMap((name) => {
        const c = fastest(name, by);
        if (!c) return ['–', '', '', '', ''];
        return [by(c).toFixed(0), by(c, best).toFixed(0), String(c.threads), megabytes(c.peakBytes), times(ours / by(c))];
      }),
    ]);
  }
}
for (const r of reports) r();
print(
  `\n${table(
    [
      ...['', 'weights', 'tokens/s', 'best', 'of limit', 'memory'],
      ...libraries.flatMap((name) => [name, 'best', 'threads', 'memory', 'ours ×']),
    ],
    rows,
  )}`,
);
print(
  `\nof limit: writing against the weights (and keys) read once a step at ${(peaks.bandwidth / 1e9).toFixed(0)} GB/s, reading against ${(peaks.flops / 1e9).toFixed(0)} f32 GF/s, both the highest of this run`,
);
for (const [name, why] of missing) print(`\nMISSING ${name}: ${why}`);
process.exit(0);
