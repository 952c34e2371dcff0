/**
 * npx tsx test/reliability/annotate-page.ts [SCREENSHOT-FOLDER]: the annotation page in a real Chromium (CHROMIUM names it, else `chromium`), by keyboard alone.
 * A script of ours presses keys in the page; what counts is what the server was told, that nothing was asked of another address, and that the page has no error.
 * Ends with `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import { Annotating, type AnnotationTask, type Item, itemId } from '../../src/data/index.ts';
import { annotateApp, serveLocally } from '../../src/serve/index.ts';

const shots = process.argv[2];
const folder = mkdtempSync(join(tmpdir(), 'qkv-chromium-'));
const plain = (texts: string[]): Item[] => texts.map((text, i) => ({ id: itemId(text), text, source: 'news.txt', line: i + 1 }));
const answers: Item[] = [1, 2].map((i) => ({
  id: `p${i}`,
  text: `p${i}`,
  source: 'answers.jsonl',
  line: i,
  columns: [
    { name: 'prompt', text: `Why is the sea salt? (${i})` },
    { name: 'good', text: 'Rivers carry it down, and the sun takes only the water back.' },
    { name: 'bad', text: 'Because of the fish.' },
  ],
}));

let failed = 0;
let passed = 0;
const check = (what: string, right: boolean, more: unknown = '') => {
  if (right) passed++;
  else failed++;
  if (!right) console.log(`failed: ${what}`, more);
};

/** Presses keys one by one in a page for this task; returns the page's document at the end. */
async function press(name: string, task: AnnotationTask, items: Item[], keys: string[], language: 'en' | 'zh' = 'en') {
  const annotating = new Annotating(items);
  const app = annotateApp({ annotating, task, title: items[0].source, annotator: 'ann', language });
  const driven = new Hono();
  driven.get('/', async (c) => {
    const html = await (await app.request('/')).text();
    return c.html(html.replace('</head>', '<script type="module" src="/driver.mjs"></script></head>'));
  });
  driven.get('/driver.mjs', (c) =>
    c.body(
      `const wait = (ms) => new Promise((done) => setTimeout(done, ms));
       window.onerror = (message) => document.body.setAttribute('data-error', message);
       await wait(400);
       for (const key of ${JSON.stringify(keys)}) {
         const [, shift, name] = /^(Shift\\+)?(.+)$/.exec(key);
         document.body.dispatchEvent(new KeyboardEvent('keydown', { key: name, shiftKey: Boolean(shift), bubbles: true, cancelable: true }));
         await wait(120);
       }
       document.body.setAttribute('data-foreign', String(performance.getEntriesByType('resource').filter((r) => !r.name.startsWith(location.origin) && !r.name.startsWith('data:')).length));
       document.body.setAttribute('data-unnamed', String([...document.querySelectorAll('button, select, a, [role=progressbar]')].filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length));
       document.body.setAttribute('data-driven', 'yes');`,
      200,
      { 'Content-Type': 'text/javascript' },
    ),
  );
  driven.all('*', (c) => app.fetch(c.req.raw));
  const server = await serveLocally(driven);
  const { spawn } = await import('node:child_process');
  const shared = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--hide-scrollbars',
    `--user-data-dir=${folder}/${name}`,
    '--window-size=1280,800',
    `--virtual-time-budget=${1500 + 200 * keys.length}`,
  ];
  const run = (args: string[]) =>
    new Promise<string>((resolve, reject) => {
      const child = spawn(process.env['CHROMIUM'] ?? 'chromium', [...shared, ...args, server.url], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      let text = '';
      child.stdout.on('data', (d) => (text += d));
      child.on('error', reject).on('close', () => resolve(text));
    });
  const dom = await run([shots ? `--screenshot=${join(shots, `${name}.png`)}` : '--dump-dom']);
  await server.close();
  if (!shots) {
    check(`${name}: driven to the end`, dom.includes('data-driven="yes"'), dom.slice(0, 300));
    check(`${name}: no error in the page`, !dom.includes('data-error'), /data-error="[^"]*"/.exec(dom)?.[0]);
    check(`${name}: nothing from elsewhere`, dom.includes('data-foreign="0"'));
    check(`${name}: every control has a name`, dom.includes('data-unnamed="0"'), /data-unnamed="\d+"/.exec(dom)?.[0]);
  }
  return { dom, said: annotating.of('ann').map((a) => [a.id, a.label]) };
}

if (spawnSync(process.env['CHROMIUM'] ?? 'chromium', ['--version']).status !== 0) {
  console.log('there is no chromium; name one: CHROMIUM=PATH');
  process.exit(3);
}
try {
  const texts = plain(['<b>It</b> was good', 'It was bad', 'It was so so', 'It was left']);
  const byClass = await press('class', { kind: 'class', labels: ['pos', 'neg'] }, texts, ['1', '1', 'u', '2', 's']);
  check(
    'class: digits, undo, skip',
    JSON.stringify(byClass.said) ===
      JSON.stringify([
        [texts[0].id, 'pos'],
        [texts[1].id, 'neg'],
        [texts[2].id, undefined],
      ]),
    byClass.said,
  );
  check('class: a tag in the data is text', shots !== undefined || byClass.dom.includes('&lt;b&gt;It'));

  const news = plain(['Ann Lee met 李白 in Luoyang', 'No one came']);
  const bySpan = await press('span', { kind: 'span', labels: ['PER', 'LOC'] }, news, [
    'Shift+ArrowRight',
    '1',
    'l',
    'v',
    'l',
    '1',
    'u',
    'ArrowLeft',
    'ArrowLeft',
    'Shift+ArrowRight',
    '1',
    'End',
    '2',
    ...(shots ? [] : ['Enter', '1', 'h', 'x', 'Enter']),
  ]);
  const expected = [
    [
      news[0].id,
      [
        { from: 0, to: 7, label: 'PER' },
        { from: 12, to: 14, label: 'PER' },
        { from: 18, to: 25, label: 'LOC' },
      ],
    ],
    [news[1].id, []],
  ];
  check(
    'span: move, select, mark, label, undo, remove, done',
    shots !== undefined || JSON.stringify(bySpan.said) === JSON.stringify(expected),
    JSON.stringify(bySpan.said),
  );

  const byPreference = await press(
    'preference',
    { kind: 'preference', labels: ['good', 'bad', 'tie'] },
    answers,
    shots ? ['ArrowLeft'] : ['ArrowLeft', '3'],
    'zh',
  );
  check(
    'preference: the left one, whichever it is, and a tie',
    shots !== undefined || (['good', 'bad'].includes(String(byPreference.said[0]?.[1])) && byPreference.said[1]?.[1] === 'tie'),
    byPreference.said,
  );
  check('preference: column names are not shown', !/<h3>(good|bad)/.test(byPreference.dom));

  const byRating = await press(
    'rating',
    { kind: 'rating', labels: ['1', '2', '3', '4', '5'] },
    texts,
    ['4', '+', '5', '?'],
    'zh',
  );
  check(
    'rating: numbers',
    JSON.stringify(byRating.said) ===
      JSON.stringify([
        [texts[0].id, 4],
        [texts[1].id, 5],
      ]),
    byRating.said,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
