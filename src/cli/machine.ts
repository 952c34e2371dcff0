/** What this computer is and which back-end runs here: for `doctor`, `estimate` and the header of a run. */
import { readFileSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { backend } from '../tensor/index.ts';

export interface Machine {
  node: string;
  platform: string;
  cpu: string;
  cores: number;
  memoryBytes: number;
  /** What a new run could have now, container limits included. */
  availableBytes: number;
}

export function machine(): Machine {
  const all = cpus();
  return {
    node: process.version,
    platform: `${platform()} ${release()} ${arch()}`,
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
    availableBytes: availableMemory(),
  };
}

/** Memory that can be had without swapping: the least of what the system, the container and the shell's limit say. */
export function availableMemory(): number {
  const all = [process.availableMemory()];
  const first = (path: string, pattern: RegExp, unit: number) => {
    try {
      const found = pattern.exec(readFileSync(path, 'utf8'));
      if (found) all.push(Number(found[1]) * unit);
    } catch {
      // not Linux, or no such limit
    }
  };
  first('/proc/meminfo', /MemAvailable:\s+(\d+) kB/, 1024);
  first('/proc/self/limits', /Max address space\s+(\d+)/, 1);
  return Math.min(...all);
}

/** What the native back-end can do beyond the others. */
interface Native {
  readonly missing: readonly string[];
  peakFlops(threads?: number, bf16?: boolean): number;
}

export interface BackendInfo {
  name: string;
  isa: string;
  threads: number;
  memoryLimitBytes: number;
  /** Why it is not the native one; empty when it is. */
  reason: string;
  missingKernels: string[];
}

/** Chooses the back-end before the first tensor: `backend` and `threads` of the settings. */
export function chooseBackend({ backend: wanted, threads }: { backend: string | null; threads: number | null }): void {
  if (wanted !== null) process.env['QKV_BACKEND'] = wanted;
  if (threads !== null) process.env['QKV_THREADS'] = String(threads);
}

export function backendInfo(): BackendInfo {
  let reason = '';
  let current: ReturnType<typeof backend>;
  try {
    current = backend();
  } catch (error) {
    // The addon is there and does not load (another Node, another libc): say so, and name what would still work.
    return {
      name: 'none',
      isa: '',
      threads: 0,
      memoryLimitBytes: 0,
      reason: error instanceof Error ? error.message.split('\n')[0] : String(error),
      missingKernels: [],
    };
  }
  if (current.name === 'reference') {
    reason = process.env['QKV_BACKEND'] === 'reference' ? 'QKV_BACKEND=reference' : 'the addon is not built';
  }
  const { isa, threads, memoryLimitBytes } = current.describe();
  return {
    name: current.name,
    isa,
    threads,
    memoryLimitBytes,
    reason,
    missingKernels: current.name === 'native' ? [...(current as unknown as Native).missing] : [],
  };
}

/** Share of the peak that an estimate assumes. */
export const PEAK_SHARE = 0.4;

/**
 * Floating-point operations a second that training reaches: the peak of the machine, measured for a moment, times the share that models of the
 * presets get of it: 0.28 to 0.64 on three settings of a busy machine. The reference back-end does about 0.2 GFLOP/s.
 */
export function trainingFlops(bf16 = false): number {
  const b = backend();
  if (b.name !== 'native') return 0.2e9;
  const native = b as unknown as Native;
  const peak = (bf16 && native.peakFlops(undefined, true)) || native.peakFlops();
  return PEAK_SHARE * peak;
}
