import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// `npm run engines`: not a part of `npm test`, since the engines are installed beside the project (test/engines/install.sh).
export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['test/engines/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 120_000,
  },
});
