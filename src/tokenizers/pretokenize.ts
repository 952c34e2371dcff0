/** Pre-tokenizers of `tokenizer.json`: text → the pieces inside which a model may merge. */
import { toByteAlphabet } from './byte-alphabet.ts';
import { patternOf } from './normalize.ts';
import type { PatternSpec } from './normalize.ts';
import { compilePattern, literalPattern, splitPatterns } from './pattern.ts';
import { cutAtBlanks, cutAtBlanksAndMarks } from './scan.ts';
import { tokenizerError } from './tokenizer.ts';
import { utf8Bytes } from './utf8.ts';

/** Where a matched delimiter goes: dropped, by itself, to the piece before, to the piece after, or with its neighbours as one. */
export type SplitBehavior = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';
export type PrependScheme = 'always' | 'first' | 'never';

export type PreTokenizerSpec =
  | { type: 'Sequence'; pretokenizers: PreTokenizerSpec[] }
  | { type: 'ByteLevel'; add_prefix_space?: boolean; trim_offsets?: boolean; use_regex?: boolean }
  | { type: 'Split'; pattern: PatternSpec; behavior: SplitBehavior; invert?: boolean }
  | { type: 'Metaspace'; replacement?: string; prepend_scheme?: PrependScheme; add_prefix_space?: boolean; split?: boolean }
  | { type: 'Digits'; individual_digits?: boolean }
  | { type: 'Punctuation'; behavior?: SplitBehavior }
  | { type: 'CharDelimiterSplit'; delimiter: string }
  | { type: 'BertPreTokenizer' | 'Whitespace' | 'WhitespaceSplit' };

export type Emit = (piece: string, atStart: boolean) => void;
/** Cut a text and hand out the pieces in order; `atStart`: the text begins where the whole input begins. Empty pieces are not handed out. */
export type PreTokenizer = (text: string, atStart: boolean, emit: Emit) => void;

/** A compiled pre-tokenizer; `byteLevel`: its pieces are plain text that the model still has to read as bytes. */
export interface CompiledPreTokenizer {
  split: PreTokenizer;
  byteLevel: boolean;
}

/** Compile; `deferBytes`: the model reads bytes itself, so that a last ByteLevel step need not spell them out. */
export function compilePreTokenizer(spec: PreTokenizerSpec | null, deferBytes: boolean): CompiledPreTokenizer {
  const steps = flatten(spec);
  const last = steps.at(-1);
  const byteLevel = deferBytes && last?.type === 'ByteLevel';
  const compiled = steps.flatMap((step, i) => compileStep(step, byteLevel && i === steps.length - 1));
  if (compiled.length === 0) return { split: (text, atStart, emit) => text !== '' && emit(text, atStart), byteLevel };
  return {
    split: compiled.reduceRight((next, step) => (text, atStart, emit) => step(text, atStart, (p, s) => next(p, s, emit))),
    byteLevel,
  };
}

function flatten(spec: PreTokenizerSpec | null): PreTokenizerSpec[] {
  if (!spec) return [];
  return spec.type === 'Sequence' ? spec.pretokenizers.flatMap(flatten) : [spec];
}

/** Whether a step puts a mark before what is at the start of the input only: `first`; `often` where other steps make more of it before. */
export function prependsFirst(spec: PreTokenizerSpec | null): 'no' | 'first' | 'often' {
  // ByteLevel, too, makes several characters of the first one.
  const prepend = flatten(spec).filter((step) => step.type === 'Metaspace' || step.type === 'ByteLevel');
  if (!prepend.some((step) => step.type === 'Metaspace' && step.prepend_scheme === 'first')) return 'no';
  return prepend.length > 1 ? 'often' : 'first';
}

/** ASCII punctuation and Unicode P, as BERT counts it. */
const punctuation = '[!-/:-@\\[-`{-~\\p{P}]';

function compileStep(spec: PreTokenizerSpec, deferBytes: boolean): PreTokenizer[] {
  switch (spec.type) {
    case 'ByteLevel': {
      const { add_prefix_space: prefix = true, use_regex: cut = true } = spec;
      const steps: PreTokenizer[] = [];
      if (prefix) steps.push((text, atStart, emit) => emit(text.startsWith(' ') ? text : ` ${text}`, atStart));
      if (cut) steps.push(splitter(compilePattern(splitPatterns.gpt2), 'Isolated'));
      if (!deferBytes) steps.push((text, atStart, emit) => emit(toByteAlphabet(utf8Bytes(text)), atStart));
      return steps;
    }
    case 'Split':
      return [splitter(patternOf(spec.pattern), spec.behavior, spec.invert)];
    case 'Metaspace':
      return metaspace(spec);
    case 'Digits':
      return [splitter(compilePattern(spec.individual_digits ? '\\p{N}' : '\\p{N}+'), 'Isolated')];
    case 'Punctuation':
      return [splitter(compilePattern(punctuation), spec.behavior ?? 'Isolated')];
    case 'CharDelimiterSplit':
      return [splitter(literalPattern(spec.delimiter), 'Removed')];
    case 'Whitespace':
      // The Rust regex crate's \w has Join_Control too.
      return [
        splitter(
          /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu,
          'Removed',
          true,
        ),
      ];
    case 'WhitespaceSplit':
      return [cutAtBlanks];
    case 'BertPreTokenizer':
      return [cutAtBlanksAndMarks];
    default:
      throw tokenizerError(
        `tokenizer.json: the pre-tokenizer ${JSON.stringify((spec as { type?: unknown }).type)} is not supported`,
      );
  }
}

/** Cut at the matches of a global pattern (`invert`: the matches are the pieces, what lies between is the delimiter). */
function splitter(pattern: RegExp, behavior: SplitBehavior, invert = false): PreTokenizer {
  if (behavior === 'Isolated') return isolate(pattern);
  return (text, atStart, emit) => {
    // Runs of [start, end, is a delimiter], covering the text.
    const runs: [number, number, boolean][] = [];
    let last = 0;
    for (const match of text.matchAll(pattern)) {
      if (match[0] === '') continue;
      if (match.index > last) runs.push([last, match.index, invert]);
      last = match.index + match[0].length;
      runs.push([match.index, last, !invert]);
    }
    if (last < text.length) runs.push([last, text.length, invert]);
    const out = (start: number, end: number) => end > start && emit(text.slice(start, end), atStart && start === 0);
    switch (behavior) {
      case 'Removed':
        for (const [start, end, delimiter] of runs) if (!delimiter) out(start, end);
        break;
      case 'Contiguous':
        merge(runs, (before, now) => before === now, out);
        break;
      case 'MergedWithPrevious':
        merge(runs, (before, now) => now && !before, out);
        break;
      case 'MergedWithNext':
        merge(runs, (before, now) => before && !now, out);
        break;
      default:
        throw tokenizerError(`tokenizer.json: the split behavior ${JSON.stringify(behavior)} is not supported`);
    }
  };
}

/** The common case, without a list: matches and the text between them, each a piece. */
function isolate(pattern: RegExp): PreTokenizer {
  // Most patterns match where the last match ended: `test` with the sticky flag tells the end without building a match.
  const here = new RegExp(pattern.source, `${pattern.flags.replace('g', '')}y`);
  return (text, atStart, emit) => {
    let last = 0;
    while (last < text.length) {
      here.lastIndex = last;
      let start = last;
      let end = here.test(text) ? here.lastIndex : last;
      if (end === last) {
        pattern.lastIndex = last;
        let match = pattern.exec(text);
        while (match && match[0] === '') {
          pattern.lastIndex = match.index + (text.codePointAt(match.index)! > 0xffff ? 2 : 1);
          match = pattern.exec(text);
        }
        start = match ? match.index : text.length;
        end = match ? start + match[0].length : start;
        if (start > last) emit(text.slice(last, start), atStart && last === 0);
      }
      if (end > start) emit(text.slice(start, end), atStart && start === 0);
      last = end;
    }
  };
}

function merge(
  runs: [number, number, boolean][],
  joins: (before: boolean, now: boolean) => boolean,
  out: (a: number, b: number) => void,
): void {
  let i = 0;
  while (i < runs.length) {
    const start = runs[i][0];
    while (i + 1 < runs.length && joins(runs[i][2], runs[i + 1][2])) i++;
    out(start, runs[i++][1]);
  }
}

function metaspace({
  replacement = '▁',
  add_prefix_space: old,
  prepend_scheme: scheme = old === false ? 'never' : 'always',
  split = true,
}: Extract<PreTokenizerSpec, { type: 'Metaspace' }>): PreTokenizer[] {
  const cut = split ? splitter(literalPattern(replacement), 'MergedWithNext') : undefined;
  return [
    (text, atStart, emit) => {
      const prefixed = scheme === 'always' || (scheme === 'first' && atStart);
      // A word without blanks, as most are that come here, is one piece.
      if (text.indexOf(' ') < 0 && text.indexOf(replacement, 1) < 0) {
        emit(prefixed && !text.startsWith(replacement) ? replacement + text : text, atStart);
        return;
      }
      const marked = text.replaceAll(' ', replacement);
      const whole = prefixed && !marked.startsWith(replacement) ? replacement + marked : marked;
      if (cut) cut(whole, atStart, emit);
      else emit(whole, atStart);
    },
  ];
}
