// Compiles native/src into native/build/qkv.node: each kernel file once per instruction set, the rest once. No tool but a C++20 compiler is needed.
//   node build.mjs [--asan | --tsan | --target=aarch64] [--jobs=2] [--verbose] [--isa=avx2,sse2 | --isa=all] [--kernels=gemm,matvec] [--out=name]
//   node build.mjs --emulate     the AVX-512 kernels for a machine with AVX2 (avx512-emulated.h), to check them where no other machine is at hand
// Variants go to folders of their own inside native/build; --isa and --kernels build a part, for work on one kernel (QKV_NATIVE then names the addon).
// Without a compiler it says what to install and exits 0: the reference backend still works.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const flags = new Set(process.argv.slice(2));
const option = (name, fallback) => [...flags].find((f) => f.startsWith(`--${name}=`))?.slice(name.length + 3) ?? fallback;

const target = option('target', { x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch);
const cross = target !== ({ x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch);
const sanitizer = flags.has('--asan') ? 'asan' : flags.has('--tsan') ? 'tsan' : '';
const emulate = flags.has('--emulate');
const variant = option('out', sanitizer || (emulate ? 'emulated' : cross ? target : ''));
const outDir = join(here, 'build', variant);
const objDir = join(outDir, 'obj');

/** Instruction sets by rising width; the narrowest is linked first, so that a function shared by several objects is the one every machine can run. */
const isas = {
  x86_64: {
    sse2: ['-msse2'],
    avx2: ['-mavx2', '-mfma', '-mf16c'],
    avx512: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512vnni', '-mfma', '-mf16c'],
    avx512bf16: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512vnni', '-mavx512bf16', '-mfma', '-mf16c'],
  },
  aarch64: { neon: [] },
}[target] ?? { generic: [] };
if (emulate) {
  const emulated = [...isas.avx2, '-include', join(here, 'avx512-emulated.h')];
  Object.assign(isas, { avx512: emulated, avx512bf16: [...emulated, '-DQKV_EMULATE_BF16'] });
}

const common = [
  '-std=c++20',
  sanitizer || emulate ? '-O1' : '-O3', // with sanitizers, and with sixteen lanes in loops, -O3 takes minutes a file
  '-g1',
  '-fPIC',
  '-fvisibility=hidden',
  '-pthread',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-ffp-contract=fast',
  '-fopenmp-simd',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-Wno-psabi',
  '-Wno-unknown-warning-option', // clang does not know the next one
  '-Wno-maybe-uninitialized', // GCC 12 raises it in its own AVX-512 headers (bug 105593)
  '-DNAPI_VERSION=8',
  ...(emulate ? ['-DQKV_EMULATED'] : []),
  // prettier-ignore
  ...({
    asan: ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined', '-fno-omit-frame-pointer'],
    tsan: ['-fsanitize=thread', '-fno-omit-frame-pointer'],
  }[sanitizer] ?? []),
];

function findCompiler() {
  const asked = process.env.CXX;
  const candidates = cross ? [`${target}-linux-gnu-g++`] : asked ? [asked] : ['g++', 'clang++', 'c++'];
  for (const name of candidates) {
    const test = spawnSync(name, ['-std=c++20', '-x', 'c++', '-fsyntax-only', '-'], {
      input: '#include <concepts>\n',
    });
    if (test.status === 0) return name;
  }
  console.log(
    `native: no C++20 compiler found (tried ${candidates.join(', ')}). The slower reference backend will be used. ` +
      (cross
        ? `Install g++-${target}-linux-gnu.`
        : process.platform === 'darwin'
          ? 'Install one with: xcode-select --install'
          : 'Install one with: apt install g++ (or dnf install gcc-c++), then npm run build.'),
  );
  process.exit(0);
}

/** The newest of a file's own text and of every header it includes from native/src, as one hash with the command line. */
function fingerprint(source, command) {
  const hash = createHash('sha256').update(command.join(' '));
  const seen = new Set();
  const visit = (file) => {
    if (seen.has(file) || !existsSync(file)) return;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    hash.update(text);
    for (const [, name] of text.matchAll(/^\s*#include "([^"]+)"/gm)) {
      visit(join(file, '..', name));
      visit(join(here, 'src', name));
    }
  };
  visit(source);
  for (const [at, arg] of command.entries()) if (arg === '-include') visit(command[at + 1]);
  return hash.digest('hex');
}

function run(command, args) {
  return new Promise((resolve) => {
    if (flags.has('--verbose')) console.log(command, args.join(' '));
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (d) => (output += d));
    child.stderr.on('data', (d) => (output += d));
    child.on('error', (e) => resolve({ ok: false, output: String(e) }));
    child.on('close', (code) => resolve({ ok: code === 0, output }));
  });
}

const compiler = findCompiler();
const version = spawnSync(compiler, ['--version']).stdout?.toString().split('\n')[0] ?? '';
const require = createRequire(import.meta.url);
let include;
try {
  include = require('node-api-headers').include_dir;
} catch {
  console.log('native: the package node-api-headers is missing; run npm install. The slower reference backend will be used.');
  process.exit(0);
}
mkdirSync(objDir, { recursive: true });
const cpp = (dir) =>
  existsSync(dir)
    ? readdirSync(dir)
        .filter((f) => f.endsWith('.cpp'))
        .sort()
        .map((f) => join(dir, f))
    : [];
const src = join(here, 'src');

const jobs = [];
const add = (source, object, extra) =>
  jobs.push({ source, object: join(objDir, object), args: [...common, ...extra, '-I', src] });
for (const file of cpp(src)) add(file, `${basename(file, '.cpp')}.o`, ['-isystem', include]);
/** What this machine's processor says it has; undefined where nothing tells. */
function processorFlags() {
  try {
    return new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].trim().split(' '));
  } catch {
    return undefined;
  }
}
/** By default the narrowest instruction set, which every machine has, and the best of this one; `--isa=all` for an addon that travels. */
function isasOfThisMachine() {
  const names = Object.keys(isas);
  const has = processorFlags();
  if (cross || !has || target !== 'x86_64') return names;
  const needs = {
    sse2: [],
    avx2: ['avx2', 'fma', 'f16c'],
    avx512: ['avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'avx512_vnni'],
  };
  needs.avx512bf16 = [...needs.avx512, 'avx512_bf16'];
  const able = names.filter((name) => needs[name].every((flag) => has.has(flag)));
  return [...new Set([able[0], able.at(-1)])];
}
const asked = option('isa', emulate ? 'avx512,avx512bf16' : undefined);
const wanted = asked === undefined ? isasOfThisMachine() : asked === 'all' ? Object.keys(isas) : asked.split(',');
const only = option('kernels')?.split(',').concat('table', 'peak');
for (const [isa, isaFlags] of Object.entries(isas).filter(([isa]) => wanted.includes(isa)))
  for (const file of cpp(join(src, 'kernels')).filter((f) => only?.includes(basename(f, '.cpp')) ?? true))
    add(file, `${basename(file, '.cpp')}.${isa}.o`, [...isaFlags, `-DQKV_ISA=${isa}`]);

const started = Date.now();
let failed = false;
let compiled = 0;
const queue = jobs.map((job) => {
  const key = fingerprint(job.source, [version, compiler, ...job.args]);
  const stamp = `${job.object}.key`;
  const fresh = existsSync(job.object) && existsSync(stamp) && readFileSync(stamp, 'utf8') === key;
  return { ...job, key, stamp, fresh };
});
const pending = queue.filter((job) => !job.fresh);
async function worker() {
  for (let job = pending.shift(); job !== undefined && !failed; job = pending.shift()) {
    // A name of this process's own, then a rename: two builds at once cannot mix their halves.
    const own = `${job.object}.${process.pid}`;
    const { ok, output } = await run(compiler, [...job.args, '-c', job.source, '-o', own]);
    if (output.trim()) console.error(output.trim());
    if (!ok) {
      console.error(`native: ${relative(here, job.source)} does not compile (${basename(job.object)})`);
      failed = true;
      return;
    }
    renameSync(own, job.object);
    writeFileSync(job.stamp, job.key);
    compiled++;
  }
}
await Promise.all(Array.from({ length: Number(option('jobs', '2')) }, worker));
if (failed) process.exit(1);

const product = join(outDir, 'qkv.node');
const linkKey = createHash('sha256')
  .update(queue.map((job) => job.key).join())
  .digest('hex');
const linkStamp = `${product}.key`;
if (!(existsSync(product) && existsSync(linkStamp) && readFileSync(linkStamp, 'utf8') === linkKey)) {
  const shared =
    process.platform === 'darwin' && !cross ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-Wl,-z,now'];
  const sanitize = common.filter((f) => f.startsWith('-fsanitize'));
  const own = `${product}.${process.pid}`;
  const { ok, output } = await run(compiler, [...shared, ...sanitize, '-pthread', '-o', own, ...queue.map((job) => job.object)]);
  if (output.trim()) console.error(output.trim());
  if (!ok) process.exit(1);
  renameSync(own, product);
  writeFileSync(linkStamp, linkKey);
}
console.log(
  `native: ${relative(join(here, '..'), product)} for ${wanted.join(', ')} (${compiled} of ${queue.length} objects compiled, ${((Date.now() - started) / 1000).toFixed(1)} s)`,
);
