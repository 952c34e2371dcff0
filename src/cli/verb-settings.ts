/** `key=value` of verbs that have settings of their own: the values, checked, with their defaults. */
import type { z } from 'zod';
import { QkvError } from '../errors.ts';
import { checkedValue, typed, unknownSetting } from '../settings/config.ts';
import { type Args, usage, type Verb } from './verb.ts';

type Table = Record<string, z.ZodType>;
type ValuesOf<T extends Table> = { [K in keyof T]: z.output<T[K]> };

/** @throws E101 an unknown key · E103 a value that is not possible */
export function verbSettings<T extends Table>(table: T, args: Args): ValuesOf<T> {
  const values: Record<string, unknown> = Object.fromEntries(
    Object.entries(table).map(([k, type]) => [k, type.parse(undefined)]),
  );
  for (const { key, text } of args.settings) {
    const at = { argument: `${key}=${text}` };
    if (!Object.hasOwn(table, key)) throw unknownSetting(key, at, { keys: Object.keys(table) });
    values[key] = checkedValue(key, typed(text, key, table), at, table);
  }
  return values as ValuesOf<T>;
}

/** A setting that the verb cannot do without. E108 names it. */
export function required<T>(value: T | null, word: string, verb: Verb): T {
  if (value !== null) return value;
  throw new QkvError('E108', `qkv ${verb.name}: ${word} is missing. Usage: ${usage(verb)}`, {
    verb: verb.name,
    word,
    usage: usage(verb),
  });
}
