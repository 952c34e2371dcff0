import { expect, test } from 'vitest';
import { boilerplate, repeatedLines } from './boilerplate.ts';
import { chinese } from './chinese.ts';
import { cleaner, html, type Rule } from './clean.ts';
import { htmlToText } from './html.ts';
import { languageOf, languages, loadLanguages } from './language.ts';
import { hongKongIdIsValid, personal, taiwanIdIsValid } from './personal.ts';

test('a page becomes its content', () => {
  const page = `<!DOCTYPE html><html><head><title>The boat</title><script>var a = "<p>no</p>";</script></head>
<body><nav><ul><li><a href="/">Home</a><li>News</ul></nav>
<div class="cookie-banner"><div>We use cookies. <button>OK</button></div></div>
<h1>The boat</h1><p title="a > b">It left the
harbour &mdash; early.</p><pre>a  b
c</pre><aside>Other pages</aside><footer>&copy; 2024</footer></body></html>`;
  expect(htmlToText(page, true)).toBe('The boat\n\nIt left the harbour — early.\n\na b\nc');
  expect(htmlToText(page)).toContain('Home');
  expect(htmlToText('<nav>never closed <p>text</p>', true)).toBe('never closed\ntext');
  expect(htmlToText('<nav><nav>one end too few</nav><p>text</p>', true)).toContain('text');
  expect(htmlToText('<nav>only a menu</nav>', true)).toBe('only a menu');
  expect(html().apply('one <b>bold</b> word\nand a line end that stays')).toBe('one bold word\nand a line end that stays');
  expect(html({ content: true }).name).not.toBe(html().name);
});

test('hostile pages end', () => {
  for (const text of [
    '<a="'.repeat(50_000),
    `${'<a="'.repeat(50_000)}>`,
    '<nav>'.repeat(40_000),
    `${'<nav><div role="menu">'.repeat(20_000)}</div>`,
    "<a b='".repeat(40_000),
    '<script '.repeat(30_000),
    '<head>'.repeat(30_000),
  ])
    expect(htmlToText(text, true).length).toBeLessThanOrEqual(text.length);
});

test('menus, cookie notices and footers go; what is told stays', () => {
  const story = 'The boat left the harbour early, and it came back late.\nNobody on it said a word.';
  const page = `Home\nNews\nSports\nAbout us\nContact\n\n${story}\nHome | News | About us | Contact\nWe use cookies to make this site better.\nRead more »\nCopyright 2024 Example Ltd. All rights reserved.`;
  const notes: string[] = [];
  expect(boilerplate().apply(page, (n) => notes.push(n))).toBe(story);
  expect(notes.filter((n) => n === 'menu')).toHaveLength(6);
  const chinesePage =
    '首页\n新闻\n体育\n财经\n娱乐\n首页 > 新闻 > 国内\n船很早就离开了港口。\n没有人说一句话！\n责任编辑：王小明\n京ICP备12345678号-1\n上一篇：\n版权所有 某某公司';
  expect(boilerplate().apply(chinesePage)).toBe('船很早就离开了港口。\n没有人说一句话！');
  for (const kept of [
    story,
    '床前明月光\n疑是地上霜\n举头望明月\n低头思故乡\n床前明月光\n疑是地上霜',
    'He copied the copyright law.\nShe accepted his cookies.',
  ])
    expect(boilerplate().apply(kept)).toBe(kept);
});

test('lines that many documents share go, in a first pass over all of them', () => {
  const documents = Array.from(
    { length: 40 },
    (_, i) =>
      `Story number ${i} is told here.\nShared by ${i < 9 ? 'nine' : 'others'}.\nSite of the week.\nIts end was number ${i * i}.`,
  );
  const clean = cleaner([repeatedLines({ documents: 10 })]);
  expect(clean.learns).toBe(true);
  for (const d of documents) clean.learn(d);
  const out = documents.map((d) => clean.clean(d));
  expect(out[0]).toBe('Story number 0 is told here.\nShared by nine.\nIts end was number 0.');
  expect(out[20]).toBe('Story number 20 is told here.\nIts end was number 400.');
  expect(clean.report()[0]).toMatchObject({ changed: 40, notes: { line: 40 + 31 } });
});

const converted = async (rule: Rule, text: string) => {
  await rule.load!();
  return rule.apply(text);
};
test('simplified and traditional, both ways', async () => {
  expect(await converted(chinese(), '頭髮乾燥，後來發展，皇后')).toBe('头发干燥，后来发展，皇后');
  expect(await converted(chinese({ to: 'traditional' }), '头发干燥，后来发展，皇后')).toBe('頭髮乾燥，後來發展，皇后');
  expect(await converted(chinese({ to: 'taiwan' }), '里面')).toBe('裡面');
  expect(await converted(chinese(), 'No Chinese.')).toBe('No Chinese.');
  expect(await converted(chinese(), '東京へ行きました。駅前の図書館でした。')).toBe('東京へ行きました。駅前の図書館でした。');
  expect(() => chinese().apply('漢')).toThrow(/load/);
});

const SENTENCES: [string, string][] = [
  ['en', 'The boat left the harbour early in the morning and nobody knew when it would come back.'],
  ['fr', 'Le bateau a quitté le port tôt le matin et personne ne savait quand il reviendrait.'],
  ['de', 'Das Boot verließ den Hafen früh am Morgen, und niemand wusste, wann es zurückkommen würde.'],
  ['es', 'El barco salió del puerto por la mañana temprano y nadie sabía cuándo volvería.'],
  ['ru', 'Лодка покинула гавань рано утром, и никто не знал, когда она вернётся.'],
  ['zh', '船一大早就离开了港口，没有人知道它什么时候回来。'],
  ['zh', '船一大早就離開了港口，沒有人知道它什麼時候回來。'],
  ['ja', '船は朝早く港を出て、いつ戻るのか誰も知らなかった。'],
  ['ko', '배는 아침 일찍 항구를 떠났고 언제 돌아올지 아무도 몰랐다.'],
  ['und', '12 34 !?'],
];
test('languages', async () => {
  await loadLanguages();
  for (const [code, text] of SENTENCES) {
    expect(languageOf(text), text).toBe(code);
    expect(languageOf(`${text} `.repeat(30)), text).toBe(code);
  }
  const clean = cleaner([languages({ codes: ['zh', 'ja'] })]);
  await clean.load();
  expect(SENTENCES.filter(([, text]) => clean.clean(text) !== undefined)).toHaveLength(3);
  expect(clean.report()[0].notes).toMatchObject({ en: 1, zh: 2, ja: 1, und: 1 });
});

test.each([
  ['IPv6', 'from 2001:db8:0:0:0:0:0:1 or fe80:0:0::5 at 12:30:45, std::vector', 'from <IP> or <IP> at 12:30:45, std::vector'],
  ['landline', '电话 010-62345678，(0755)8234567，0571-87654321', '电话 <PHONE>，<PHONE>，<PHONE>'],
  [
    'Taiwan and Hong Kong, with a right check digit',
    'A123456789 A123456788 A123456(3) A123456(4)',
    '<ID> A123456788 <ID> A123456(4)',
  ],
  ['PEM', 'x\n-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\ny', 'x\n<KEY>\ny'],
  ['JSON web token', `eyJ${'a'.repeat(20)}.eyJ${'b'.repeat(20)}.${'c'.repeat(20)}`, '<KEY>'],
] as const)('personal data: %s', (_name, before, after) => {
  expect(personal().apply(before)).toBe(after);
});

test('check digits: one of ten or eleven numbers is right', () => {
  const right = Array.from({ length: 10 }, (_, d) => taiwanIdIsValid(`B20000123${d}`)).filter(Boolean);
  expect(right).toHaveLength(1);
  expect([...'0123456789A'].filter((d) => hongKongIdIsValid(`AB98765${d}`.replace(/.$/, (x) => `(${x})`)))).toHaveLength(1);
  const notes: string[] = [];
  personal().apply('a@b.example 10.0.0.1 10.0.0.2', (n) => notes.push(n));
  expect(notes).toEqual(['EMAIL', 'IP', 'IP']);
});
