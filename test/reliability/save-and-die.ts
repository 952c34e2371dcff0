import { saveCheckpoint } from '../../src/io/checkpoint.ts';
import { failingFs } from './failing-fs.ts';

// A process that saves step 4 of a run and is killed at the n-th system call: `tsx save-and-die.ts RUN N`. The tests start it.

/** The files of a checkpoint, different at every step. */
export const childFiles = (step: number) => [
  { name: 'model.safetensors', bytes: `weights of step ${step} `.repeat(500) },
  { name: 'trainer.json', bytes: JSON.stringify({ step }) },
];

if (process.argv[1]?.endsWith('save-and-die.ts')) {
  const [runFolder, n] = process.argv.slice(2);
  const { fs } = failingFs(Number(n), 'kill', { onKill: () => process.kill(process.pid, 'SIGKILL') });
  saveCheckpoint({ runFolder, step: 4, runId: 'run-a', files: childFiles(4), keep: 2, fs });
}
