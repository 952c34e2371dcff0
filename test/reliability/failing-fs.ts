import { type FileSystem, realFs } from '../../src/io/file-system.ts';

/** What happens at the n-th call: an error code, a write that stops half way without an error, or the end of the process. */
export type Fault = 'EIO' | 'ENOSPC' | 'EACCES' | 'EINTR' | 'short' | 'kill';

/** Calls that change a disk or promise that it changed. */
const faultable = [
  'openSync',
  'writeSync',
  'fsyncSync',
  'closeSync',
  'renameSync',
  'mkdirSync',
  'unlinkSync',
  'rmdirSync',
  'readdirSync',
] as const;

export class Killed extends Error {}

/**
 * A file system whose `at`-th call (from 1) fails; `calls` counts them. After `kill` every call fails, clean-up included, as for a dead process.
 * `onKill` may end the process for good.
 */
export function failingFs(
  at: number,
  fault: Fault,
  { fs = realFs, onKill = () => {} }: { fs?: FileSystem; onKill?: () => void } = {},
) {
  const state = { calls: 0, hit: '' };
  const wrapped: Record<string, unknown> = { ...fs };
  for (const name of faultable) {
    const real = fs[name] as (...args: unknown[]) => unknown;
    wrapped[name] = (...args: unknown[]) => {
      const n = ++state.calls;
      if (fault === 'kill' && n >= at) {
        onKill();
        throw new Killed(`killed at call ${at}`);
      }
      if (n !== at) return real(...args);
      state.hit = name;
      if (fault === 'short') {
        if (name !== 'writeSync') return real(...args);
        return real(args[0], args[1], args[2], Math.ceil((args[3] as number) / 2)); // half of the bytes
      }
      if (name === 'closeSync') real(...args); // a failed close has closed all the same
      throw Object.assign(new Error(`${fault}: injected, ${name}`), { code: fault });
    };
  }
  return { fs: wrapped as unknown as FileSystem, state };
}
