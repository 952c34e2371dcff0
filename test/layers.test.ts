import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const src = fileURLToPath(new URL('../src', import.meta.url));
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts') && !f.endsWith('.test.ts'));

/** What a folder may import, besides itself and errors.ts. The tree of docs/design.md says why. */
const allowed: Record<string, readonly string[]> = {
  tensor: [],
  tokenizers: [],
  data: [],
  figures: [],
  interpret: [],
  settings: [],
  nn: ['tensor'],
  attention: ['nn', 'tensor'],
  models: ['attention', 'nn', 'tensor'],
  train: ['nn', 'tensor'],
  generate: ['attention', 'tensor'],
  evaluate: ['attention', 'tensor'],
  io: ['models', 'attention', 'nn', 'tensor', 'tokenizers'],
  serve: ['data'],
  applications: ['settings', 'io', 'data', 'tokenizers', 'models', 'attention', 'nn', 'train', 'generate', 'evaluate', 'tensor'],
  cli: [
    'applications',
    'serve',
    'settings',
    'figures',
    'interpret',
    'io',
    'data',
    'tokenizers',
    'models',
    'attention',
    'nn',
    'train',
    'generate',
    'evaluate',
    'tensor',
  ],
};
/** The only places that touch the machine: everything else runs in a browser. */
const mayUseNode = ['io', 'data', 'serve', 'settings', 'applications', 'cli', 'tensor/backends/native'];

const importsOf = (file: string): string[] =>
  [...readFileSync(join(src, file), 'utf8').matchAll(/(?:from|import\()\s*'([^']+)'/g)].map((m) => m[1]);
const folderOf = (path: string): string => path.split('/')[0];

test('the tree has the folders that the rules name, and no others', () => {
  const folders = new Set(files.filter((f) => f.includes('/')).map(folderOf));
  expect([...folders].sort()).toEqual(Object.keys(allowed).sort());
});

test.each(Object.keys(allowed))('%s/ imports only what lies below it', (folder) => {
  const wrong = files
    .filter((file) => file.startsWith(`${folder}/`))
    .flatMap((file) => importsOf(file).map((name) => ({ file, name })))
    .filter(({ name }) => name.startsWith('.'))
    .map(({ file, name }) => ({ file, target: relative(src, resolve(join(src, dirname(file)), name)) }))
    .filter(({ target }) => target !== 'errors.ts' && folderOf(target) !== folder && !allowed[folder].includes(folderOf(target)));
  expect(wrong).toEqual([]);
});

test('node: is imported only where the machine is touched', () => {
  const elsewhere = files.filter((file) => !mayUseNode.some((place) => file.startsWith(`${place}/`)));
  expect(elsewhere.filter((file) => importsOf(file).some((name) => name.startsWith('node:')))).toEqual([]);
});

test('backends are reached only through tensor/', () => {
  for (const file of files) {
    if (file.startsWith('tensor/')) continue;
    expect(
      importsOf(file).filter((n) => n.includes('backends/')),
      file,
    ).toEqual([]);
  }
});
