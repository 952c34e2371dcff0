// One run of the suite in a process of its own: a kernel that crashes takes only this process along, and instruction set and threads are chosen
// by the environment before the addon is loaded.
//
//   npx tsx test/conformance/run.ts              the native backend against the reference
//   npx tsx test/conformance/run.ts hashes       a hash of everything each case leaves in memory, to compare runs with other settings
//   npx tsx test/conformance/run.ts memory       bytes that attention over 4,096 tokens adds to the process
//
// Environment: QKV_SEED, QKV_CASES (how many), QKV_CASE (only that one), QKV_KERNEL (only that one), QKV_ISA, QKV_THREADS.
// With QKV_PROGRESS=FILE that file always names the case that is running, and the last line of output is the report as JSON.

import { openSync, writeSync } from 'node:fs';
import { type Backend, type KernelName, kernelNames, type TypedData } from '../../src/tensor/backends/backend.ts';
import { createNative } from '../../src/tensor/backends/native/index.ts';
import { bigCases } from './big.ts';
import type { Case } from './cases.ts';
import { bits, call, caseOf, check, describeCase, results } from './conform.ts';
import { Draw } from './draw.ts';
import { execute } from './operand.ts';

export interface Report {
  isa: string;
  threads: number;
  cases: number;
  perKernel: Record<string, number>;
  failures: { kernel: string; case: number; text: string }[];
  failed: number;
  hashes: string[];
  extraBytes: number;
}

const { env } = process;
const seed = Number(env['QKV_SEED'] ?? 1);
const count = Number(env['QKV_CASES'] ?? 4000);
const single = env['QKV_CASE'];
const only = env['QKV_KERNEL'] as KernelName | undefined;
/** Where to say which case is running, so that a crash can be placed. */
const progress = env['QKV_PROGRESS'] ? openSync(env['QKV_PROGRESS'], 'w') : undefined;
if (only && !kernelNames.includes(only)) throw new Error(`QKV_KERNEL=${only}: no such kernel. One of: ${kernelNames.join(' ')}`);

const backend = createNative();
if (!backend) throw new Error('the native addon is not built: npm run build');
const { isa, threads } = backend.describe();
const report: Report = { isa, threads, cases: 0, perKernel: {}, failures: [], failed: 0, hashes: [], extraBytes: 0 };
const mode = process.argv[2] ?? 'check';

if (mode === 'memory') report.extraBytes = await attentionMemory(backend);
else {
  const first = single === undefined ? 0 : Number(single);
  for (let index = first; index < (single === undefined ? count : first + 1); index++) {
    const { kernel, drawn } = caseOf(seed, index, only);
    await one(index, kernel, drawn);
  }
  if (single === undefined) {
    let index = -1; // big cases count down from −1
    for (const { kernel, drawn } of bigCases(seed)) if (!only || only === kernel) await one(index--, kernel, drawn);
  }
}
const { failures, failed, hashes, ...rest } = report;
console.log(progress === undefined ? { ...rest, failed, missing: backend.missing } : JSON.stringify(report));

async function one(index: number, kernel: KernelName, drawn: Case): Promise<void> {
  if (progress !== undefined) writeSync(progress, `QKV_SEED=${seed} case ${index} ${kernel}`.padEnd(80), 0);
  report.cases++;
  if (backend!.missing.includes(kernel)) {
    report.failed++;
    if (!report.failures.some((failure) => failure.kernel === kernel))
      report.failures.push({ kernel, case: index, text: `${kernel}: the addon lacks it` });
    return;
  }
  report.perKernel[kernel] = (report.perKernel[kernel] ?? 0) + 1;
  if (mode === 'hashes') {
    const left = await results(backend!, kernel, drawn);
    report.hashes.push(`${index} ${kernel} ${[...left.values()].map(hash).join(' ')}`);
    return;
  }
  const wrong = await check(backend!, kernel, drawn);
  if (!wrong) return;
  report.failed++;
  if (report.failures.filter((failure) => failure.kernel === kernel).length >= 3 && single === undefined) return; // three of a kind tell enough
  const again = `QKV_SEED=${seed} QKV_CASE=${index}${only ? ` QKV_KERNEL=${only}` : ''} QKV_ISA=${isa} npx tsx test/conformance/run.ts`;
  const text = `${kernel}: ${wrong}\n${describeCase(kernel, drawn)}\n  again     ${index < 0 ? `big case ${index}` : again}`;
  report.failures.push({ kernel, case: index, text });
  console.log(`\n${text}`);
}

/** FNV-1a over the raw elements. */
function hash(data: TypedData): string {
  let h = 0x811c9dc5;
  for (const word of bits(data)) h = Math.imul(h ^ word, 0x01000193);
  return (h >>> 0).toString(16);
}

/** Attention over T tokens, forward and backward, once small to warm up and once long: what the long one adds to the process. A (T, S) matrix would be 64 MiB a head. */
async function attentionMemory(on: Backend): Promise<number> {
  const options = { scale: 0.125, left: -1, right: 0, softcap: 0, dropout: 0, seed: 1, bf16: false };
  const attend = async (T: number): Promise<number> => {
    const draw = new Draw(1);
    const heads = () => draw.input([1, 2, T, 64]);
    const [q, k, v, dy] = [heads(), heads(), heads(), heads()];
    const [y, dq, dk, dv, lse] = [heads(), heads(), heads(), heads(), draw.output([1, 2, T])];
    let extra = 0;
    const inputs = [q, k, v, dy];
    await execute(on, { inputs, outputs: [y, lse, dq, dk, dv] }, (x, [yView, lseView, ...gradients]) => {
      on.readSync!(yView!); // everything is in place
      const [now, peak] = [process.memoryUsage.rss(), process.resourceUsage().maxRSS * 1024];
      call(on, 'attention', [...x.slice(0, 3), undefined, undefined], [yView, lseView], options);
      call(
        on,
        'attentionBackward',
        [x[3], ...x.slice(0, 3), undefined, undefined, yView, lseView],
        [...gradients, undefined, undefined],
        options,
      );
      const flat = { ...lseView!, shape: [2 * T], strides: [1] };
      on.readSync!(flat);
      // What it keeps, or what it took for a while.
      extra = Math.max(process.memoryUsage.rss() - now, process.resourceUsage().maxRSS * 1024 - peak);
    });
    return extra;
  };
  await attend(64);
  return attend(4096);
}
