/**
 * The grammar of the command line: `qkv VERB RUN-or-FILE [key=value …] [--flag]`.
 *
 * `key=value` changes the settings, `--flag` how the command behaves, everything else is a word. After `--` all is words, so that a prompt may look
 * like a setting.
 */
import { QkvError } from '../errors.ts';
import { nearest } from '../settings/nearest.ts';
import { type Args, commonFlags, type Flag, usage, type Verb } from './verb.ts';

export interface Parsed {
  /** Absent when only flags were given (`qkv`, `qkv --help`). */
  verb?: Verb;
  args: Args;
}

/**
 * @throws E100 no such verb · E107 a flag that is unknown, lacks its value or has a wrong one · E108 a word is missing · E110 a word too many
 */
export function parse(argv: readonly string[], verbs: readonly Verb[]): Parsed {
  const args: { words: string[]; settings: Args['settings']; flags: Record<string, string | number | true | undefined> } = {
    words: [],
    settings: [],
    flags: {},
  };
  let at = 0;
  while (at < argv.length && argv[at].startsWith('-') && argv[at] !== '--') at = takeFlag(argv, at, undefined, args.flags);
  if (at >= argv.length) return { args };
  const { verb, taken } = findVerb(argv.slice(at), verbs);
  at += taken;
  let onlyWords = false;
  while (at < argv.length) {
    const word = argv[at];
    if (!onlyWords && word === '--') {
      onlyWords = true;
      at++;
    } else if (!onlyWords && /^--?[A-Za-z]/.test(word)) at = takeFlag(argv, at, verb, args.flags);
    else {
      const setting = !onlyWords && verb.settings ? /^([A-Za-z][\w.]*)=(.*)$/s.exec(word) : null;
      if (setting) args.settings.push({ key: setting[1], text: setting[2] });
      else args.words.push(word);
      at++;
    }
  }
  if (args.flags['help']) return { verb, args };
  const missing = verb.words.filter((w) => !w.optional)[args.words.length];
  if (missing) {
    throw new QkvError('E108', `qkv ${verb.name}: ${missing.name} is missing. Usage: ${usage(verb)}`, {
      verb: verb.name,
      word: missing.name,
      usage: usage(verb),
    });
  }
  if (args.words.length > verb.words.length && !verb.words.at(-1)?.rest) {
    const word = args.words[verb.words.length];
    throw new QkvError('E110', `one word too many: ${word}. Usage: ${usage(verb)}`, { word, usage: usage(verb) });
  }
  return { verb, args };
}

/** The verb that `words` begin with: two words before one; a first word that only begins verbs (`data`) means its first one. */
function findVerb(words: readonly string[], verbs: readonly Verb[]): { verb: Verb; taken: number } {
  const two = verbs.find((v) => v.name === `${words[0]} ${words[1]}`);
  if (two) return { verb: two, taken: 2 };
  const one = verbs.find((v) => v.name === words[0]);
  if (one) return { verb: one, taken: 1 };
  const group = verbs.filter((v) => v.name.startsWith(`${words[0]} `));
  const said = group.length > 0 && words[1] !== undefined && !words[1].startsWith('-') ? `${words[0]} ${words[1]}` : words[0];
  if (group.length > 0 && said === words[0] && group[0].words.every((w) => w.optional)) return { verb: group[0], taken: 1 };
  const names = group.length > 0 ? group.map((v) => v.name) : [...new Set(verbs.flatMap((v) => [v.name, v.name.split(' ')[0]]))];
  const best = nearest(said, names) ?? (group.length > 0 ? group[0].name : undefined);
  throw new QkvError('E100', `there is no verb "${said}"${best ? `. Did you mean qkv ${best}?` : ''}`, {
    verb: said,
    nearest: best,
  });
}

/** Reads the flag at `at`; returns the place after it. */
function takeFlag(
  argv: readonly string[],
  at: number,
  verb: Verb | undefined,
  flags: Record<string, string | number | true | undefined>,
): number {
  const [, spelled, , inline] = /^--?([^=]+)(=(.*))?$/s.exec(argv[at])!;
  const name = ({ h: 'help', v: 'version', o: 'out', q: 'quiet', y: 'yes' } as Record<string, string>)[spelled] ?? spelled;
  const known: readonly Flag[] = [
    ...(verb?.flags ?? []),
    ...commonFlags,
    { name: 'version', about: { en: 'version', zh: '版本' } },
  ];
  const flag = known.find((f) => f.name === name);
  const fail = (problem: string, values: Record<string, unknown> = {}): never => {
    throw new QkvError('E107', `--${name}: ${problem}`, { flag: name, verb: verb?.name ?? '', problem, ...values });
  };
  if (!flag)
    return fail('unknown', {
      nearest: nearest(
        name,
        known.map((f) => f.name),
      ),
    });
  if (flag.takes === undefined) {
    if (inline !== undefined) fail('no-value');
    flags[name] = true;
    return at + 1;
  }
  const allowed = Array.isArray(flag.takes) ? flag.takes.join(' | ') : flag.takes === 'number' ? '0, 1, 2 …' : '';
  const value = inline ?? argv[at + 1];
  if (value === undefined) return fail('needs-value', { allowed });
  if (flag.takes === 'number') {
    if (!/^\d+(\.\d+)?$/.test(value)) fail('bad-value', { allowed });
    flags[name] = Number(value);
  } else {
    if (Array.isArray(flag.takes) && !flag.takes.includes(value)) fail('bad-value', { allowed });
    flags[name] = value;
  }
  return at + (inline === undefined ? 2 : 1);
}
