/** The data workbench through the real command line: from a folder of mixed files to shards, and every refusal on the way. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Annotating, annotationItems } from '../data/index.ts';
import { annotateOnTerminal } from './annotate-screen.ts';
import { main } from './main.ts';
import { Output } from './output.ts';

const home = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'qkv-data-verbs-'));

async function qkv(...argv: string[]) {
  const written = { stdout: '', stderr: '' };
  const code = await main(argv, {
    stdout: { write: (t) => (written.stdout += t) },
    stderr: { write: (t) => (written.stderr += t) },
    env: { LANG: 'en_US.UTF-8', NO_COLOR: '1' },
  });
  // biome-ignore lint/suspicious/noExplicitAny: tests look into JSON whose shape they check
  const last: Record<string, any> = argv.includes('--json') ? JSON.parse(written.stdout.trimEnd().split('\n').at(-1)!) : {};
  return { code, ...written, last };
}
const rows = (file: string) =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((l) => JSON.parse(l));
const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

const NOUNS = ['mast', 'sail', 'rudder', 'pump', 'galley', 'anchor', 'deck', 'lantern', 'barrel', 'rope', 'chart'];
const sentence = (i: number) =>
  `On day ${i} the crew had to mend the ${NOUNS[i % 11]} and the ${NOUNS[(i * 7 + 3) % 11]}, and number ${i * i} of them worked with care until the light of hour ${i % 24} was gone.`;

beforeAll(() => {
  process.chdir(folder);
  mkdirSync('mixed/deep', { recursive: true });
  writeFileSync('mixed/a.txt', `${sentence(1)}\r\n${sentence(2)}\u0000\u200b`);
  writeFileSync(
    'mixed/b.jsonl',
    Array.from({ length: 40 }, (_, i) => `${JSON.stringify({ id: i, text: sentence(10 + i) })}\n`).join(''),
  );
  writeFileSync('mixed/c.csv', `id,text\n7,"${sentence(3)}"\n8,"${sentence(15)}"\n9,"${sentence(4)}, once ""again"""\n`);
  writeFileSync(
    'mixed/deep/d.jsonl.gz',
    gzipSync(`${JSON.stringify({ text: `${sentence(12).replace('gone', 'out')}`, from: 'gz' })}\n`),
  );
});
afterAll(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
});

test('a folder of mixed files → clean → unique → parts → shards: every document accounted for, every column kept', async () => {
  const clean = await qkv('data', 'clean', 'mixed', 'out=clean.jsonl', '--json');
  expect(clean.code, clean.stderr).toBe(0);
  expect(clean.last).toMatchObject({
    type: 'result',
    documents: 45,
    kept: 45,
    dropped: 0,
    files: 4,
    sha256: sha256('clean.jsonl'),
  });
  expect(clean.last['rules'].find((r: { name: string }) => r.name === 'controls')).toMatchObject({ changed: 1, kept: 44 });
  expect(rows('clean.jsonl')[0]).toEqual({ text: `${sentence(1)}\n${sentence(2)}` });
  expect(rows('clean.jsonl')[1]).toEqual({ id: 0, text: sentence(10) });
  expect(rows('clean.jsonl')[43]).toEqual({ id: '9', text: `${sentence(4)}, once "again"` });

  const dedup = await qkv('data', 'dedup', 'clean.jsonl', 'out=unique.jsonl', '--json');
  // Row 8 of the CSV is a copy of one of the JSONL; the .gz has one with a word changed.
  expect(dedup.last).toMatchObject({ documents: 45, exact: 1, near: 1, kept: 43 });
  expect(dedup.last['examples'][0]).toMatchObject({ what: 'exact', at: { line: 43 }, of: { line: 7 } });
  expect(dedup.last['examples'][1]).toMatchObject({ what: 'near', at: { line: 45 }, of: { line: 4 } });

  const split = await qkv('data', 'split', 'unique.jsonl', 'out=parts', 'val=0.2', 'test=0.1', '--json');
  const parts = split.last['parts'] as { name: string; file: string; documents: number; sha256: string }[];
  expect(parts.map((p) => p.name)).toEqual(['train', 'val', 'test']);
  expect(parts.reduce((n, p) => n + p.documents, 0)).toBe(43);
  for (const p of parts) {
    expect(rows(`parts/${p.file}`)).toHaveLength(p.documents);
    expect(p.sha256).toBe(sha256(`parts/${p.file}`));
  }
  expect(JSON.parse(readFileSync('parts/split.json', 'utf8'))).toMatchObject({ val: 0.2, test: 0.1, parts });
  const all = parts.flatMap((p) => rows(`parts/${p.file}`)).map((r) => r.text);
  expect(new Set(all).size).toBe(43);

  await qkv('tok', 'train', 'parts/train.jsonl', 'vocabSize=400', '--out', 'tok.json');
  const pack = await qkv('data', 'pack', 'parts/train.jsonl', 'tokenizer=tok.json', 'out=shards', 'valFraction=0', '--json');
  expect(pack.code, pack.stderr).toBe(0);
  expect(pack.last['train'].documents).toBe(parts[0].documents);
  expect(pack.last['val'].documents).toBe(0);
  const shards = readdirSync('shards').sort();
  const again = await qkv('data', 'pack', 'parts/train.jsonl', 'tokenizer=tok.json', 'out=shards', 'valFraction=0', '--json');
  expect(again.last).toMatchObject({ reused: true, key: pack.last['key'] });
  const other = await qkv('data', 'pack', 'parts/train.jsonl', 'tokenizer=byte', 'out=shards', '--json');
  expect(other).toMatchObject({ code: 2, last: { code: 'E158' } });
  expect(readdirSync('shards').sort()).toEqual(shards);
  expect((await qkv('data', 'pack', 'parts/train.jsonl', 'tokenizer=byte', 'out=shards', '--force')).code).toBe(0);
  expect(readdirSync('shards').sort()).not.toEqual(shards);
});

test('the partitions of a folder, cleaned one by one, are the folder cleaned at once, byte for byte', async () => {
  const parts = [];
  for (const [i, path] of ['mixed/a.txt', 'mixed/b.jsonl', 'mixed/c.csv', 'mixed/deep'].entries()) {
    expect((await qkv('data', 'clean', path, `out=part-${i}.jsonl`)).code).toBe(0);
    parts.push(readFileSync(`part-${i}.jsonl`));
  }
  await qkv('data', 'clean', 'mixed', 'out=whole.jsonl');
  expect(Buffer.concat(parts).equals(readFileSync('whole.jsonl'))).toBe(true);
});

test('clean: a pipeline file, its hash in the name, counts and examples for each rule', async () => {
  writeFileSync('rules.json', '{"rules": ["controls", {"length": {"min": 200}}]}');
  const { code, stdout } = await qkv('data', 'clean', 'mixed', 'out=c-{hash}.jsonl', 'pipeline=rules.json');
  expect(code).toBe(0);
  const file = readdirSync('.').find((f) => /^c-[0-9a-f]{8}\.jsonl$/.test(f))!;
  expect(rows(file)).toHaveLength(1);
  expect(stdout).toMatch(/controls +45 +44 +1 +0\n/);
  expect(stdout).toMatch(/length\(200,∞\) +45 +1 +0 +44\n/);
  expect(stdout).toContain(`rules ${file.slice(2, 10)}`);
  for (const [bad, problem] of [
    ['{"rules": ["unicod"]}', 'rule 1 is'],
    ['{"rules": [{"length": {"least": 3}}]}', 'rule 1, length'],
    ['{"rules": [{"scripts": {"names": ["Klingon"]}}]}', 'rule 1, scripts'],
    ['{"rules": []}', 'expected {'],
    ['{"rules":', 'not JSON'],
  ]) {
    writeFileSync('bad.json', bad);
    const { last } = await qkv('data', 'clean', 'mixed', 'out=x.jsonl', 'pipeline=bad.json', '--json');
    expect(last).toMatchObject({ code: 'E142', exit: 2 });
    expect(last['values'].problem).toContain(problem);
  }
  expect(existsSync('x.jsonl')).toBe(false);
});

test('leak: a passage of the test text that was trained on is found, and only that', async () => {
  writeFileSync('train.txt', `${sentence(1)}\n<|endoftext|>\n${sentence(2)}\n`);
  writeFileSync(
    'test.jsonl',
    [`So it is said: ${sentence(2)}`, sentence(900)].map((text) => `${JSON.stringify({ text })}\n`).join(''),
  );
  const { code, last } = await qkv('data', 'leak', 'train.txt', 'test.jsonl', '--json');
  expect(code).toBe(0);
  expect(last).toMatchObject({ leaked: 1, touched: 1, n: 13, worst: [{ at: { line: 1 } }] });
  expect(last['worst'][0].share).toBeGreaterThan(0.8);
  expect((await qkv('data', 'leak', 'train.txt', 'test.jsonl', '--fail')).code).toBe(65);
  expect((await qkv('data', 'leak', 'train.txt', 'mixed/c.csv', 'threshold=1', '--fail')).code).toBe(0);
});

test('stats: lengths, alphabet, vocabulary and copies, counted by hand', async () => {
  writeFileSync('names.txt', 'anna\nbob\nanna\n山\n');
  const { last } = await qkv('data', 'stats', 'names.txt', 'data.documents=line', 'tokenizer=byte', '--json');
  expect(last).toMatchObject({
    documents: 4,
    characters: { total: 12, min: 1, max: 4, mean: 3 },
    textBytes: 14,
    alphabet: { different: 5, cover99: 5 },
    duplicates: { documents: 1, characters: 4 },
    tokens: {
      total: 14,
      used: 6,
      vocabSize: 257,
      unknown: 0,
      bytesPerToken: 1,
      top: [
        [97, 4],
        [110, 4],
        [98, 2],
        [177, 2],
        [111, 1],
        [229, 1],
      ].map(([id, count]) => ({ id, count })),
    },
  });
  const shown = await qkv('data', 'stats', 'mixed', 'tokenizer=byte');
  expect(shown.stdout).toContain('documents by tokens\n');
  expect(shown.stdout).toMatch(/< 256 #+ \d+/);
});

test('tok compare: a row for each tokenizer, the shortest marked', async () => {
  await qkv('tok', 'train', 'mixed', 'vocabSize=400', '--out', 'tok400.json');
  const { code, last } = await qkv('tok', 'compare', 'mixed', 'byte', 'tokenizer=tok400.json', '--json');
  expect(code).toBe(0);
  const [byte, bpe] = last['tokenizers'];
  expect(byte).toMatchObject({ name: 'byte', bytesPerToken: 1, tokens: last['bytes'] });
  expect(bpe.charactersPerToken).toBeGreaterThan(2);
  expect((await qkv('tok', 'compare', 'mixed', 'byte', 'tok400.json')).stdout).toMatch(/\ntok400\.json ◀ +bpe/);
  expect((await qkv('tok', 'compare', 'mixed', '--json')).last).toMatchObject({ code: 'E108' });
});

test('nothing is written over, and a wrong word is named', async () => {
  writeFileSync('there.jsonl', 'mine');
  mkdirSync('full', { recursive: true });
  writeFileSync('full/mine', 'x');
  for (const [argv, code] of [
    [['clean', 'mixed', 'out=there.jsonl'], 'E158'],
    [['dedup', 'mixed', 'out=there.jsonl'], 'E158'],
    [['split', 'mixed', 'out=full'], 'E153'],
    [['split', 'mixed', 'out=there.jsonl'], 'E153'],
    [['split', 'mixed', 'out=new', 'val=0.6', 'test=0.5'], 'E103'],
    [['pack', 'mixed', 'tokenizer=byte', 'out=full'], 'E153'],
    [['pack', 'mixed', 'out=new'], 'E108'],
    [['clean', 'mixed'], 'E108'],
    [['clean', 'mixed', 'out=new', 'pipline=web'], 'E101'],
    [['dedup', 'mixed', 'out=new', 'threshold=2'], 'E103'],
    [['clean', 'nowhere', 'out=new'], 'E130'],
    [['stats', 'mixed', 'data.field=body'], 'E131'],
  ] as const) {
    const { last, code: exit } = await qkv('data', ...argv, '--json');
    expect(last, argv.join(' ')).toMatchObject({ type: 'error', code });
    expect(exit).toBe(last['exit']);
  }
  expect(readFileSync('there.jsonl', 'utf8')).toBe('mine');
  expect(existsSync('new')).toBe(false);
  expect(readdirSync('.').filter((f) => f.includes('.tmp-'))).toEqual([]);
  writeFileSync('bomb.txt.gz', gzipSync(Buffer.alloc(20 << 20, `${'a'.repeat(999)}\n`)));
  const bomb = await qkv('data', 'stats', 'bomb.txt.gz', '--json');
  expect(bomb).toMatchObject({ code: 65, last: { code: 'BOMB', exit: 65 } });
});

test('what a killed run left behind goes with the next one', async () => {
  mkdirSync('.late.jsonl.tmp-999999999-1');
  writeFileSync('.late.jsonl.tmp-999999999-1/rows', 'half');
  expect((await qkv('data', 'clean', 'mixed', 'out=late.jsonl')).code).toBe(0);
  expect(readdirSync('.').filter((f) => f.includes('late'))).toEqual(['late.jsonl']);
});

/** The real program with keys on its stdin. */
const typed = (keys: string, ...argv: string[]) =>
  spawnSync(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), fileURLToPath(new URL('./main.ts', import.meta.url)), ...argv],
    {
      input: keys,
      encoding: 'utf8',
      env: { ...process.env, LANG: 'en_US.UTF-8', NO_COLOR: '1' },
      cwd: folder,
    },
  );

test('annotate by keys alone: label, undo, quit, go on, a second annotator, agreement, export', () => {
  writeFileSync('reviews.txt', 'good\nbad\nso so\nfine\n');
  const say = (keys: string, annotator: string) =>
    typed(keys, 'data', 'annotate', 'reviews.txt', 'labels=pos,neg', 'data.documents=line', `annotator=${annotator}`, '--json');
  const first = say('11u2q', 'ann'); // good pos, bad pos, taken back, bad neg, quit
  expect(first.status, first.stderr).toBe(0);
  expect(JSON.parse(first.stdout.trimEnd().split('\n').at(-1)!)).toMatchObject({ ended: 'quit', labelled: 2, left: 2 });
  expect(JSON.parse(say('x11', 'ann').stdout.trimEnd().split('\n').at(-1)!)).toMatchObject({ ended: 'done', labelled: 4 });
  const bob = JSON.parse(say('1s21', 'bob').stdout.trimEnd().split('\n').at(-1)!);
  expect(bob).toMatchObject({ ended: 'done', labelled: 3, skipped: 1, agreement: { items: 3, annotators: ['ann', 'bob'] } });
}, 60_000);

test('annotate: agreement and export ask nothing; spans; columns that are not there are listed', async () => {
  const shown = await qkv('data', 'annotate', 'reviews.txt', 'data.documents=line', '--agreement');
  expect(shown.stdout).toMatch(/Cohen κ 0\.000 {2}ann · bob {2}\(3\)/); // pos pos pos against pos neg pos: no more than chance
  const { stdout } = await qkv('data', 'annotate', 'reviews.txt', 'data.documents=line', '--export', 'jsonl');
  expect(
    stdout
      .trimEnd()
      .split('\n')
      .map((l) => JSON.parse(l))
      .map((r) => [r.text, r.label]),
  ).toEqual([
    ['good', 'pos'],
    ['bad', 'neg'],
    ['so so', 'pos'],
    ['fine', 'pos'],
  ]);
  writeFileSync('news.jsonl', '{"text":"Ann Lee met 李白"}\n{"text":"No one"}\n');
  const items = await annotationItems('news.jsonl');
  const annotating = new Annotating(items);
  const keys = (async function* () {
    yield 'vl1\x1b[Cv\x1b[C2u';
    yield 'hv\x1b[C1\r\r';
  })();
  const out = new Output({ stdout: { write: () => 0 }, stderr: { write: () => 0 } });
  expect(
    await annotateOnTerminal(annotating, keys, out, { annotator: 'ann', task: { kind: 'span', labels: ['PER', 'LOC'] } }),
  ).toBe('done');
  expect(annotating.of('ann').map((a) => a.label)).toEqual([
    [
      { from: 0, to: 7, label: 'PER' },
      { from: 12, to: 14, label: 'PER' },
    ],
    [],
  ]);
  const wrong = await qkv('data', 'annotate', 'news.jsonl', 'labels=A,B', 'show=chosen', '--json');
  expect(wrong.last).toMatchObject({ code: 'E141', exit: 65, values: { wanted: ['chosen'], columns: ['text'] } });
  expect((await qkv('data', 'annotate', 'news.jsonl', 'labels=A,A', '--json')).last).toMatchObject({ code: 'E103' });
  expect((await qkv('data', 'annotate', 'news.jsonl', '--json')).last).toMatchObject({ code: 'E108' });
});

test('stats draws its histogram into an SVG file that is never written over; sql prints what DuckDB runs', async () => {
  const drawn = await qkv('data', 'stats', 'mixed', 'tokenizer=byte', '--svg', 'lengths.svg', '--json');
  expect([drawn.code, drawn.last['svg']]).toEqual([0, 'lengths.svg']);
  const svg = readFileSync('lengths.svg', 'utf8');
  const { characters, tokens } = drawn.last as Record<string, { histogram: unknown[]; median: number }>;
  expect(svg.match(/<rect /g)).toHaveLength(characters.histogram.length + tokens.histogram.length);
  expect(svg).toMatch(new RegExp(`<desc id="description">characters: shortest .* median ${characters.median} .*; tokens: `));
  expect(await qkv('data', 'stats', 'mixed', '--svg', 'lengths.svg')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('E158'),
  });
  const zh = await qkv('data', 'stats', 'mixed', '--svg', 'lengths.svg', '--force', '--lang', 'zh');
  expect(zh.code).toBe(0);
  expect(readFileSync('lengths.svg', 'utf8')).toMatch(/lang="zh"[\s\S]*按字符数的文档[\s\S]*不到/);

  writeFileSync('sql.json', JSON.stringify({ rules: ['controls', { length: { min: 3 } }] }));
  const printed = await qkv('data', 'sql', 'sql.json', "from=web/it's-*.parquet", 'out=kept.parquet');
  expect(printed.stdout).toMatch(
    /^copy \(with r0 as[\s\S]*read_parquet\('web\/it''s-\*\.parquet'\)[\s\S]*to 'kept\.parquet' \(format parquet\);\n$/,
  );
  const asked = await qkv('data', 'sql', 'sql.json', 'from=a.parquet', 'print=report', '--json');
  expect(asked.last).toMatchObject({ type: 'result', print: 'report', sql: expect.stringContaining('union all') });
  expect(await qkv('data', 'sql', 'sql.json')).toMatchObject({ code: 2, stderr: expect.stringContaining('from=FILES') });
  writeFileSync('sql.json', JSON.stringify({ rules: ['personal'] }));
  expect(await qkv('data', 'sql', 'sql.json', 'from=a.parquet')).toMatchObject({ stderr: expect.stringContaining('E142') });
});
