/**
 * A pipeline file: which rules, in which order. The same file and text give the same bytes; its hash names what came of it.
 *
 *     { "rules": ["unicode", "controls", { "gopherQuality": { "minWords": 20 } }, "personal"] }
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type Rule, rulesByName, webRules } from './clean.ts';
import { badPipeline, ioFailed, notFound } from './errors.ts';

const count = z.int().min(0);
const none = z.strictObject({});
/** Options of each rule. */
const optionsOf = {
  unicode: z.strictObject({ form: z.enum(['NFC', 'NFKC']).optional() }),
  controls: none,
  html: z.strictObject({ content: z.boolean().optional() }),
  whitespace: none,
  boilerplate: none,
  repeatedLines: z.strictObject({ documents: z.int().min(2).max(65_535).optional() }),
  chinese: z.strictObject({ to: z.enum(['simplified', 'traditional', 'taiwan', 'hongkong']).optional() }),
  languages: z.strictObject({ codes: z.array(z.string().regex(/^[a-z]{2,3}$/)).min(1) }),
  personal: none,
  c4: z.strictObject({ minSentences: count.optional(), badWords: z.string().min(1).optional() }),
  gopherQuality: z.strictObject({ minWords: count.optional(), maxWords: count.optional() }),
  gopherRepetition: none,
  scripts: z.strictObject({
    names: z.array(z.string().regex(/^[A-Z][A-Za-z_]+$/)).min(1),
    share: z.number().min(0).max(1).optional(),
  }),
  length: z.strictObject({ min: count.optional(), max: count.optional() }),
} satisfies Record<keyof typeof rulesByName, z.ZodType>;

/** Names of all rules. */
export const ruleNames = Object.keys(rulesByName) as (keyof typeof rulesByName)[];

/** The rules of a pipeline file. E130 when it is not there, E142 when something in it is no rule. */
export function readPipeline(path: string): Rule[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? notFound(path) : ioFailed(path, 'read', error);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw badPipeline(path, `not JSON: ${(error as Error).message.slice(0, 120)}`, ruleNames);
  }
  return rulesFrom(json, path);
}

/** The rules that a parsed pipeline names. `path` is what an error calls it. */
export function rulesFrom(json: unknown, path = 'pipeline'): Rule[] {
  const listed = (json as { rules?: unknown } | null)?.rules;
  if (!Array.isArray(listed) || listed.length === 0 || Object.keys(json as object).length !== 1)
    throw badPipeline(path, 'expected { "rules": ["unicode", …] }, and nothing else', ruleNames);
  return listed.map((entry, i) => {
    const given: [string, unknown][] =
      typeof entry === 'string' ? [[entry, {}]] : typeof entry === 'object' && entry !== null ? Object.entries(entry) : [];
    const [name, options] = given[0] ?? [];
    if (given.length !== 1 || !Object.hasOwn(rulesByName, name!))
      throw badPipeline(path, `rule ${i + 1} is ${JSON.stringify(entry)}`, ruleNames);
    const known = name as keyof typeof rulesByName;
    const parsed = optionsOf[known].safeParse(options);
    if (!parsed.success) {
      const [{ path: at, message }] = parsed.error.issues;
      throw badPipeline(path, `rule ${i + 1}, ${[name, ...at].join('.')}: ${message}`, ruleNames);
    }
    try {
      return (rulesByName[known] as (o: unknown) => Rule)(parsed.data);
    } catch (error) {
      throw badPipeline(path, `rule ${i + 1}, ${name}: ${(error as Error).message}`, ruleNames); // no such script
    }
  });
}

/** What is done where no pipeline is named: nothing is dropped but empty documents, and what a text says stays. */
export const gentleRules = (): Rule[] => rulesFrom({ rules: ['unicode', 'controls', 'whitespace', 'length'] });

/** Pipelines that come with qkv, by name. */
export const pipelines: Readonly<Record<string, () => Rule[]>> = { gentle: gentleRules, web: webRules };
