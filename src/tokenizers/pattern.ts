/** Split patterns: the published ones, and the way of any pattern of a `tokenizer.json` to a regular expression of JavaScript. */
import { escapeCharacter, translatePattern, type TranslatedPattern } from './pattern-reader.ts';
import { countSteps } from './pattern-steps.ts';
import { tokenizerError } from './tokenizer.ts';

const cjk = '\\p{Han}\\p{Hiragana}\\p{Katakana}';

/**
 * Patterns by name, in the dialect of `tokenizer.json`.
 * - `gpt2`: Radford et al. 2019: contractions, letters, digits, the rest, each with one blank before it.
 * - `llama3`, `qwen2`: contractions in any case, one mark before letters, numbers by three or one, newlines apart.
 * - `gpt4o`: the same with a cut where small letters are followed by capitals.
 * - `cjk`: ours for Chinese and Japanese beside English. Runs of ideographs and kana are pieces of their own, so that a word has one form whatever
 *   stands before it (`，我` is never one token, nor `写Python`), marks never stick to words, and numbers go by three. Runs are not cut shorter:
 *   held-out characters per token of 16,384 entries on Chinese instructions (0.8 MB): whole runs 1.68, at most 8 ideographs 1.60, 4 1.52, 2 1.43,
 *   1 1.10; `gpt2` 1.63, `llama3` 1.76 (which spends entries on mark + word).
 */
export const splitPatterns = {
  gpt2: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  llama3:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  qwen2:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  gpt4o:
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  cjk: `[${cjk}]+|(?i:'s|'t|'re|'ve|'m|'ll|'d)| ?[\\p{L}\\p{M}&&[^${cjk}]]+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
} as const;

export type SplitPatternName = keyof typeof splitPatterns;

/** The longest pattern that is read from a file, in characters. */
const maxPatternLength = 8192;
/**
 * A split pattern as a JavaScript regular expression with flags `gv`, equal to what Oniguruma matches:
 * `\s` is White_Space (JavaScript's own adds U+FEFF and lacks U+0085), `\d` Nd, `\w` Alphabetic, marks, Nd and Pc; `(?i:…)` is written out.
 *
 * A file may be hostile, so a pattern is held to a form that cannot take exponential time (a repeat stands over one character or a fixed sequence:
 * no nested repeats, no alternatives under a repeat, no back-references), and the steps of one that is not ours are counted on texts made to be slow.
 * Throws TOKENIZER with the place otherwise.
 */
export function compilePattern(pattern: string): RegExp {
  if (pattern.length > maxPatternLength)
    throw tokenizerError(`split pattern: ${pattern.length} characters; the limit is ${maxPatternLength}`, {
      length: pattern.length,
    });
  const translated = translatePattern(pattern);
  if (translated.mayBeEmpty) throw emptyMatches(pattern);
  const compiled = new RegExp(translated.source, 'gv');
  if (!trusted.has(pattern)) refuseSlow(translated, pattern);
  return compiled;
}

/** Readers do not agree where the empty text is. */
const emptyMatches = (pattern: string) =>
  tokenizerError(`split pattern: ${JSON.stringify(pattern.slice(0, 200))} matches the empty text`, {
    pattern: pattern.slice(0, 200),
  });

/** Ours, and a published one (DeepSeek) that is quadratic on runs of blanks alone. */
const trusted: ReadonlySet<string> = new Set([...Object.values(splitPatterns), '\\s+$']);

/** A pattern that takes n²/4 steps on n characters takes 256 for each character of a probe; the published ones take some 20. */
const probeLength = 1_024;
const maxStepsPerCharacter = 200;
/** Different repeats of one pattern: each costs two probes. */
const maxRepeats = 64;

/** Refuse a pattern whose time grows faster than the text: what it repeats is tried as a long run, alone and before an odd end. */
function refuseSlow({ match, repeats, characters }: TranslatedPattern, pattern: string): void {
  const refuse = (why: string): never => {
    const shown = pattern.slice(0, 200);
    throw tokenizerError(`split pattern: ${why}: ${JSON.stringify(shown)}`, { pattern: shown });
  };
  const sample = [...sampleCharacters, ...characters];
  /** Two members of a set where it stands alone, one in a sequence. */
  const members = (set: string, _: number, all: readonly string[]): string => {
    const one = new RegExp(`^(?:${set})$`, 'v');
    const found = sample.filter((c) => one.test(c));
    return found.slice(0, all.length > 1 ? 1 : 2).join('');
  };
  const runs = new Set(repeats.map((sets) => sets.map(members).join('')));
  runs.delete('');
  if (runs.size > maxRepeats) refuse(`${runs.size} different repeats; the limit is ${maxRepeats}`);
  const most = maxStepsPerCharacter * probeLength;
  for (const run of runs) {
    const text = run.repeat(Math.ceil(probeLength / run.length)).slice(0, probeLength);
    for (const probe of [text, `${text}\u0001`])
      if (countSteps(match, probe, most) > most)
        refuse(`over ${most} steps on ${probeLength} characters, so a long text would take for ever`);
  }
}

const sampleCharacters = 'a A 1 \n\r\t_-.\'"/<中あアéЖא한ª²\u0301€\u00a0\u0085\u200d\u0001😀𠀀';

/** A text as a pattern that matches exactly it. */
export function literalPattern(text: string): RegExp {
  if (text === '') throw emptyMatches(text);
  return new RegExp(Array.from(text, escapeCharacter).join(''), 'gv');
}
