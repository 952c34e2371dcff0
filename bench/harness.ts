/** What every benchmark shares: arguments, timing, the machine's limits, tables and rows. */
import { cpus, loadavg } from 'node:os';
import { backend } from 'qkv/tensor';
import type { NativeBackend } from '../src/tensor/backends/native/index.ts';

export interface Arguments {
  /** One JSON object a row on stdout, and nothing else there. */
  json: boolean;
  /** Fewer repeats and steps: to see that everything runs, not to quote. */
  quick: boolean;
  /** No other library. */
  ours: boolean;
  /** Names to keep; empty: all. */
  only: string[];
  /** Those that only one benchmark knows. */
  flags: ReadonlySet<string>;
  /** What is no flag. */
  rest: string[];
}

export function parseArguments(own: readonly string[] = [], argv = process.argv.slice(2)): Arguments {
  const known = ['--json', '--quick', '--ours', ...own];
  for (const a of argv)
    if (a.startsWith('--') && !known.includes(a) && !a.startsWith('--only=')) {
      console.error(`bench: unknown option ${a}; there are ${known.join(', ')} and --only=NAME,NAME`);
      process.exit(2);
    }
  return {
    json: argv.includes('--json'),
    quick: argv.includes('--quick'),
    ours: argv.includes('--ours'),
    only: argv.flatMap((a) => (a.startsWith('--only=') ? a.slice(7).split(',') : [])),
    flags: new Set(argv.filter((a) => own.includes(a))),
    rest: argv.filter((a) => !a.startsWith('--')),
  };
}

/** Prints unless the output is JSON. */
export const printer =
  ({ json }: Arguments) =>
  (text: string): void => {
    if (!json) console.log(text);
  };

export function median(xs: readonly number[]): number {
  const s = [...xs].sort((a, b) => a - b);
  const m = s.length >> 1;
  return s.length % 2 ? s[m] : (s[m - 1] + s[m]) / 2;
}
export const best = (xs: readonly number[]): number => Math.min(...xs);

const now = (): number => performance.now() / 1000;

/** Seconds of one call, `repeats` times. Short calls are made in a row until `atLeast` seconds have passed, so that the clock and one wake of the threads do not count. */
export function timeCalls(call: () => void, sync: () => void, repeats: number, atLeast = 0.01): number[] {
  const timed = (n: number): number => {
    const start = now();
    for (let i = 0; i < n; i++) call();
    sync();
    return (now() - start) / n;
  };
  timed(1); // first touch of memory
  const n = Math.max(1, Math.ceil(atLeast / timed(1)));
  return Array.from({ length: repeats }, () => timed(n));
}

/** The native backend, or a message and the end. */
export function native(): NativeBackend {
  const b = backend();
  if (b.name === 'native') return b as NativeBackend;
  console.error('bench: the native addon is not built: npm run build (it needs a C++20 compiler)');
  process.exit(1);
}

/** The denominators of every ratio, measured in this run; a later, faster measurement replaces an earlier one. */
export class Peaks {
  flops = 0;
  /** 0 where the machine has no bf16 products. */
  flopsBf16 = 0;
  /** Bytes a second of reading memory that is in no cache. */
  bandwidth = 0;
  /** Bytes a second of reading four such streams and writing three of them back: what AdamW does. */
  updateBandwidth = 0;
  constructor(readonly backend: NativeBackend) {}
  measureFlops(): void {
    this.flops = Math.max(this.flops, this.backend.peakFlops());
    this.flopsBf16 = Math.max(this.flopsBf16, this.backend.peakFlops(undefined, true));
  }
  measureBandwidth(): void {
    this.bandwidth = Math.max(this.bandwidth, this.backend.readBandwidth());
    this.updateBandwidth = Math.max(this.updateBandwidth, this.backend.updateBandwidth());
  }
  /** Where the machine has no bf16 products, bf16 is emulated in f32 and measured against its peak. */
  of(unit: 'flop/s' | 'B/s', dtype: string, kernel = ''): number {
    if (unit === 'B/s') return kernel === 'adamW' ? this.updateBandwidth : this.bandwidth;
    return (dtype === 'bf16' && this.flopsBf16) || this.flops;
  }
}

/** One line on the machine and on what else runs on it. */
export function machine(backend: NativeBackend): { cpu: string; isa: string; threads: number; node: string; load: number } {
  const { isa, threads } = backend.describe();
  return { cpu: cpus()[0]?.model.trim() ?? '?', isa, threads, node: process.version, load: Number(loadavg()[0].toFixed(2)) };
}
export function describeMachine(backend: NativeBackend): string {
  const m = machine(backend);
  const busy = m.load > 0.5 ? ` · LOAD ${m.load} before the start: the figures are not to be quoted` : '';
  return `${m.cpu} · ${m.isa} · ${m.threads} threads · Node ${m.node}${busy}`;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const width = head.map((h, c) => Math.max(h.length, ...rows.map((r) => (r[c] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, c) => (c < 2 ? cell.padEnd(width[c]) : cell.padStart(width[c])))
      .join('  ')
      .trimEnd();
  return [line(head), width.map((w) => '─'.repeat(w)).join('──'), ...rows.map(line)].join('\n');
}

export const percent = (x: number): string => `${(100 * x).toFixed(0)} %`;
export const times = (x: number): string => `${x.toFixed(2)}×`;
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
