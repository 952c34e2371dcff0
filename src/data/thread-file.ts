/** Where the program of a thread or a process lies: beside its caller, compiled; or its source behind the loader, where sources run as they are (tests). */
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** `name` without an ending, in the folder of `import.meta.url`. */
export function threadFile(name: string): URL {
  if (!import.meta.url.endsWith('.ts')) return new URL(`./${name}.js`, import.meta.url);
  const loader = loaderUrl('tsx/esm/api');
  const source = new URL(`./${name}.ts`, import.meta.url).href;
  const program = `import { register } from '${loader}'; register(); await import('${source}');`;
  return new URL(`data:text/javascript,${encodeURIComponent(program)}`);
}

/** The same for a process: its file, and what Node needs to run it. */
export function processFile(name: string): { file: string; execArgv: string[] } {
  const source = import.meta.url.endsWith('.ts');
  return {
    file: fileURLToPath(new URL(source ? `./${name}.ts` : `./${name}.js`, import.meta.url)),
    execArgv: source ? ['--import', loaderUrl('tsx')] : [],
  };
}

function loaderUrl(entry: string): string {
  const path = createRequire(import.meta.url).resolve(entry);
  return pathToFileURL(path.replace(/cjs$/, 'mjs')).href;
}
