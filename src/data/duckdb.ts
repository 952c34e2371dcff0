/**
 * A pipeline file as SQL for DuckDB: where a corpus outgrows one machine's patience, its filters and statistics run over Parquet in a data base, and give the
 * counts that cleaner() gives. Rules that SQL cannot say (html, personal, c4, repetition, languages …) stay with `qkv data clean`; naming one is an error.
 *
 *     const { rows, report } = pipelineSql(pipeline, { from: "read_parquet('web/*.parquet')" });
 */
import { badPipeline } from './errors.ts';
import { rulesFrom } from './pipeline.ts';

export interface PipelineSql {
  /** Selects the rows that are kept, with their cleaned text and all other columns. */
  rows: string;
  /** Selects name, seen, kept, changed, dropped of each rule, in order. */
  report: string;
}

type Step = { text: string } | { where: string };

/** White space of ECMAScript's \s and trim(), in a class of RE2. */
const SPACE = '\\t-\\r \\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}';
const BLANK = '\\t-\\r \\x{a0}\\x{3000}';
const text = (s: string) => `'${s.replaceAll("'", "''")}'`;
/** How often a pattern matches. */
const matches = (t: string, pattern: string) => `len(regexp_extract_all(${t}, ${text(pattern)}))`;
const replaced = (t: string, pattern: string, by: string) => `regexp_replace(${t}, ${text(pattern)}, ${by}, 'g')`;
const occurrences = (t: string, part: string) => `((length(${t}) - length(replace(${t}, ${text(part)}, ''))) / ${part.length})`;
/** UTF-16 code units, in which `length` and word lengths count. */
const units = (t: string) => `(length(${t}) + ${matches(t, '[\\x{10000}-\\x{10ffff}]')})`;

type Options = Record<string, unknown>;
const steps: Record<string, (options: Options) => Step[]> = {
  unicode: ({ form = 'NFC' }) => (form === 'NFC' ? [{ text: 'nfc_normalize(t)' }] : []),
  controls: () => [
    {
      text: replaced(
        replaced('t', '\\r\\n?|[\\x{85}\\x{2028}\\x{2029}]', 'chr(10)'),
        '[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x{9f}\\x{ad}\\x{200b}\\x{200e}\\x{200f}\\x{202a}-\\x{202e}\\x{2060}-\\x{2064}\\x{feff}\\x{fff9}-\\x{fffb}]',
        "''",
      ),
    },
  ],
  whitespace: () => [{ text: replaced(replaced('t', '(?m)[ \\t]+$', "''"), '\\n{3,}', 'chr(10) || chr(10)') }],
  length: ({ min = 1, max }) => [
    { where: `${units('t')} >= ${Number(min)}${max === undefined ? '' : ` and ${units('t')} <= ${Number(max)}`}` },
  ],
  scripts: ({ names, share = 0.5 }) => [
    {
      where: `${matches('t', '\\p{L}')} > 0 and ${matches('t', `[${(names as string[]).map((n) => `\\p{${n}}`).join('')}]`)} >= ${Number(share)} * ${matches('t', '\\p{L}')}`,
    },
  ],
  gopherQuality: ({ minWords = 50, maxWords = 100_000 }) => [{ where: gopher(Number(minWords), Number(maxWords)) }],
};
/** Rules that DuckDB can run. */
export const sqlRules: readonly string[] = Object.keys(steps);

const FUNCTION_WORDS = ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'];
const CHINESE_FUNCTION_WORDS = [...'的了是在和不有我这他這們们之也而其'];

/** Gopher's quality filter, in both languages (quality.ts says what it asks). */
function gopher(minWords: number, maxWords: number): string {
  const letters = matches('t', '\\p{L}');
  const han = matches('t', '\\p{Han}');
  const chineseWords = `(${han} + ${matches(replaced('t', '\\p{Han}', "' '"), '[\\p{L}\\p{N}]+')})`;
  const plainWords = matches('t', `[^${SPACE}]+`);
  const lines = `list_filter(list_transform(string_split(t, chr(10)), x -> ${replaced('x', `^[${BLANK}]+|[${BLANK}]+$`, "''")}), x -> x <> '')`;
  const symbols = ['#', '…', '...'].map((s) => occurrences('t', s)).join(' + ');
  const of = (words: string) =>
    [
      `${words} >= ${minWords} and ${words} <= ${maxWords}`,
      `${symbols} <= 0.1 * ${words}`,
      `len(list_filter(${lines}, x -> regexp_matches(x, ${text(`^[${SPACE}]*([-*•·●◆■□○▪►‣※]|[①-⑳])`)}))) <= 0.9 * len(${lines})`,
      `len(list_filter(${lines}, x -> suffix(x, '…') or suffix(x, '...'))) <= 0.3 * len(${lines})`,
    ].join(' and ');
  const chinese = [
    of(chineseWords),
    `${chineseWords} / (${matches('t', '[，。！？；：、,.!?;:\\n…]+')} + 1) between 2 and 60`,
    `${letters} >= 0.6 * ${matches('t', `[^${BLANK}]`)}`,
    `(${CHINESE_FUNCTION_WORDS.map((w) => `contains(t, ${text(w)})::int`).join(' + ')}) >= 2`,
  ];
  const word = (w: string) =>
    `regexp_matches(t, ${text(`(^|[${SPACE}])(${w}|${w[0].toUpperCase()}${w.slice(1)}|${w.toUpperCase()})([${SPACE}]|$)`)})::int`;
  const plain = [
    of(plainWords),
    `${units(replaced('t', `[${SPACE}]+`, "''"))} / ${plainWords} between 3 and 10`,
    `${matches('t', `[^${SPACE}]*\\p{L}[^${SPACE}]*`)} >= 0.8 * ${plainWords}`,
    `(${FUNCTION_WORDS.map(word).join(' + ')}) >= 2`,
  ];
  return `case when ${letters} > 0 and ${han} / ${letters} > 0.3 then ${chinese.join(' and ')} else ${plain.join(' and ')} end`;
}

/**
 * The SQL of a parsed pipeline file. `from`: what to read, as it stands behind FROM (`read_parquet('…')`, a table). Rows whose text is null or blank are left out
 * first, as when `qkv data clean` reads them. E142 for a file that is no pipeline, or has a rule that SQL cannot say.
 */
export function pipelineSql(
  pipeline: unknown,
  { from, field = 'text', path = 'pipeline' }: { from: string; field?: string; path?: string },
): PipelineSql {
  const names = rulesFrom(pipeline, path).map((r) => r.name);
  const column = `"${field.replaceAll('"', '""')}"`;
  const ctes = [
    `r0 as (select * exclude (${column}), ${column} as t, ${column} as b from ${from} where ${column} is not null and regexp_matches(${column}, ${text(`[^${SPACE}]`)}))`,
  ];
  const listed = (pipeline as { rules: (string | Record<string, Options>)[] }).rules;
  for (const [i, entry] of listed.entries()) {
    const [name, options] = typeof entry === 'string' ? [entry, {}] : Object.entries(entry)[0];
    const made = Object.hasOwn(steps, name) ? steps[name](options) : [];
    if (made.length !== 1)
      throw badPipeline(
        path,
        `rule ${i + 1}, ${name}${'form' in options ? `(${String(options['form'])})` : ''}, is not one that SQL can say`,
        sqlRules,
      );
    const [step] = made;
    ctes.push(
      `r${i + 1} as (select * exclude (t, b), ${'text' in step ? `${step.text} as t, t as b` : 't, t as b'} from r${i}${'where' in step ? ` where ${step.where}` : ''})`,
    );
  }
  const head = `with ${ctes.join(',\n     ')}`;
  const count = (i: number, where = '') => `(select count(*) from r${i}${where})`;
  const lines = names.map((name, i) => {
    const changed = count(i + 1, ' where t <> b');
    return `select ${i} as n, ${text(name)} as name, ${count(i)} as seen, ${count(i + 1)} - ${changed} as kept, ${changed} as changed, ${count(i)} - ${count(i + 1)} as dropped`;
  });
  return {
    rows: `${head}\nselect * exclude (t, b), t as ${column} from r${names.length}`,
    report: `${head}\n${lines.join('\nunion all ')}\norder by n`,
  };
}

/** Statistics of a text column: documents, characters (code points), bytes, quantiles of the characters of a document, share of Han among letters. */
export function statisticsSql({ from, field = 'text' }: { from: string; field?: string }): string {
  const column = `"${field.replaceAll('"', '""')}"`;
  return `with r as (select ${column} as t from ${from} where ${column} is not null and regexp_matches(${column}, ${text(`[^${SPACE}]`)}))
select count(*) as documents, sum(length(t)) as characters, sum(strlen(t)) as bytes, min(length(t)) as shortest,
       quantile_disc(length(t), 0.5) as median, quantile_disc(length(t), 0.9) as p90, max(length(t)) as longest,
       sum(${matches('t', '\\p{Han}')}) / nullif(sum(${matches('t', '\\p{L}')}), 0) as han
from r`;
}
