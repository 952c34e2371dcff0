/** Under which licence a corpus says it stands: recorded beside its hash, never judged. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface Licence {
  /** As it is written there: an identifier such as `cc0-1.0`, or the first line of a licence file. */
  name: string;
  /** The file that says so. */
  file: string;
  /** SHA-256 of that file. */
  sha256: string;
}

const MAX_BYTES = 1 << 20;
const isReadme = (name: string): boolean => name.toLowerCase() === 'readme.md';
const isLicence = (name: string): boolean => /^(licen[sc]e|copying)(\.(md|txt))?$/i.test(name);

/** Whether a file in the folder of a corpus speaks about it and is no part of it: its licence, or the card of a data set (a README that begins with front matter). */
export function describesData(folder: string, name: string): boolean {
  if (isLicence(name)) return true;
  if (!isReadme(name)) return false;
  try {
    const fd = openSync(join(folder, name), 'r');
    try {
      const head = Buffer.alloc(4);
      return /^---\r?\n/.test(`${head.toString('latin1', 0, readSync(fd, head, 0, 4, 0))}\n`);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false; // reading it as data will say why
  }
}

/**
 * What the folder of a corpus (or the folder that a file lies in) says: `license` in `dataset_info.json`, then in the front matter of its README (the card
 * of a data set on Hugging Face's hub), then a file LICENSE, LICENCE or COPYING. Undefined when nothing does.
 */
export function licenceOf(path: string): Licence | undefined {
  try {
    const folder = statSync(path).isDirectory() ? path : dirname(path);
    const names = readdirSync(folder).sort();
    const found = (file: string | undefined, nameIn: (text: string) => string | undefined): Licence | undefined => {
      if (file === undefined || !(statSync(join(folder, file)).size <= MAX_BYTES)) return undefined;
      const bytes = readFileSync(join(folder, file));
      const name = nameIn(bytes.toString('utf8'))?.trim().slice(0, 120);
      return name ? { name, file, sha256: createHash('sha256').update(bytes).digest('hex') } : undefined;
    };
    return (
      found(
        names.find((n) => n === 'dataset_info.json'),
        (text) => textIn((JSON.parse(text) as { license?: unknown }).license),
      ) ??
      found(
        names.find(isReadme),
        (text) => /^---\r?\n[\s\S]*?^licen[sc]e:[ \t]*(?:\r?\n- )?["']?([^"'\r\n]+)[\s\S]*?^---/m.exec(text)?.[1],
      ) ??
      found(names.find(isLicence), (text) => text.split('\n').find((line) => line.trim() !== ''))
    );
  } catch {
    return undefined; // it only describes
  }
}

const textIn = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
