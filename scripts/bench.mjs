// npm run bench -- kernels | train | overhead | tokenizers | recipe NAME [--json] [--quick]: starts the benchmark of that name in bench/ (TypeScript, through tsx).
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bench = join(root, 'bench');
const recipes = readdirSync(join(bench, 'recipes'))
  .filter((f) => f.endsWith('.ts'))
  .map((f) => f.slice(0, -3));
const usage = `npm run bench -- kernels  [--only=matmul,adamW] [--ours] [--quick] [--json]   each kernel beside other libraries and the machine's peak
npm run bench -- train    [--only=small] [--ours] [--quick] [--json]           tokens/s of a whole step beside PyTorch
npm run bench -- overhead [--quick] [--json]                                   what one operation costs in JavaScript, and whether memory grows
npm run bench -- load     [--only=gpt2] [--keep] [--quick] [--json]             500 MB of safetensors from a cold disk; memory
npm run bench -- data     [--only=web,gentle] [--quick] [--json]                  MB/s of cleaning, by rule
npm run bench -- tokenizers [PATH…] [--quick] [--json]                         encoding and training beside the official package
npm run bench -- decode   [--only=f32,int8] [--ours] [--quick] [--json]        tokens/s of writing beside llama.cpp, batch 1 and 8
npm run bench -- quality  [--quick] [--json]                                   bits per byte with weights of fewer bits
npm run bench -- recipe NAME [--quick] [--json]                                a whole training run; NAME: ${recipes.join(', ')}
What it measures and what it needs: bench/README.md`;

const [what, ...rest] = process.argv.slice(2);
const [file, args] = what === 'recipe' ? [`recipes/${rest[0]}.ts`, rest.slice(1)] : [`${what}.ts`, rest];
const path = join(bench, file);
if (
  !['kernels', 'train', 'overhead', 'decode', 'load', 'quality', 'tokenizers', 'data', 'recipe'].includes(what) ||
  !existsSync(path)
) {
  console.error(what === undefined || what === '--help' ? usage : `bench: there is no ${[what, ...rest].join(' ')}\n${usage}`);
  process.exit(what === '--help' ? 0 : 2);
}
// The benchmarks measure what users run: dist/, not src/ (a loader that compiles on the way adds to every call).
const newest = (folder) =>
  Math.max(
    ...readdirSync(join(root, folder), { recursive: true })
      .filter((f) => /(?<!\.test)\.ts$|\.js$/.test(f) && !f.endsWith('.d.ts'))
      .map((f) => statSync(join(root, folder, f)).mtimeMs),
  );
if (!existsSync(join(root, 'dist')) || newest('src') > newest('dist'))
  console.error('bench: dist/ is older than src/. Run npm run build first to measure what you have written.');
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const { status, signal } = spawnSync(process.execPath, ['--expose-gc', '--import', tsx, path, ...args], { stdio: 'inherit' });
process.exit(signal ? 1 : (status ?? 1));
