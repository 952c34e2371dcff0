/**
 * npm run bench -- data [--only=web,gentle] [--quick] [--json]: MB/s of cleaning on one core, by rule and for whole pipelines, on English, Chinese and HTML text of our own making.
 * MB are 10⁶ bytes of UTF-8 that went in. The text is words drawn by Zipf's law, so that n-gram tables fill as they do with prose.
 */
import { cleaner, loadLanguages, type Rule, rulesFrom, webRules } from 'qkv/data';
import { best, parseArguments, printer } from './harness.ts';

const args = parseArguments();
const print = printer(args);
const BYTES = args.quick ? 4e6 : 16e6;

/** Numbers in [0, 1) that depend on the seed alone. */
function random(seed: number): () => number {
  let s = seed;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}

const english = ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with', 'a', 'in', 'it', 'was', 'for', 'on', 'as', 'he'];
const han = [
  ...'的了是在和不有我这他之也而其人大来上国个到说们为子中你地出道时年得就那要下以生会自着去之过家学对可里后小么心多天能好都然没日于起还发成事只作当想看文无开手',
];

function prose(next: () => number, chinese: boolean, bytes: number): string {
  let text = '';
  let sentence = 0;
  for (let size = 0; size < bytes; ) {
    const rank = Math.floor(8000 ** next()); // Zipf: P(rank) ∝ 1 / rank
    const word = chinese
      ? (han[rank] ?? String.fromCodePoint(0x4e00 + ((rank * 7919) % 5000)))
      : (english[rank] ??
        ((rank * 2654435761) >>> 0)
          .toString(36)
          .replace(/\d/g, 'e')
          .slice(0, 3 + (rank % 7)));
    text += chinese ? word : ` ${word}`;
    size += chinese ? 3 : word.length + 1;
    if (++sentence > 12 && next() < 0.1) {
      text += chinese ? (next() < 0.6 ? '，' : '。') : '.';
      if (next() < 0.15) text += chinese ? '。\n' : '\n\n';
      sentence = 0;
    }
  }
  return `${text}${chinese ? '。' : '.'}`;
}

function documents(seed: number, chinese: boolean): string[] {
  const next = random(seed);
  const out: string[] = [];
  for (let bytes = 0; bytes < BYTES; ) {
    const text =
      prose(next, chinese, 500 + 6000 * next() ** 2) +
      (next() < 0.1 ? ' Write to me@example.org or call (212) 555-0123 in 1984-1985.' : '');
    out.push(text);
    bytes += Buffer.byteLength(text);
  }
  return out;
}

const page = (text: string, i: number): string =>
  `<!DOCTYPE html><html><head><title>Page ${i}</title><style>p { margin: 0 }</style></head><body class="page"><nav><ul><li><a href="/">Home</a></li><li><a href="/news">News</a></li></ul></nav><div id="main">${text
    .split('\n')
    .filter((p) => p !== '')
    .map((p) => `<p class="text">${p.replace(/ (\w+)/, ' <b>$1</b>')} &amp; so on.</p>`)
    .join('\n')}</div><footer>&copy; 2024 Example. All rights reserved.</footer></body></html>`;

const en = documents(1, false);
const zh = documents(2, true);
const corpora: Record<string, string[]> = { English: en, Chinese: zh, HTML: en.map(page) };
const named = (rules: unknown[]): Rule[] => rulesFrom({ rules });
const pipelines: Record<string, () => Rule[]> = {
  web: webRules,
  gentle: () => named(['unicode', 'controls', 'whitespace', 'length']),
  ...Object.fromEntries(
    [
      'unicode',
      'controls',
      'html',
      'whitespace',
      'boilerplate',
      'personal',
      'c4',
      'gopherQuality',
      'gopherRepetition',
      'repeatedLines',
      'chinese',
    ].map((r) => [r, () => named([r])]),
  ),
  languages: () => named([{ languages: { codes: ['en', 'zh'] } }]),
};

await loadLanguages();
print(`cleaning, MB/s of UTF-8 on one core (best of 3, ${BYTES / 1e6} MB of each)`);
print(
  `${'rules'.padEnd(18)}${Object.keys(corpora)
    .map((c) => c.padStart(10))
    .join('')}`,
);
for (const [name, rules] of Object.entries(pipelines)) {
  if (args.only.length > 0 && !args.only.includes(name)) continue;
  const row: Record<string, number> = {};
  for (const [corpus, texts] of Object.entries(corpora)) {
    const bytes = texts.reduce((sum, t) => sum + Buffer.byteLength(t), 0);
    const seconds: number[] = [];
    for (let k = 0; k < 3; k++) {
      const clean = cleaner(rules());
      await clean.load();
      const fresh = texts.map((t) => Buffer.from(t).toString('utf8')); // no string remembers that it was flattened or hashed
      const began = performance.now();
      for (const t of fresh) clean.clean(t);
      seconds.push((performance.now() - began) / 1000);
      if (k === 0 && name === 'web') {
        const last = clean.report().at(-1)!;
        row[`kept of ${corpus}`] = (last.kept + last.changed) / texts.length;
      }
    }
    row[corpus] = bytes / best(seconds) / 1e6;
  }
  if (args.json) console.log(JSON.stringify({ bench: 'data', rules: name, ...row }));
  print(
    `${name.padEnd(18)}${Object.keys(corpora)
      .map((c) => row[c].toFixed(1).padStart(10))
      .join('')}${
      name === 'web'
        ? `   kept ${Object.keys(corpora)
            .map((c) => `${Math.round(100 * row[`kept of ${c}`])} %`)
            .join(' ')}`
        : ''
    }`,
  );
}
