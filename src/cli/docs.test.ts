import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cliPage } from './cli-docs.ts';
import { configPage } from './config-docs.ts';
import { verbs } from './verbs/index.ts';

test('docs/cli.md and docs/cli.zh.md are what the verbs say: `qkv help --markdown [--lang zh]` writes them', () => {
  const docs = new URL('../../docs/', import.meta.url);
  expect(readFileSync(new URL('cli.md', docs), 'utf8')).toBe(cliPage(verbs, 'en'));
  expect(readFileSync(new URL('cli.zh.md', docs), 'utf8')).toBe(cliPage(verbs, 'zh'));
});

test('docs/config.md and docs/config.zh.md are what the schema says: `qkv config keys --markdown [--lang zh]` writes them', () => {
  const docs = new URL('../../docs/', import.meta.url);
  expect(readFileSync(new URL('config.md', docs), 'utf8')).toBe(configPage('en'));
  expect(readFileSync(new URL('config.zh.md', docs), 'utf8')).toBe(configPage('zh'));
});

test('every verb lives in a file of its own name, and every file of a verb is listed', () => {
  const files = readdirSync(new URL('./verbs/', import.meta.url))
    .filter((f) => f !== 'index.ts')
    .map((f) => (f.endsWith('.ts') ? f : `${f}.ts`)); // or in a folder of its own name, a file each
  expect(new Set(verbs.map((v) => `${v.name.split(' ')[0]}.ts`))).toEqual(new Set(files));
});

test('nothing here is thrown to the user without a code', () => {
  const here = new URL('./', import.meta.url);
  const sources = (readdirSync(here, { recursive: true }) as string[]).filter(
    (f) => f.endsWith('.ts') && !f.endsWith('.test.ts'),
  );
  expect(sources.length).toBeGreaterThan(25);
  for (const file of sources) {
    const text = readFileSync(new URL(file, here), 'utf8');
    // A thrower names a code, hands on what it was given, or is the parser's `unknownSetting` and its like.
    const bare = [...text.matchAll(/throw (?!new QkvError\(|error;|unknownSetting\(|told\()[^\n]*/g)].map((m) => m[0]);
    expect(bare, file).toEqual([]);
  }
});
