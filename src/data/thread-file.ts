/** Where the program of a thread lies: beside its caller, compiled; or its source behind the loader, where sources run as they are (tests). */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

/** `name` without an ending, in the folder of `import.meta.url`. */
export function threadFile(name: string): URL {
  if (!import.meta.url.endsWith('.ts')) return new URL(`./${name}.js`, import.meta.url);
  const loader = pathToFileURL(
    createRequire(import.meta.url)
      .resolve('tsx/esm/api')
      .replace(/cjs$/, 'mjs'),
  ).href;
  const source = new URL(`./${name}.ts`, import.meta.url).href;
  const program = `import { register } from '${loader}'; register(); await import('${source}');`;
  return new URL(`data:text/javascript,${encodeURIComponent(program)}`);
}
