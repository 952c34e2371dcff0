import { expect, test } from 'vitest';
import { displayWidth } from '../figures/width.ts';
import { bytes, clock, compact, count, duration, short } from './format.ts';
import { jsonLine, languageOf, Output, printable, table, wantsColour } from './output.ts';

function collected(options: Partial<ConstructorParameters<typeof Output>[0]> & { tty?: boolean } = {}) {
  const written = { stdout: '', stderr: '' };
  const out = new Output({
    stdout: { write: (t) => (written.stdout += t), isTTY: options.tty, columns: 80 },
    stderr: { write: (t) => (written.stderr += t) },
    ...options,
  });
  return { out, written };
}

test('--json: JSON lines on stdout, each with its schema, and everything human on stderr', () => {
  const { out, written } = collected({ json: true });
  out.say('hello');
  out.answer('table');
  out.message('W201', { reason: 'x' });
  out.event({ type: 'result', ok: true, lossNats: Number.NaN, map: new Map([['a', 1]]), ids: Int32Array.of(1, 2) });
  expect(written.stderr).toContain('hello\ntable\n');
  const lines = written.stdout
    .trimEnd()
    .split('\n')
    .map((l) => JSON.parse(l));
  expect(lines.every((l) => l.schema === 1)).toBe(true);
  expect(lines[0]).toMatchObject({ type: 'warning', code: 'W201' });
  expect(lines[1]).toEqual({ schema: 1, type: 'result', ok: true, lossNats: 'NaN', map: { a: 1 }, ids: [1, 2] });
});

test('without --json no JSON; --quiet keeps what was asked for', () => {
  const { out, written } = collected({ quiet: true });
  out.say('chat');
  out.answer('answer');
  out.event({ type: 'x' });
  expect(written.stdout).toBe('answer\n');
});

test('a live line is drawn on a terminal only, and other lines come above it', () => {
  const { out, written } = collected({ tty: true, env: { TERM: 'xterm' } });
  out.live('50%');
  out.say('row');
  out.live('');
  expect(written.stdout).toBe('\r\x1b[K50%\r\x1b[Krow\n50%\r\x1b[K');
  // One that would wrap could not be drawn over.
  const long = collected({ tty: true, env: { TERM: 'xterm' } });
  long.out.live('损失'.repeat(40));
  expect(displayWidth(long.written.stdout.replace('\r\x1b[K', ''))).toBeLessThan(80);
  const plain = collected();
  plain.out.live('50%');
  expect(plain.written.stdout).toBe('');
  const dumb = collected({ tty: true, env: { TERM: 'dumb' } });
  dumb.out.live('50%');
  expect(dumb.written.stdout).toBe('');
});

test('colour: NO_COLOR and FORCE_COLOR are obeyed', () => {
  expect(wantsColour({ TERM: 'xterm' }, true)).toBe(true);
  expect(wantsColour({ TERM: 'xterm' }, false)).toBe(false);
  expect(wantsColour({ TERM: 'dumb' }, true)).toBe(false);
  expect(wantsColour({ NO_COLOR: '1', FORCE_COLOR: '1' }, true)).toBe(false);
  expect(wantsColour({ NO_COLOR: '' }, true)).toBe(true);
  expect(wantsColour({ FORCE_COLOR: '1' }, false)).toBe(true);
  expect(wantsColour({ FORCE_COLOR: '0' }, true)).toBe(false);
});

test('language: the flag, then QKV_LANG, LC_ALL, LANG', () => {
  expect(languageOf('zh', { LANG: 'en_US.UTF-8' })).toBe('zh');
  expect(languageOf(undefined, { QKV_LANG: 'en', LC_ALL: 'zh_CN.UTF-8' })).toBe('en');
  expect(languageOf(undefined, { LC_ALL: 'zh_CN.UTF-8', LANG: 'C' })).toBe('zh');
  expect(languageOf(undefined, { LANG: 'de_DE.UTF-8' })).toBe('en');
  expect(languageOf(undefined, {})).toBe('en');
});

test('an error ends with its JSON line and its exit code; a stack only with --debug', () => {
  const { out, written } = collected({ json: true });
  expect(out.failure(new TypeError('oops'))).toBe(1);
  expect(JSON.parse(written.stdout)).toMatchObject({ schema: 1, type: 'error', ok: false, code: 'E190', exit: 1 });
  expect(written.stderr).not.toContain('output.test');
  const debug = collected({ debug: true });
  debug.out.failure(new TypeError('oops'));
  expect(debug.written.stderr).toContain('output.test');
});

test('after the reader went away nothing is written', () => {
  const { out, written } = collected();
  out.closed = true;
  out.say('x');
  out.failure(new Error('y'));
  expect(written).toEqual({ stdout: '', stderr: '' });
});

test('numbers in words', () => {
  expect([count(1234567, 'en'), count(1234567, 'zh'), count(12, 'zh')]).toEqual(['1,234,567', '1 234 567', '12']);
  expect([
    compact(331776, 'en'),
    compact(124439808, 'en'),
    compact(10.65e6, 'zh'),
    compact(99.6e6, 'en'),
    compact(1024, 'en'),
    compact(1.5e9, 'en'),
  ]).toEqual(['0.33M', '124M', '10.7M', '100M', '1,024', '1.50G']);
  expect([bytes(812), bytes(1300), bytes(22.4e6), bytes(5.9e9), bytes(999.9e6)]).toEqual([
    '812 B',
    '1.3 kB',
    '22 MB',
    '5.9 GB',
    '1.0 GB',
  ]);
  expect([clock(7), clock(160), clock(3850), clock(Number.NaN)]).toEqual(['0:07', '2:40', '1:04:10', '–:––']);
  expect([duration(8, 'en'), duration(160, 'zh'), duration(11100, 'en'), duration(187200, 'en')]).toEqual([
    '8.0 s',
    '2 分 40 秒',
    '3 h 5 min',
    '2 d 4 h',
  ]);
  expect([short(1e-3), short(7.43e-4), short(0.912), short(47000), short(0), short(Number.NaN)]).toEqual([
    '1e-3',
    '7.4e-4',
    '0.912',
    '4.7e4',
    '0',
    'NaN',
  ]);
});

test('tables line up by columns of the terminal', () => {
  expect(
    table(
      ['名字', 'n'],
      [
        ['解码', '7'],
        ['abc', '12'],
      ],
      [1],
    ),
  ).toBe('名字   n\n解码   7\nabc   12');
});

test('text from files cannot steer the terminal; JSON keeps what it cannot say', () => {
  expect(printable('a\x1b[2Jb\x07\x9b\x7f\n\t')).toBe('a␛[2Jb␇\ufffd␡\n\t');
  expect(jsonLine({ a: Number.POSITIVE_INFINITY, b: 12n })).toBe('{"a":"Infinity","b":"12"}');
});
