// The engines that other people run models in. They are no dependencies of qkv: test/engines/install.sh puts them beside it.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export const enginesHome = process.env['QKV_ENGINES'] ?? join(homedir(), '.cache', 'qkv-engines');

/** A package of that folder; an error that says what to install where there is none. */
export async function engine<T>(name: string): Promise<T> {
  if (!existsSync(join(enginesHome, 'node_modules', name)))
    throw new Error(`${name} is not in ${enginesHome}. Install it: sh test/engines/install.sh   (or set QKV_ENGINES)`);
  const require = createRequire(join(enginesHome, 'package.json'));
  // A package of ES modules only has no "require" entry: then its manifest says where it begins.
  let entry: string;
  try {
    entry = require.resolve(name);
  } catch {
    const manifest = require(join(enginesHome, 'node_modules', name, 'package.json')) as { main?: string };
    entry = join(enginesHome, 'node_modules', name, manifest.main ?? 'index.js');
  }
  return (await import(pathToFileURL(entry).href)) as T;
}
