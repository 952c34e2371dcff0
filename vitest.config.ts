import { defineConfig } from 'vitest/config';

const report = process.env.QKV_TEST_REPORT; // .ci/run counts the tests from it

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/engines/**'], // npm run engines
    pool: 'forks',
    execArgv: ['--expose-gc'], // a test of the garbage collector's part
    maxWorkers: 2,
    setupFiles: ['test/setup.ts'],
    testTimeout: 300_000, // for what hangs: how long a test takes is not what it tests
    hookTimeout: 300_000,
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
  },
});
