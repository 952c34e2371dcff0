import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// The statements of the outline, sections 2 to 4, 7.1, 7.2, 9.1 and 9.2, by number. Each is the name of a test; those in this folder run by
// `npm run statements`.
const statements = `
2.1.1a 2.1.1b 2.1.1c 2.1.2a 2.1.2b 2.1.3a 2.1.3b
2.2.1a 2.2.2a 2.2.3a 2.2.3b 2.2.3c
2.3.1a 2.3.2a 2.3.2b 2.3.3a 2.3.3b
3.1a 3.1b 3.1c 3.2a 3.2b 3.2c 3.2d 3.3.1a 3.3.1b 3.3.2a 3.3.2b 3.3.2c 3.3.2d 3.3.2e 3.3.3a
4.1.1a 4.1.2a 4.2.1a 4.2.2a 4.2.2b 4.2.3a 4.3a 4.3b 4.3c
7.1.1 7.1.2 7.1.3 7.2a 7.2b 7.2c
9.1a 9.1b 9.2a 9.2b`
  .trim()
  .split(/\s+/);

const root = fileURLToPath(new URL('../..', import.meta.url));
const sources = ['src', 'test'].flatMap((folder) =>
  readdirSync(`${root}/${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((f) => /\.(test|statement)\.ts$/.test(f) && !f.endsWith('list.test.ts'))
    .map((f) => readFileSync(`${root}/${folder}/${f}`, 'utf8')),
);

test.each(statements)('%s is the name of a test', (number) => {
  const name = new RegExp(`['"\`]([\\d.]+[a-z]?, )*${number.replaceAll('.', '\\.')}(?![\\w.])`);
  expect(sources.some((source) => name.test(source))).toBe(true);
});
