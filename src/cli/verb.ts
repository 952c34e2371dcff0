/** What a verb is: its grammar as data, and one function. */
import type { z } from 'zod';
import type { Output } from './output.ts';

export interface Both {
  en: string;
  zh: string;
}

export interface Flag {
  name: string;
  /** Absent: a switch. `text`, `number`, or the words that are allowed. */
  takes?: 'text' | 'number' | readonly string[];
  about: Both;
}

export interface Word {
  name: string;
  optional?: boolean;
  /** Takes all words that are left. */
  rest?: boolean;
}

export interface Verb {
  /** `train`, or two words: `data inspect`. */
  name: string;
  about: Both;
  words: readonly Word[];
  /** What `key=value` may set; absent: words with `=` are ordinary words. */
  settings?: Readonly<Record<string, z.ZodType>>;
  flags?: readonly Flag[];
  /** Lines such as `qkv train data=book.txt`, each tested with the parser. */
  examples: readonly string[];
  /** Returns the exit code, 0 when nothing. */
  run(args: Args, out: Output): Promise<number | undefined> | number | undefined;
}

export interface Args {
  words: string[];
  settings: { key: string; text: string }[];
  flags: Readonly<Record<string, string | number | true | undefined>>;
}

/** The verb's grammar in one line. */
export function usage(verb: Verb): string {
  const words = verb.words.map((w) => (w.optional ? `[${w.name}${w.rest ? ' …' : ''}]` : `${w.name}${w.rest ? ' …' : ''}`));
  const flags = (verb.flags ?? []).map(
    (f) =>
      `[--${f.name}${f.takes === undefined ? '' : ` ${Array.isArray(f.takes) ? f.takes.join('|') : f.takes === 'number' ? 'N' : 'TEXT'}`}]`,
  );
  return ['qkv', verb.name, ...words, ...(verb.settings ? ['[key=value …]'] : []), ...flags].join(' ');
}

/** Flags that every verb has. */
export const commonFlags: readonly Flag[] = [
  { name: 'json', about: { en: 'JSON lines on stdout, human text on stderr', zh: '标准输出为 JSON 行，文字走标准错误' } },
  { name: 'lang', takes: ['zh', 'en'], about: { en: 'language of all texts', zh: '文字的语言' } },
  { name: 'quiet', about: { en: 'only what was asked for', zh: '只输出所要的结果' } },
  { name: 'yes', about: { en: 'yes to every question', zh: '所有问题都回答是' } },
  { name: 'debug', about: { en: 'stacks of errors', zh: '显示错误的调用栈' } },
  { name: 'help', about: { en: 'this help', zh: '显示帮助' } },
];
