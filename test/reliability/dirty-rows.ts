/**
 * 40 kinds of dirty rows among good ones, and one endless line: the job ends, every kind is counted exactly, and all good rows are used.
 *
 *     npm run build && npx tsx test/reliability/dirty-rows.ts --cli=dist/cli/main.js [--rows=1000000] [--times=100] [--long=600000000] [--folder=/tmp/qkv-dirty-rows]
 *
 * Writes rows.jsonl and table.csv, runs `qkv data pack` on them, and compares its counts with what was planted. One JSON line; exit code 1 when a figure differs.
 * Without `--cli` the sources run, with their loader in every thread: 80 MB more than what is installed takes.
 */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hash32 } from '../../src/data/order.ts';
import type { NotedKind, RefusedKind } from '../../src/data/rejects.ts';
import { pack } from './big-text.ts';

type Kind = RefusedKind | NotedKind;
/** What is planted: the row, the kind it is counted as, and the text that it gives in spite of that. */
type Dirty = [name: string, row: string | Uint8Array, kind: Kind | 'good', text?: string];

const hex = (digits: string) => Buffer.from(digits, 'hex');
const text = (inside: string) => `{"text":"${inside}"}`;
const textOf = (bytes: Uint8Array) => Buffer.concat([Buffer.from('{"text":"'), bytes, Buffer.from('"}')]);

/** Rows of JSONL. */
export const DIRTY_JSON: readonly Dirty[] = [
  ['empty line', '', 'empty'],
  ['white space', '  \t ', 'empty'],
  ['empty text', text(''), 'empty'],
  ['blank text', text(' \\n \\u3000'), 'empty'],
  ['null text', '{"text":null}', 'empty'],
  ['cut in a string', '{"text":"cut', 'bad_json'],
  ['cut in a key', '{"te', 'bad_json'],
  ['single quotes', "{'text':'single'}", 'bad_json'],
  ['comma before the end', '{"text":"a",}', 'bad_json'],
  ['something behind it', '{"text":"a"} x', 'bad_json'],
  ['two rows in a line', '{"text":"a"}{"text":"b"}', 'bad_json'],
  ['NaN', '{"text":"a","n":NaN}', 'bad_json'],
  ['tab in a string', '{"text":"a\tb"}', 'bad_json'],
  ['control character', '{"text":"a\u0001b"}', 'bad_json'],
  ['comment', '// {"text":"a"}', 'bad_json'],
  ['a list', '["text","a"]', 'bad_json'],
  ['a string', '"text"', 'bad_json'],
  ['null', 'null', 'bad_json'],
  ['a number', '17', 'bad_json'],
  ['a key twice', '{"text":"a","text":"b"}', 'bad_json'],
  ['a key twice, spelled otherwise', '{"text":"a","te\\u0078t":"b"}', 'bad_json'],
  ['a key twice inside', '{"text":"a","m":{"k":1,"k":2}}', 'bad_json'],
  ['bad escape', '{"text":"\\x41"}', 'bad_json'],
  ['another field', '{"content":"a"}', 'bad_field'],
  ['no field', '{}', 'bad_field'],
  ['number as text', '{"text":3}', 'bad_field'],
  ['list as text', '{"text":["a"]}', 'bad_field'],
  ['object as text', '{"text":{"a":1}}', 'bad_field'],
  ['truth as text', '{"text":true}', 'bad_field'],
  ['prototype', '{"__proto__":{"text":"x"}}', 'bad_field'],
  ['lead byte alone', textOf(hex('c3')), 'bad_utf8'],
  ['surrogate in UTF-8', textOf(hex('eda080')), 'bad_utf8'],
  ['overlong NUL', textOf(hex('c080')), 'bad_utf8'],
  ['beyond Unicode', textOf(hex('f4908080')), 'bad_utf8'],
  ['Latin-1', textOf(Buffer.from('caf\xe9 au lait', 'latin1')), 'bad_utf8'],
  ['GB18030', textOf(hex('b4bac3dfb2bbbef5cffe')), 'bad_utf8'],
  ['lone surrogate', text('lone \\ud800 half'), 'surrogates', 'lone \ufffd half'],
  ['special token', text('spells <|endoftext|> out'), 'special_in_text', 'spells <|endoftext|> out'],
  ['CRLF', `${text('crlf')}\r`, 'good', 'crlf'],
  ['NUL and U+2028', text('a\\u0000b\\u2028c'), 'good', 'a\0b\u2028c'],
];
/** Records of CSV with the columns id and text. */
export const DIRTY_CSV: readonly Dirty[] = [
  ['one column', 'alone', 'bad_csv'],
  ['three columns', '1,a,b', 'bad_csv'],
  ['text behind a quote', '1,"a"b', 'bad_csv'],
  ['empty cell', '1,', 'empty'],
  ['quotes, comma and line end', '1,"a ""b"", c\nd"', 'good', 'a "b", c\nd'],
];

/** Resident bytes that rows of any kind and number may take. */
const MOST_RESIDENT = { installed: 300e6, sources: 400e6 };

export interface DirtyResult {
  rows: number;
  kinds: number;
  seconds: number;
  peakResident: number;
  counted: Record<string, number>;
  /** What differs from what was planted; empty when all is right. */
  wrong: string[];
}

export async function dirtyRows(
  folder: string,
  { rows, times, long, cli }: { rows: number; times: number; long: number; cli?: string },
): Promise<DirtyResult> {
  rmSync(folder, { recursive: true, force: true });
  const input = join(folder, 'in');
  mkdirSync(input, { recursive: true });
  const expected: Record<string, number> = { rows: 0, documents: 0, bytes: 0, bom: 1, too_long: long > 0 ? 1 : 0 };
  const count = (kind: string, n = 1) => {
    expected[kind] = (expected[kind] ?? 0) + n;
  };
  /** Good rows with the dirty ones spread among them by chance, each `times` times. */
  const write = (
    name: string,
    start: string,
    good: number,
    dirty: readonly Dirty[],
    row: (text: string) => string,
    end: (fd: number) => void,
  ) => {
    const fd = openSync(join(input, name), 'w');
    let waiting: Uint8Array[] = [Buffer.from(start)];
    const flush = () => {
      writeSync(fd, Buffer.concat(waiting));
      waiting = [];
    };
    const planted = dirty.length * times;
    const every = Math.max(1, Math.floor(good / planted));
    for (let i = 0, k = 0; i < good || k < planted; i++) {
      if (i < good) {
        const said = `good row ${name} ${i} 好 ${'word '.repeat(hash32(i) % 12)}`;
        waiting.push(Buffer.from(`${row(said)}\n`));
        count('rows');
        count('documents');
        count('bytes', Buffer.byteLength(said));
      }
      if (k < planted && (i % every === hash32(i, 1) % every || i >= good)) {
        const [, bytes, kind, gives] = dirty[k++ % dirty.length];
        waiting.push(Buffer.from(bytes), Buffer.from('\n'));
        count('rows');
        if (kind !== 'good') count(kind);
        if (gives !== undefined) {
          count('documents');
          count('bytes', Buffer.byteLength(gives));
        }
      }
      if (waiting.length > 4096) flush();
    }
    flush();
    end(fd);
    closeSync(fd);
  };
  write(
    'rows.jsonl',
    '\ufeff',
    Math.round(rows * 0.9),
    DIRTY_JSON,
    (t) => JSON.stringify({ text: t, n: 1 }),
    (fd) => {
      if (long > 0) {
        writeSync(fd, '{"text":"');
        const part = Buffer.alloc(1 << 20, 'no end in sight ');
        for (let n = 0; n < long; n += part.length) writeSync(fd, part);
        writeSync(fd, '"}\n');
        count('rows');
      }
      writeSync(fd, '{"text":"the file is cut he');
      count('rows');
      count('truncated');
    },
  );
  write(
    'table.csv',
    'id,text\n',
    rows - Math.round(rows * 0.9),
    DIRTY_CSV,
    (t) => `7,"${t}"`,
    () => {},
  );

  const began = performance.now();
  const outDir = join(folder, 'out');
  const { peak: peakResident } = (await pack(input, outDir, {
    cli,
    settings: ['tokenizer=byte', 'data.maxRejected=0.5', 'valFraction=0.1'],
  }))!;
  const seconds = (performance.now() - began) / 1000;
  const { rows: counted, train, val } = JSON.parse(readFileSync(join(outDir, 'manifest.json'), 'utf8'));
  const found: Record<string, number> = {
    ...counted,
    documents: train.documents + val.documents,
    bytes: train.bytes + val.bytes,
  };
  const wrong = Object.keys({ ...found, ...expected })
    .filter((k) => (found[k] ?? 0) !== (expected[k] ?? 0))
    .map((k) => `${k}: ${found[k]} counted, ${expected[k] ?? 0} planted`);
  const rejects = readFileSync(join(outDir, 'rejects.jsonl'), 'utf8').split('\n').length - 1;
  const refused = ['bad_utf8', 'too_long', 'bad_json', 'bad_csv', 'bad_field', 'truncated', 'empty'].reduce(
    (n, k) => n + found[k],
    0,
  );
  if (rejects !== refused) wrong.push(`rejects.jsonl has ${rejects} lines, ${refused} rows were refused or empty`);
  return {
    rows: expected['rows'],
    kinds: DIRTY_JSON.length + DIRTY_CSV.length + 3,
    seconds,
    peakResident,
    counted: found,
    wrong,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name: string) => process.argv.find((a) => a.startsWith(`--${name}=`))?.split('=')[1];
  const folder = option('folder') ?? '/tmp/qkv-dirty-rows';
  const cli = option('cli');
  const result = await dirtyRows(folder, {
    rows: Number(option('rows') ?? 1_000_000),
    times: Number(option('times') ?? 100),
    long: Number(option('long') ?? 600e6),
    cli,
  });
  console.log(JSON.stringify({ ...result, bytesIn: statSync(join(folder, 'in/rows.jsonl')).size }));
  process.exitCode = result.wrong.length === 0 && result.peakResident <= MOST_RESIDENT[cli ? 'installed' : 'sources'] ? 0 : 1;
}
