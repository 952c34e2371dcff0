/** The dialect of `tokenizer.json` (Oniguruma) read by descent, and written again as JavaScript. What may take exponential time has no form here. */
import { ahead, behind, either, empty, inOrder, oneOf, place, repeated, type Match } from './pattern-steps.ts';
import { tokenizerError } from './tokenizer.ts';

/** Unbounded repeats in one alternative; bounds the time of a failing match by a polynomial of this degree. */
const maxRepeats = 6;
/** Repeats of any kind in one alternative. */
const maxChoices = 12;
const maxDepth = 32;

export interface TranslatedPattern {
  /** For `new RegExp(source, 'v')`. */
  source: string;
  /** The same, to count its steps. */
  match: Match;
  /** Whether a match may have no characters: `a|`, `x*`, `^`. */
  mayBeEmpty: boolean;
  /** What may be repeated: the sources of its characters and sets, in order. */
  repeats: readonly (readonly string[])[];
  /** The characters that it names. */
  characters: ReadonlySet<string>;
}

/** Throws TOKENIZER with the place of what is not supported. */
export function translatePattern(pattern: string): TranslatedPattern {
  const reader = new PatternReader(pattern);
  const { source, match, least } = reader.read();
  return { source, match, mayBeEmpty: least === 0, repeats: reader.repeats, characters: reader.characters };
}

/** One translated node: its source and what decides whether it may be repeated without end. */
interface Node {
  source: string;
  match: Match;
  /** A fixed sequence of characters or sets: no choice inside, so that repeating it is unambiguous. */
  fixed: boolean;
  /** Repeats without end on the longest path. */
  repeats: number;
  /** Parts on the longest path that may match more or less: each may double the time of a failing match. */
  choices: number;
  /** How many characters a match has at least. */
  least: number;
  /** How many characters of a match it may at most spell out, to bound `{n}` of `{n}`. */
  weight: number;
  /** A place between characters: `^`, `$`, a look-around. It cannot be repeated. */
  place?: boolean;
}

class PatternReader {
  #at = 0;
  #groups = 0;
  #depth = 0;
  readonly #chars: string[];
  readonly #atoms: string[] = [];
  readonly repeats: string[][] = [];
  readonly characters = new Set<string>();

  constructor(readonly pattern: string) {
    this.#chars = Array.from(pattern);
  }

  read(): Node {
    const node = this.#alternatives(false);
    if (this.#at < this.#chars.length) this.#refuse('")" without "("');
    return node;
  }

  #refuse(why: string): never {
    throw tokenizerError(`split pattern: ${why} at character ${this.#at + 1} of ${JSON.stringify(this.pattern.slice(0, 200))}`, {
      pattern: this.pattern.slice(0, 200),
      at: this.#at,
    });
  }

  #peek(ahead = 0): string {
    return this.#chars[this.#at + ahead] ?? '';
  }

  #take(text: string): boolean {
    for (let i = 0; i < text.length; i++) if (this.#peek(i) !== text[i]) return false;
    this.#at += text.length;
    return true;
  }

  #alternatives(ignoreCase: boolean): Node {
    if (++this.#depth > maxDepth) this.#refuse(`more than ${maxDepth} groups inside each other`);
    const nodes = [this.#sequence(ignoreCase)];
    while (this.#take('|')) nodes.push(this.#sequence(ignoreCase));
    this.#depth--;
    return {
      source: nodes.map((n) => n.source).join('|'),
      match: either(nodes.map((n) => n.match)),
      fixed: nodes.length === 1 && nodes[0].fixed,
      repeats: Math.max(...nodes.map((n) => n.repeats)),
      choices: Math.max(...nodes.map((n) => n.choices)) + (nodes.length > 1 ? 1 : 0),
      least: Math.min(...nodes.map((n) => n.least)),
      weight: nodes.reduce((sum, n) => sum + n.weight, 0),
    };
  }

  #sequence(ignoreCase: boolean): Node {
    const all: Node = { source: '', match: empty, fixed: true, repeats: 0, choices: 0, least: 0, weight: 0 };
    while (this.#at < this.#chars.length && this.#peek() !== '|' && this.#peek() !== ')') {
      if (this.#take('(?i)')) ignoreCase = true;
      else {
        const node = this.#repeated(ignoreCase);
        all.source += node.source;
        all.match = inOrder(all.match, node.match);
        all.fixed &&= node.fixed;
        all.repeats += node.repeats;
        all.choices += node.choices;
        all.least += node.least;
        all.weight += node.weight;
      }
    }
    if (all.choices > maxChoices) this.#refuse(`more than ${maxChoices} repeats in one alternative`);
    if (all.repeats > maxRepeats) this.#refuse(`more than ${maxRepeats} unbounded repeats in one alternative`);
    return all;
  }

  #repeated(ignoreCase: boolean): Node {
    const before = this.#atoms.length;
    const atom = this.#atom(ignoreCase);
    const bounds = this.#bounds();
    if (!bounds) return atom;
    if (atom.place) this.#refuse('a repeat of a place between characters (^, $, \\A, \\z or a look-around)');
    const { source: mark, min, max, braces } = bounds;
    if (max > 1 && !atom.fixed) this.#refuse('a repeat over a part that has choices of its own (may take exponential time)');
    if (max > 1) this.repeats.push(this.#atoms.slice(before));
    const times = max === Number.POSITIVE_INFINITY ? Math.max(min, 1) : max;
    const node: Node = {
      source: `${atom.source}${mark}`,
      match: atom.match,
      fixed: min === max && atom.fixed,
      repeats: atom.repeats + (max > 1000 ? 1 : 0),
      choices: atom.choices + (min !== max ? 1 : 0),
      least: min * atom.least,
      weight: atom.weight * times,
    };
    if (node.weight > 10_000) this.#refuse('counted repeats that spell out more than 10,000 characters');
    let kind: Parameters<typeof repeated>[3] = 'greedy';
    if (this.#take('?')) [kind, node.source] = ['lazy', `${node.source}?`];
    else if (!braces && this.#take('+')) {
      // Possessive: what a look-ahead captured is never given back.
      [kind, node.source] = ['possessive', `(?=(${node.source}))\\${++this.#groups}`];
    }
    node.match = repeated(atom.match, min, max, kind);
    if (this.#bounds()) this.#refuse('a repeat of a repeat');
    return { ...node, source: `(?:${node.source})` };
  }

  #bounds(): { source: string; min: number; max: number; braces: boolean } | undefined {
    const infinity = Number.POSITIVE_INFINITY;
    if (this.#take('*')) return { source: '*', min: 0, max: infinity, braces: false };
    if (this.#take('+')) return { source: '+', min: 1, max: infinity, braces: false };
    if (this.#take('?')) return { source: '?', min: 0, max: 1, braces: false };
    if (this.#peek() !== '{') return undefined;
    const text = this.#chars.slice(this.#at, this.#at + 16).join('');
    const found = /^\{(\d{0,5})(,?)(\d{0,5})\}/.exec(text);
    if (!found || (found[1] === '' && found[3] === '')) return undefined;
    this.#at += found[0].length;
    const min = Number(found[1]);
    const max = found[2] === '' ? min : found[3] === '' ? infinity : Number(found[3]);
    if (min > max || min > 1000 || (max !== infinity && max > 1000)) this.#refuse(`the repeat ${found[0]}`);
    return { source: `{${min}${max === min ? '' : `,${max === infinity ? '' : max}`}}`, min, max, braces: true };
  }

  #atom(ignoreCase: boolean): Node {
    const single = (source: string): Node => {
      this.#atoms.push(source);
      return { source, match: oneOf(source), fixed: true, repeats: 0, choices: 0, least: 1, weight: 1 };
    };
    const zero = (source: string, holds: Parameters<typeof place>[0]): Node => {
      return { source, match: place(holds), fixed: true, repeats: 0, choices: 0, least: 0, weight: 0, place: true };
    };
    const c = this.#peek();
    if (c === '(') return this.#group(ignoreCase);
    if (c === '[') return single(this.#set(ignoreCase));
    if (c === '\\') {
      if (this.#take('\\A')) return zero('^', (before) => before === undefined);
      if (this.#take('\\z')) return zero('$', (_, after) => after === undefined);
      if (this.#take('\\b') || this.#take('\\B')) this.#refuse('word boundaries are not supported');
      return single(this.#escape(ignoreCase, false));
    }
    this.#at++;
    if (c === '.') return single('[^\\n]');
    if (c === '^') return zero('(?<![^\\n])', (before) => before === undefined || before === '\n');
    if (c === '$') return zero('(?![^\\n])', (_, after) => after === undefined || after === '\n');
    if (c === '*' || c === '+' || c === '?') this.#refuse(`"${c}" with nothing to repeat`);
    this.characters.add(c);
    return single(this.#character(c, ignoreCase));
  }

  #group(ignoreCase: boolean): Node {
    this.#at++;
    let open = '(?:';
    let look = false;
    if (this.#take('?:')) open = '(?:';
    else if (this.#take('?i:')) ignoreCase = true;
    else if (this.#take('?=')) [open, look] = ['(?=', true];
    else if (this.#take('?!')) [open, look] = ['(?!', true];
    else if (this.#take('?<=')) [open, look] = ['(?<=', true];
    else if (this.#take('?<!')) [open, look] = ['(?<!', true];
    else if (this.#peek() === '?') this.#refuse('this kind of group is not supported');
    const inside = this.#alternatives(ignoreCase);
    if (!this.#take(')')) this.#refuse('"(" without ")"');
    let { match } = inside;
    if (open.startsWith('(?<'))
      match = behind(match, open === '(?<=', inside.repeats > 0 ? Number.POSITIVE_INFINITY : inside.weight);
    else if (look) match = ahead(match, open === '(?=');
    return {
      ...inside,
      source: `${open}${inside.source})`,
      match,
      fixed: inside.fixed && !look,
      place: look,
      ...(look && { least: 0 }),
    };
  }

  /** `[…]`, with nested sets and `&&`, which bind as in Oniguruma: `[ab&&[^c]]` is (a or b) and not c. */
  #set(ignoreCase: boolean): string {
    if (++this.#depth > maxDepth) this.#refuse(`more than ${maxDepth} sets inside each other`);
    this.#at++;
    const negated = this.#take('^');
    const operands: string[] = [];
    let items: string[] = [];
    let first = true;
    while (first || this.#peek() !== ']') {
      if (this.#at >= this.#chars.length) this.#refuse('"[" without "]"');
      first = false;
      if (this.#take('&&')) {
        operands.push(`[${items.join('')}]`);
        items = [];
      } else if (this.#peek() === '[') {
        if (this.#peek(1) === ':') this.#refuse('POSIX brackets are not supported');
        items.push(this.#set(ignoreCase));
      } else items.push(this.#setItem(ignoreCase));
    }
    this.#at++;
    this.#depth--;
    if (operands.length) return `[${negated ? '^' : ''}${[...operands, `[${items.join('')}]`].join('&&')}]`;
    return `[${negated ? '^' : ''}${items.join('')}]`;
  }

  #setItem(ignoreCase: boolean): string {
    const low = this.#setCharacter();
    if (low === undefined) return this.#escape(ignoreCase, true);
    if (this.#peek() === '-' && this.#peek(1) !== ']' && this.#peek(1) !== '[') {
      this.#at++;
      const high = this.#setCharacter();
      if (high === undefined || high.codePointAt(0)! < low.codePointAt(0)!) this.#refuse('a range that runs backwards');
      const range = `${escapeCharacter(low)}-${escapeCharacter(high)}`;
      if (!ignoreCase) return range;
      if (high.codePointAt(0)! > 0x7f) this.#refuse('a range outside ASCII that ignores case');
      const letters = Array.from({ length: high.codePointAt(0)! - low.codePointAt(0)! + 1 }, (_, i) =>
        caseForms(String.fromCodePoint(low.codePointAt(0)! + i)).map(escapeCharacter),
      );
      return [...new Set(letters.flat())].join('');
    }
    return this.#forms(low, ignoreCase).map(escapeCharacter).join('');
  }

  /** A literal character inside a set; `undefined` (nothing taken) before a class such as `\p{L}`. */
  #setCharacter(): string | undefined {
    const c = this.#peek();
    if (c !== '\\') {
      this.#at++;
      this.characters.add(c);
      return c;
    }
    if (/[pPsSdDwW]/.test(this.#peek(1))) return undefined;
    return this.#escapedCharacter();
  }

  /** `\n`, `\x41`, `\u4e00`, `\[` → the character. */
  #escapedCharacter(): string {
    const c = this.#characterOfEscape();
    this.characters.add(c);
    return c;
  }

  #characterOfEscape(): string {
    this.#at++;
    const c = this.#peek();
    this.#at++;
    const named: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v', a: '\x07', e: '\x1b' };
    if (named[c]) return named[c];
    const rest = this.#chars.slice(this.#at, this.#at + 10).join('');
    const hex =
      c === 'x' ? /^(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})/.exec(rest) : c === 'u' ? /^([0-9a-fA-F]{4})/.exec(rest) : null;
    if (hex) {
      this.#at += hex[0].length;
      const code = Number.parseInt(hex[1] ?? hex[2], 16);
      if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) this.#refuse('a code point that is no character');
      return String.fromCodePoint(code);
    }
    if (c === '' || /[0-9A-Za-z]/.test(c)) this.#refuse(`the escape \\${c}`);
    return c;
  }

  #escape(ignoreCase: boolean, inSet: boolean): string {
    const kind = this.#peek(1);
    // Outside of sets Oniguruma has superscripts and fractions of Latin 1 among the word characters, inside not.
    const word = `\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}${inSet ? '' : '²³¹¼½¾'}`;
    const classes: Readonly<Record<string, string>> = {
      s: '\\p{White_Space}',
      S: '\\P{White_Space}',
      d: '\\p{Nd}',
      D: '\\P{Nd}',
      w: `[${word}]`,
      W: `[^${word}]`,
    };
    if (classes[kind]) {
      this.#at += 2;
      return classes[kind];
    }
    if (kind === 'p' || kind === 'P') {
      const found = /^\\[pP]\{(\^?)([A-Za-z_ ]{1,40})\}/.exec(this.#chars.slice(this.#at, this.#at + 48).join(''));
      if (!found) this.#refuse('a Unicode class without a name');
      this.#at += found[0].length;
      return unicodeClass(found[2], (kind === 'P') !== (found[1] === '^')) ?? this.#refuse(`the Unicode class ${found[0]}`);
    }
    const c = this.#escapedCharacter();
    return inSet ? this.#forms(c, ignoreCase).map(escapeCharacter).join('') : this.#character(c, ignoreCase);
  }

  #character(c: string, ignoreCase: boolean): string {
    const forms = this.#forms(c, ignoreCase);
    return forms.length === 1 ? escapeCharacter(c) : `[${forms.map(escapeCharacter).join('')}]`;
  }

  #forms(c: string, ignoreCase: boolean): string[] {
    if (!ignoreCase) return [c];
    // ß folds to ss, σ has two small forms.
    if (c > '\x7f' && /\p{Cased}/u.test(c)) this.#refuse('a letter outside ASCII that ignores case');
    return caseForms(c);
  }
}

/** `\p{L}`, `\p{Han}`: a general category, a binary property or a script. */
function unicodeClass(name: string, negated: boolean): string | undefined {
  const p = negated ? '\\P' : '\\p';
  for (const body of [name, `Script=${name}`]) {
    try {
      new RegExp(`\\p{${body}}`, 'v');
      return `${p}{${body}}`;
    } catch {
      // Not a name of this kind: try the next, and refuse in the caller when none fits.
    }
  }
  return undefined;
}

export function escapeCharacter(c: string): string {
  return /^[0-9A-Za-z]$/.test(c) ? c : `\\u{${c.codePointAt(0)!.toString(16)}}`;
}

/** ASCII characters equal under simple case folding: s, S and ſ (U+017F); k, K and K (U+212A). */
function caseForms(c: string): string[] {
  const forms = new Set([c, c.toLowerCase(), c.toUpperCase()].filter((f) => f.length === c.length));
  if (forms.has('s')) forms.add('\u017f');
  if (forms.has('k')) forms.add('\u212a');
  return [...forms];
}
