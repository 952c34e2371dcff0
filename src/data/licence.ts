/** Under which licence a corpus says it stands: recorded beside its hash, never judged. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
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
        names.find((n) => n.toLowerCase() === 'readme.md'),
        (text) => /^---\r?\n[\s\S]*?^licen[sc]e:[ \t]*(?:\r?\n- )?["']?([^"'\r\n]+)[\s\S]*?^---/m.exec(text)?.[1],
      ) ??
      found(
        names.find((n) => /^(licen[sc]e|copying)(\.(md|txt))?$/i.test(n)),
        (text) => text.split('\n').find((line) => line.trim() !== ''),
      )
    );
  } catch {
    return undefined; // it only describes
  }
}

const textIn = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
