// What the JavaScript programs share: a line of words in (see kernels.ts), a line of JSON out; packages come from the folder in the first argument.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const require = createRequire(join(process.argv[2], 'package.json'));
export const pathOf = (name) => require.resolve(name);
export const load = (name) => import(pathToFileURL(require.resolve(name)).href);
export const versionOf = (name) =>
  JSON.parse(readFileSync(join(process.argv[2], 'node_modules', name, 'package.json'), 'utf8')).version;

/** n roughly normal numbers, the same each time. */
export function normal(n) {
  const x = new Float32Array(n);
  let state = 1;
  for (let i = 0; i < n; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    x[i] = state / 2 ** 31 - 1;
  }
  return x;
}

/** Seconds a call of n calls; `call` may return a promise. */
async function timed(call, n) {
  const start = performance.now();
  for (let i = 0; i < n; i++) await call();
  return (performance.now() - start) / 1000 / n;
}

/** `make({ kernel, dtype, layout, sizes })` → { call, dispose }, or undefined where the library has no such kernel. */
export async function serve(version, make) {
  const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);
  say({ version });
  let ready = { line: '', program: undefined };
  for await (const line of createInterface({ input: process.stdin })) {
    const [kernel, dtype, layout, repeats, atLeast, ...rest] = line.split(' ');
    try {
      if (ready.line !== line) {
        ready.program?.dispose?.();
        ready = { line: '', program: undefined };
        const sizes = Object.fromEntries(rest.map((word) => [word.split('=')[0], Number(word.split('=')[1])]));
        ready = { line, program: await make({ kernel, dtype, layout, sizes }) };
      }
      if (!ready.program) {
        say({ skip: 'no such kernel' });
        continue;
      }
      const { call } = ready.program;
      await timed(call, 1);
      const once = await timed(call, 1);
      const n = Math.max(1, Math.ceil(Number(atLeast) / once));
      const seconds = [];
      // A call of half a second is its own repeat: the other rounds bring more.
      if (once > 0.5) seconds.push(once);
      else for (let r = 0; r < Number(repeats); r++) seconds.push(await timed(call, n));
      say({ seconds });
    } catch (e) {
      ready = { line: '', program: undefined };
      say({ skip: String(e?.message ?? e).slice(0, 200) });
    }
  }
  process.exit(0);
}
