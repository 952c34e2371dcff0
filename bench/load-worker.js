// One measurement of load.ts in a process of its own, without a loader of TypeScript in it: node load-worker.js read|load FOLDER
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';

const [what, folder] = process.argv.slice(2);
const status = (key) => Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024;
const say = (start, before) =>
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, peak: status('VmHWM'), resident: status('VmRSS'), before }));

if (what === 'load') {
  const { loadPretrained } = await import('qkv/io');
  const { backend } = await import('qkv/tensor');
  const b = backend(); // the addon is there before the clock runs
  const before = status('VmRSS');
  const start = performance.now();
  loadPretrained(folder);
  b.sync();
  say(start, before);
} else {
  const before = status('VmRSS');
  const start = performance.now();
  const piece = new Uint8Array(4 * 2 ** 20);
  const fd = openSync(join(folder, 'model.safetensors'), 'r');
  while (readSync(fd, piece) > 0);
  closeSync(fd);
  say(start, before);
}
