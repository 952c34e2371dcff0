/**
 * A split pattern as a matcher that backtracks and counts, in order to tell beforehand what the platform's own would take: the same alternatives in the same order.
 * Counted and not timed, so that a file is refused everywhere or nowhere, on a busy machine too.
 */

/** A run over one text: its characters and how often a character was looked at. */
export interface Run {
  chars: readonly string[];
  steps: number;
  limit: number;
}

/** Match from a place on and hand each end to `then`, until one will do. */
export type Match = (run: Run, at: number, then: (end: number) => boolean) => boolean;

class TooManySteps extends Error {}

/** Steps of finding all matches in a text; at most `limit` of them are taken. */
export function countSteps(match: Match, text: string, limit: number): number {
  const run: Run = { chars: Array.from(text), steps: 0, limit };
  let end = 0;
  const to = (found: number): boolean => {
    end = found;
    return true;
  };
  try {
    for (let at = 0; at <= run.chars.length; ) at = match(run, at, to) && end > at ? end : at + 1;
  } catch (error) {
    if (!(error instanceof TooManySteps)) throw error;
  }
  return run.steps;
}

function step(run: Run): void {
  if (++run.steps > run.limit) throw new TooManySteps();
}

/** One character of a set, given as the source of a regular expression. */
export function oneOf(source: string): Match {
  let set: RegExp | undefined;
  const known = new Map<string, boolean>();
  return (run, at, then) => {
    step(run);
    if (at >= run.chars.length) return false;
    const char = run.chars[at];
    let inside = known.get(char);
    if (inside === undefined) {
      set ??= new RegExp(`^(?:${source})$`, 'v');
      inside = set.test(char);
      known.set(char, inside);
    }
    return inside && then(at + 1);
  };
}

/** A place between characters: `holds` sees what stands before and after, `undefined` at the ends. */
export function place(holds: (before: string | undefined, after: string | undefined) => boolean): Match {
  return (run, at, then) => holds(run.chars[at - 1], run.chars[at]) && then(at);
}

export const empty: Match = (_run, at, then) => then(at);

export function inOrder(first: Match, second: Match): Match {
  return first === empty ? second : (run, at, then) => first(run, at, (middle) => second(run, middle, then));
}

export function either(matches: readonly Match[]): Match {
  return matches.length === 1 ? matches[0] : (run, at, then) => matches.some((match) => match(run, at, then));
}

/** `greedy`: the most first; `lazy`: the fewest first; `possessive`: the most and nothing else. A part that may match in several ways is repeated once at most. */
export function repeated(part: Match, min: number, max: number, kind: 'greedy' | 'lazy' | 'possessive'): Match {
  if (max === 1 && kind !== 'possessive') {
    if (min === 1) return part;
    return kind === 'lazy'
      ? (run, at, then) => then(at) || part(run, at, then)
      : (run, at, then) => part(run, at, then) || then(at);
  }
  return (run, at, then) => {
    const ends = [at];
    const more = (): boolean => ends.length <= max && part(run, ends.at(-1)!, (end) => end > ends.at(-1)! && ends.push(end) > 0);
    while (ends.length <= min) if (!more()) return false;
    if (kind === 'lazy') {
      do if (then(ends.at(-1)!)) return true;
      while (more());
      return false;
    }
    while (more());
    if (kind === 'possessive') return then(ends.at(-1)!);
    for (let i = ends.length - 1; i >= min; i--) if (then(ends[i])) return true;
    return false;
  };
}

/** `(?=…)` and `(?!…)`. */
export function ahead(inside: Match, wanted: boolean): Match {
  return (run, at, then) => inside(run, at, () => true) === wanted && then(at);
}

/** `(?<=…)` and `(?<!…)`; `longest`: how many characters the inside may match. */
export function behind(inside: Match, wanted: boolean, longest: number): Match {
  return (run, at, then) => {
    let found = false;
    for (let start = at; start >= Math.max(0, at - longest) && !found; start--) found = inside(run, start, (end) => end === at);
    return found === wanted && then(at);
  };
}
