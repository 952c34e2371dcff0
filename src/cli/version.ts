import { readFileSync } from 'node:fs';

/** The version of this package. */
export function version(): string {
  // The same place from src/cli and from dist/cli.
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}
