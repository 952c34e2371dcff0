import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { cleaner, controls, html, scripts, unicode, webRules, whitespace } from './clean.ts';
import { personal } from './personal.ts';
import { c4, gopherQuality } from './quality.ts';
import { gopherRepetition } from './repetition.ts';
import { wordsOf } from './words.ts';

const english = Array.from(
  { length: 12 },
  (_, i) =>
    `On day ${i} the crew had to repair the ${['mast', 'sail', 'rudder', 'pump', 'galley', 'anchor'][i % 6]}${i}, and all of them worked with care until the light was gone.`,
).join('\n');
const chinese = Array.from(
  { length: 12 },
  (_, i) =>
    `第${i}天，船员们在${['甲板', '船舱', '桅杆', '厨房'][i % 4]}上工作，修好了${i + 3}个零件，大家都很高兴，因为天气是晴朗的。`,
).join('\n');

test.each([
  ['NFC composes', unicode(), 'e\u0301 ｆｕｌｌ', 'é ｆｕｌｌ'],
  ['NFKC also unfolds', unicode('NFKC'), 'ｆｕｌｌ ½ ﬁ', 'full 1⁄2 fi'],
  [
    'controls go, line ends are \\n',
    controls(),
    '\ufeffa\r\nb\rc\u2028d\u0000e\u200bf\u00adg\th\u0007\u202e',
    'a\nb\nc\ndefg\th',
  ],
  ['emoji joiners stay', controls(), '👩\u200d🔬 ن\u200cم', '👩\u200d🔬 ن\u200cم'],
  [
    'tags, scripts and comments',
    html(),
    '<html><head><title>t</title></head><body><h1>One</h1><p>a <b>bold</b>&nbsp;word &amp; x &lt; y</p><script>if (a<b) {}</script><!-- no --><ul><li>1<li>2</ul></body>',
    'One\n\na bold word & x < y\n\n1\n2',
  ],
  ['entities by number', html(), '&#20013;&#x6587; &#xd800; &unknown; &#0;', '中文 &#xd800; &unknown; &#0;'],
  ['text with < and & is left as it is', html(), 'if a < b  && c > d,  AT&T', 'if a < b  && c > d,  AT&T'],
  ['an unclosed script eats the rest', html(), 'a<script>b', 'a'],
  ['white space', whitespace(), 'a  \n\n\n\nb\t\nc d', 'a\n\nb\nc d'],
  ['mail', personal(), 'write to jo.e+x@mail.example.co.uk, or @home, a@b', 'write to <EMAIL>, or @home, a@b'],
  [
    'IPv4',
    personal(),
    'from 192.168.0.254 but not 1.2.3 or 1.2.3.4.5 or 300.1.1.1',
    'from <IP> but not 1.2.3 or 1.2.3.4.5 or 300.1.1.1',
  ],
  [
    'phones',
    personal(),
    '电话13912345678，+44 20 7946 0958, (212) 555-0123, in 1984-1985, 13912345678901',
    '电话<PHONE>，<PHONE>, <PHONE>, in 1984-1985, 13912345678901',
  ],
  [
    'identity numbers only with a right check digit',
    personal(),
    '11010519491231002X 110105194912310021',
    '<ID> 110105194912310021',
  ],
  ['cards only with a right check digit', personal(), '4111 1111 1111 1111, 4111 1111 1111 1112', '<CARD>, 4111 1111 1111 1112'],
  ['keys', personal(), `token ghp_${'a1'.repeat(18)} and AKIAABCDEFGHIJKLMNOP.`, 'token <KEY> and <KEY>.'],
  ['good English passes Gopher', gopherQuality(), english, english],
  ['good Chinese passes Gopher', gopherQuality(), chinese, chinese],
  ['too short', gopherQuality(), 'the and of', undefined],
  ['no function words', gopherQuality(), 'Apple Banana Cherry Damson '.repeat(20), undefined],
  ['words too long', gopherQuality(), 'the of and '.repeat(5) + 'internationalisation '.repeat(60), undefined],
  ['symbols', gopherQuality(), 'the #tag of #all things and '.repeat(20), undefined],
  ['bullets', gopherQuality(), '- the end of the day and that of them all\n'.repeat(20), undefined],
  ['ellipses', gopherQuality(), 'the end of the day and that was with them all...\n'.repeat(20), undefined],
  ['numbers', gopherQuality(), 'the of 1234 5678 9012 3456 '.repeat(20), undefined],
  [
    'varied text passes repetition',
    gopherRepetition(),
    english.replace(
      / the crew had to repair| and all of them worked with care until the light was gone/g,
      (_m, at) =>
        ` ${at
          .toString(36)
          .split('')
          .map((c: string) => c.repeat(3))
          .join(' ')} ${hashWords(at)}`,
    ),
    'same',
  ],
  ['a line again and again', gopherRepetition(), `${english}\n`.repeat(3), undefined],
  ['a phrase again and again', gopherRepetition(), Array.from({ length: 40 }, (_, i) => `buy now ${i}`).join(' '), undefined],
  ['long phrases repeated', gopherRepetition(), `${hashWords(1)} ${hashWords(2)} ${hashWords(3)} ${hashWords(2)}`, undefined],
  [
    'C4 keeps sentences',
    c4(),
    'Menu\nThe boat left the harbour early. It came back late.\nPlease enable JavaScript to see this page.\nHome | About\nNobody on it said a word.',
    'The boat left the harbour early. It came back late.\nNobody on it said a word.',
  ],
  [
    'C4 in Chinese',
    c4(),
    '首页\n船很早就离开了港口。它很晚才回来。\n关于我们\n没有人说一句话！',
    '船很早就离开了港口。它很晚才回来。\n没有人说一句话！',
  ],
  ['C4 drops code and placeholders', c4(), 'function f() { return 1. 2. 3. }', undefined],
  ['C4 drops fewer than three sentences', c4(), 'The boat left the harbour early.', undefined],
  ['scripts', scripts(['Han']), 'mostly latin 中文', undefined],
  ['scripts, kept', scripts(['Han']), '主要是中文 ok', '主要是中文 ok'],
] as const)('%s', (_name, rule, before, after) => {
  expect(rule.apply(before)).toBe(after === 'same' ? before : after);
});

function hashWords(seed: number): string {
  const hex = createHash('sha256').update(String(seed)).digest('hex');
  return (hex.match(/.{5}/g) ?? []).join(' ');
}

test('words: between blanks, or Han one by one', () => {
  expect(wordsOf('a b-c  d')).toEqual(['a', 'b-c', 'd']);
  expect(wordsOf('第3天，GPT很好')).toEqual(['第', '3', '天', 'GPT', '很', '好']);
});

test('each rule reports what it kept, changed and dropped, with examples; the output is the same in any order', () => {
  const documents = [
    english,
    chinese,
    '<p>too short</p>',
    `${english} mail me@example.org`,
    `${english}\n`.repeat(3),
    chinese.replaceAll('\n', '\r\n'),
  ];
  const rules = () => [controls(), html(), personal(), gopherQuality(), gopherRepetition()];
  const forward = cleaner(rules());
  const out = documents.map((d) => forward.clean(d));
  const report = Object.fromEntries(forward.report().map((r) => [r.name, r]));
  expect(report['controls']).toMatchObject({ seen: 6, kept: 5, changed: 1, dropped: 0 });
  expect(report['html']).toMatchObject({
    seen: 6,
    kept: 5,
    changed: 1,
    examples: [{ what: 'changed', before: '<p>too short</p>', after: 'too short' }],
  });
  expect(report['personal']).toMatchObject({ changed: 1 });
  expect(report['personal'].examples[0].after).toContain('mail <EMAIL>');
  expect(report['gopherQuality(50,100000)']).toMatchObject({ seen: 6, dropped: 1 });
  for (const r of forward.report()) expect(r.kept + r.changed + r.dropped).toBe(r.seen);
  const backward = cleaner(rules());
  expect(
    [...documents]
      .reverse()
      .map((d) => backward.clean(d))
      .reverse(),
  ).toEqual(out);
  expect(cleaner(rules()).hash).toBe(forward.hash);
  expect(cleaner([controls(), gopherQuality({ minWords: 10 })]).hash).not.toBe(cleaner([controls(), gopherQuality()]).hash);
});

test('hostile text takes no longer than long text', () => {
  const hostile = [
    '<'.repeat(200_000),
    '<script'.repeat(30_000),
    '<!--'.repeat(50_000),
    ' '.repeat(200_000) + 'x',
    '&#'.repeat(100_000),
    '1'.repeat(200_000),
    '1.'.repeat(100_000),
    'a@'.repeat(100_000),
    `${'a.'.repeat(100_000)}@`,
    '1 2-'.repeat(50_000),
    'a+-.'.repeat(50_000),
  ];
  // No clock: a rule that goes back over the text for each character would take minutes here, and run into the test's own limit.
  for (const text of hostile)
    for (const rule of webRules()) expect((rule.apply(text) ?? '').length).toBeLessThanOrEqual(text.length);
});
