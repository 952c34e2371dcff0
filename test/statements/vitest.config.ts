import { defineConfig } from 'vitest/config';

// Statements that take longer than `npm test` may: `npm run statements`, and a step of .ci/run. One file at a time, since one of them measures time.
export default defineConfig({
  test: {
    include: ['test/statements/*.statement.ts'],
    pool: 'forks',
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 600_000,
  },
});
