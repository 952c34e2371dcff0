/** The kernels of other libraries, measured by small programs that stay alive during a run so that all can take turns. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Workload } from '../workloads.ts';
import { benchHome, Program, program, python, tuned } from './process.ts';

export interface KernelCompetitor {
  readonly name: string;
  readonly version: string;
  /** Seconds a call; undefined: it does not have this kernel. */
  time(w: Workload, repeats: number, atLeast: number): Promise<number[] | undefined>;
  close(): void;
}

const candidates: { name: string; command: string; args: string[]; needs: string }[] = [
  { name: 'oneDNN', command: join(benchHome, 'bin', 'onednn'), args: [], needs: join(benchHome, 'bin', 'onednn') },
  { name: 'OpenBLAS', command: join(benchHome, 'bin', 'openblas'), args: [], needs: join(benchHome, 'bin', 'openblas') },
  { name: 'PyTorch', command: python, args: [program('torch-kernels.py')], needs: python },
  ...[
    ['onnxruntime', 'onnxruntime.mjs', 'onnxruntime-node'],
    ['tfjs-wasm', 'tfjs.mjs', '@tensorflow/tfjs-backend-wasm'],
    ['jax-js', 'jax.mjs', '@jax-js/jax'],
  ].map(([name, file, pkg]) => ({
    name,
    command: process.execPath,
    args: [program(file), benchHome],
    needs: join(benchHome, 'node_modules', pkg),
  })),
];

/** Starts what is installed; says of the rest why it is not there. */
export async function startKernelCompetitors(
  threads: number,
): Promise<{ running: KernelCompetitor[]; missing: { name: string; why: string }[] }> {
  const running: KernelCompetitor[] = [];
  const missing: { name: string; why: string }[] = [];
  for (const { name, command, args, needs } of candidates) {
    if (!existsSync(needs)) {
      missing.push({ name, why: `not installed (no ${needs}); bench/competitors/install.sh installs it` });
      continue;
    }
    const child = new Program(name, command, args, tuned(threads));
    try {
      const { version } = await child.answer();
      running.push({
        name,
        version: String(version),
        async time({ kernel, dtype, layout = '-', sizes }, repeats, atLeast) {
          const words = Object.entries(sizes).map(([k, v]) => `${k}=${v}`);
          const answer = await child.ask([kernel, dtype, layout, repeats, atLeast, ...words].join(' '));
          return answer.seconds as number[] | undefined;
        },
        close: () => child.close(),
      });
    } catch (e) {
      child.close();
      missing.push({ name, why: `installed, but does not start: ${(e as Error).message}` });
    }
  }
  return { running, missing };
}
