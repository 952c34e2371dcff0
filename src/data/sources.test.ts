import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Reject, Rejects } from './rejects.ts';
import { documents, listSources, PIECE_CHARS, type Piece, type ReadOptions } from './sources.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qkv-sources-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const write = (name: string, bytes: string | Uint8Array) => {
  const path = join(folder, `${files++}-${name}`);
  writeFileSync(path, bytes);
  return path;
};
async function read(path: string | string[], options: ReadOptions = {}) {
  const pieces: Piece[] = [];
  for await (const piece of documents(await listSources(path), options)) pieces.push(piece);
  return pieces;
}
const texts = async (path: string, options: ReadOptions = {}) => (await read(path, options)).map((p) => p.text);

test('a text file is one document, to the byte, unless a line divides it', async () => {
  const text = 'one\r\n\r\ntwo \u2028 \0 <|endoftext|> inside\n';
  expect(await texts(write('a.txt', text))).toEqual([text]);
  const stories = write('b.txt', 'once\nupon\n<|endoftext|>\r\na time\r\n<|endoftext|>\n<|endoftext|>\n\nend');
  expect(await read(stories)).toMatchObject([
    { text: 'once\nupon', line: 1 },
    { text: 'a time', line: 4 },
    { text: '\nend', line: 7 },
  ]);
  const rejects = new Rejects();
  await read(write('c.txt', text), { rejects, specialTokens: ['<|endoftext|>'] });
  expect(rejects.noted.special_in_text).toBe(1);
});

test('what a folder says about its data is no part of it: the card of a data set, a licence', async () => {
  const root = join(folder, `${files++}-cards`);
  for (const [name, text] of [
    ['README.md', '---\nlicense: cc0-1.0\n---\n'],
    ['LICENSE.txt', 'MIT'],
    ['a.txt', 'a'],
    ['notes/README.md', '---\nb'],
    ['notes/LICENSE.md', 'c'],
  ]) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  const names = async (path: string) => (await listSources(path)).map((f) => f.name);
  expect(await names(root)).toEqual(['a.txt', 'notes/LICENSE.md', 'notes/README.md']);
  writeFileSync(join(root, 'README.md'), '# A page like any other');
  expect(await names(root)).toEqual(['README.md', 'a.txt', 'notes/LICENSE.md', 'notes/README.md']);
  expect(await names(join(root, 'LICENSE.txt'))).toEqual(['LICENSE.txt']); // named itself
});

test('runs that lie beside the texts are no texts', async () => {
  const root = join(folder, `${files++}-beside-runs`);
  for (const name of ['a.txt', 'runs/one/env.json', 'runs/one/config.json', 'runs/one/log.jsonl', 'notes/log.jsonl']) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    writeFileSync(join(root, name), '{"text":"x"}');
  }
  expect((await listSources(root)).map((f) => f.name)).toEqual(['a.txt', 'notes/log.jsonl']);
});

test('documents by empty line and by line', async () => {
  const path = write('d.txt', 'a\nb\n\n \t\u3000\n\nc\r\n\r\nd');
  expect(await texts(path, { documents: 'blank-line' })).toEqual(['a\nb', 'c', 'd']);
  expect(await read(path, { documents: 'line' })).toMatchObject([
    { text: 'a' },
    { text: 'b' },
    { text: 'c', line: 6 },
    { text: 'd', line: 8 },
  ]);
});

test('a folder: recursive, sorted, only text, no links in circles', async () => {
  const root = join(folder, 'tree');
  mkdirSync(join(root, 'b', 'deep'), { recursive: true });
  for (const [name, text] of Object.entries({
    'b/deep/z.md': 'z',
    'b/a.jsonl': '{"text":"j"}\n',
    'B.txt': 'B',
    'a.TXT': 'a',
    'x.png': 'no',
    '.hidden.txt': 'no',
  })) {
    writeFileSync(join(root, name), text);
  }
  symlinkSync(root, join(root, 'b', 'circle'));
  symlinkSync(join(root, 'gone'), join(root, 'dangling.txt'));
  expect((await listSources(root)).map((f) => f.name)).toEqual(['B.txt', 'a.TXT', 'b/a.jsonl', 'b/deep/z.md']);
  expect(await texts(root)).toEqual(['B', 'a', 'j', 'z']);
});

test('long documents arrive in pieces whose joints are between words, whatever the reads were', async () => {
  const line = 'The tide rose over the flat stones and went back again.\n';
  const text = line.repeat(Math.ceil((5 * PIECE_CHARS) / line.length));
  const pieces = await read(write('long.txt', text));
  expect(pieces.map((p) => p.text).join('')).toBe(text);
  expect(pieces.length).toBeGreaterThan(2);
  expect(pieces.map((p) => [p.first, p.last])).toEqual(pieces.map((_, i) => [i === 0, i === pieces.length - 1]));
  for (const p of pieces.slice(0, -1)) {
    expect(p.text.endsWith('.\n')).toBe(true);
    expect(p.text.length).toBeGreaterThanOrEqual(PIECE_CHARS);
  }
  const asRow = await read(write('long.jsonl', JSON.stringify({ text }) + '\n'));
  expect(asRow.map((p) => p.text)).toEqual(pieces.map((p) => p.text)); // other reads, the same cuts
  const noBreak = await read(write('wide.txt', '🙂'.repeat(2 * PIECE_CHARS) + 'x'));
  expect(noBreak.every((p) => !/\p{Surrogate}/u.test(p.text))).toBe(true);
});

test('dirty rows: every kind is counted exactly, and all good rows are used', async () => {
  const good = (n: number) => Array.from({ length: n }, (_, i) => JSON.stringify({ text: `good row ${i} 好` }));
  const dirty: [row: string | Uint8Array, kind: string][] = [
    ['', 'empty'],
    ['   \t', 'empty'],
    ['{"text":""}', 'empty'],
    ['{"text":" \\n "}', 'empty'],
    ['{"text":null}', 'empty'],
    ['{"text":"cut', 'bad_json'],
    ["{'text':'single'}", 'bad_json'],
    ['{"text":"a",}', 'bad_json'],
    ['{"text":"a"} x', 'bad_json'],
    ['{"text":NaN}', 'bad_json'],
    ['{"text":"a\tb"}', 'bad_json'],
    ['// comment', 'bad_json'],
    ['[1,2]', 'bad_json'],
    ['"text"', 'bad_json'],
    ['null', 'bad_json'],
    ['17', 'bad_json'],
    ['{"text":"a","text":"b"}', 'bad_json'],
    ['{"text":"a","te\\u0078t":"b"}', 'bad_json'],
    ['{"text":"a","m":{"k":1,"k":2}}', 'bad_json'],
    ['{"content":"a"}', 'bad_field'],
    ['{}', 'bad_field'],
    ['{"text":3}', 'bad_field'],
    ['{"text":["a"]}', 'bad_field'],
    ['{"text":{"a":1}}', 'bad_field'],
    ['{"text":true}', 'bad_field'],
    ['{"__proto__":{"text":"x"}}', 'bad_field'],
    [Buffer.from('7b2274657874223a22c3227d', 'hex'), 'bad_utf8'], // lead byte without its follower
    [Buffer.from('7b2274657874223a22eda080227d', 'hex'), 'bad_utf8'], // a surrogate
    [Buffer.from('7b2274657874223a22c080227d', 'hex'), 'bad_utf8'], // overlong NUL
    [Buffer.from('{"text":"caf\xe9 au lait"}', 'latin1'), 'bad_utf8'],
    [`{"text":"${'x'.repeat(3000)}"}`, 'too_long'],
  ];
  const odd = [
    '{"text":"lone \\ud800 half"}',
    '{"text":"a\\u0000b\\u2028c \\" \\\\","n":{"a":":","b":[{"c":1}]}}',
    '{"text":"spells <|endoftext|>","__proto__":1}',
    '{"text":"crlf"}\r',
  ];
  const rows: (string | Uint8Array)[] = [];
  const plain = good(500);
  for (let i = 0; i < 500; i++) {
    rows.push(plain[i]);
    if (i % 16 === 5 && dirty[(i - 5) / 16]) rows.push(dirty[(i - 5) / 16][0]);
    if (i < odd.length) rows.push(odd[i]);
  }
  const path = write(
    'dirty.jsonl',
    Buffer.concat([
      Buffer.from('\ufeff'),
      ...rows.map((r) => Buffer.concat([Buffer.from(r), Buffer.from('\n')])),
      Buffer.from('{"text":"the last line is cu'),
    ]),
  );

  const seen: Reject[] = [];
  const rejects = new Rejects(0.1, (r) => seen.push(r));
  const pieces = await read(path, { rejects, maxLineBytes: 2000, specialTokens: ['<|endoftext|>'] });
  const count = (kind: string) => dirty.filter(([, k]) => k === kind).length;
  expect(rejects.summary()).toEqual({
    rows: 500 + dirty.length + odd.length + 1,
    bad_utf8: count('bad_utf8'),
    too_long: 1,
    bad_json: count('bad_json'),
    bad_csv: 0,
    bad_field: count('bad_field'),
    truncated: 1,
    empty: count('empty'),
    bom: 1,
    replaced: 0,
    surrogates: 1,
    special_in_text: 1,
    split: 0,
    cut_end: 0,
  });
  expect(dirty.length).toBeGreaterThan(30);
  expect(pieces).toHaveLength(500 + odd.length);
  expect(new Set(pieces.map((p) => p.text)).size).toBe(500 + odd.length);
  expect(pieces.map((p) => p.text)).toContain('lone \ufffd half');
  expect(pieces.map((p) => p.text)).toContain('a\0b\u2028c " \\');
  // Each refusal names the row it is about.
  const lines = rows.map((r) => Buffer.from(r));
  for (const reject of seen.slice(0, -1)) {
    const kind = dirty.find(([row]) => Buffer.from(row).equals(lines[reject.line - 1]))?.[1];
    expect(reject.kind).toBe(kind);
  }
  expect(seen.find((r) => r.kind === 'bad_utf8')!.byte).toBe(10);

  await expect(read(path, { maxLineBytes: 2000 })).rejects.toMatchObject({
    code: 'E136',
    values: { rejected: dirty.length - count('empty') + 1, rows: 536, limit: 0.01 },
  });
});

test('a wrong file stops early', async () => {
  const path = write('wrong.jsonl', '{"text":"a"}\n' + 'not json\n'.repeat(60_000));
  const rejects = new Rejects();
  await expect(read(path, { rejects })).rejects.toMatchObject({ code: 'E136', values: { first: { line: 2, kind: 'bad_json' } } });
  expect(rejects.rows).toBeLessThan(20_000);
});

test('E131 names the fields there are, the longest text first', async () => {
  const path = write('fields.jsonl', '{"id":1,"title":"t","content":"a longer text"}\n'.repeat(3));
  await expect(read(path)).rejects.toMatchObject({
    code: 'E131',
    values: { path, line: 1, field: 'text', fields: ['content', 'title', 'id'] },
  });
  await expect(read(path)).rejects.toThrow(/has no field "text", but "content".*data\.field=content/);
  expect(await texts(path, { field: 'content' })).toHaveLength(3);
  await expect(read(write('endless.jsonl', '{"content":"x"}\n'.repeat(100) + '{"text":"too late"}\n'))).rejects.toMatchObject({
    code: 'E131',
  });
});

test('E132 names line and byte, and guesses GBK and UTF-16', async () => {
  const gbk = Buffer.concat([
    Buffer.from('chapter one\n'),
    Buffer.from('bdf1ccecccecc6f8badcbac3a1a3ced2c3c7c8a5b9abd4b0c9a2b2bda3acbfb4bcfbd0edb6e0bba8a1a3', 'hex'),
    Buffer.from('\n'),
  ]);
  const path = write('novel.txt', gbk);
  await expect(read(path)).rejects.toMatchObject({ code: 'E132', values: { path, line: 2, byte: 1, offset: 12, guess: 'gbk' } });
  expect(await texts(path, { encoding: 'gbk' })).toEqual(['chapter one\n今天天气很好。我们去公园散步，看见许多花。\n']);
  await expect(read(write('u16.txt', Buffer.from('\ufeffhello', 'utf16le')))).rejects.toMatchObject({
    code: 'E132',
    values: { guess: 'utf-16le' },
  });
  expect(await texts(write('u16.txt', Buffer.from('\ufeffhello', 'utf16le')), { encoding: 'utf-16le' })).toEqual(['hello']);
  // JSONL in GBK: rows are refused one by one, and then the reason is named once.
  const rows = Buffer.concat(
    Array.from({ length: 50 }, () => Buffer.concat([Buffer.from('{"text":"'), gbk.subarray(12, -1), Buffer.from('"}\n')])),
  );
  await expect(read(write('gbk.jsonl', rows))).rejects.toMatchObject({
    code: 'E132',
    values: { line: 1, byte: 10, guess: 'gbk' },
  });
  await expect(read(write('bad.txt', gbk), { encoding: 'utf-16le', encodingErrors: 'stop' })).rejects.toMatchObject({
    code: 'E132',
  });
});

test('bad bytes in text: skip drops the line, replace keeps it, and a file cut inside a character loses only that', async () => {
  const bytes = Buffer.concat([Buffer.from('one\n'), Buffer.from([0x61, 0xff, 0x62, 10]), Buffer.from('three\n')]);
  const path = write('bytes.txt', bytes);
  await expect(read(path)).rejects.toMatchObject({ code: 'E132', values: { line: 2, byte: 2, offset: 5 } });
  const skip = new Rejects(0.5);
  expect(await texts(path, { encodingErrors: 'skip', rejects: skip })).toEqual(['one\nthree\n']);
  expect(skip.refused.bad_utf8).toBe(1);
  const replace = new Rejects();
  expect(await texts(path, { encodingErrors: 'replace', rejects: replace })).toEqual(['one\na\ufffdb\nthree\n']);
  expect(replace.noted.replaced).toBe(1);
  const cut = new Rejects();
  expect(await texts(write('cut.txt', Buffer.from('一句话').subarray(0, 8)), { rejects: cut })).toEqual(['一句']);
  expect(cut.noted.cut_end).toBe(1);
});

test('what is not text is said to be what it is', async () => {
  await expect(read(write('x.txt', Buffer.from('PK\x03\x04rest')))).rejects.toMatchObject({
    code: 'E133',
    values: { looksLike: 'a zip archive (or .docx, .epub, .xlsx)' },
  });
  const tar = Buffer.alloc(1024);
  tar.write('book.txt');
  tar.write('ustar', 257);
  await expect(read(write('x.tar.gz', gzipSync(tar)))).rejects.toMatchObject({ values: { looksLike: 'a tar archive' } });
  await expect(read(join(folder, 'missing.txt'))).rejects.toMatchObject({ code: 'E130' });
  mkdirSync(join(folder, 'nothing'));
  await expect(read(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'E134', values: { files: 0 } });
});

test('the hash is of the file as it lies there', async () => {
  const bytes = Buffer.from('\ufeffa\r\nb');
  const hash = createHash('sha256');
  await read(write('h.txt', bytes), { hash });
  expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
});

test('gzip is read as what it holds, in several members too; the hash is of the file on disk', async () => {
  const hash = createHash('sha256');
  const bytes = Buffer.concat([gzipSync('{"text":"a"}\n{"te'), gzipSync('xt":"b"}\n')]);
  const path = write('rows.jsonl.gz', bytes);
  let read = 0;
  expect(await texts(path, { hash, onBytes: (n) => (read += n) })).toEqual(['a', 'b']);
  expect(read).toBe(bytes.length);
  expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  const long = Array.from({ length: 200_000 }, (_, i) => `line ${i} ${Math.imul(i, 2654435761) >>> 0}`).join('\n');
  expect((await texts(write('long.txt.gz', gzipSync(long)))).join('')).toBe(long);
  const small = 'a'.repeat(1_000_000); // a thousandth of it when compressed, but harmless
  expect((await texts(write('small.txt.gz', gzipSync(small)))).join('')).toBe(small);
});

test('gzip that expands without end is stopped (Z3), and one that is damaged or cut is said to be', async () => {
  const path = write('bomb.txt.gz', gzipSync(Buffer.alloc(24 << 20, `${'a'.repeat(999)}\n`)));
  await expect(read(path)).rejects.toMatchObject({ code: 'BOMB', values: { file: path } });
  const good = gzipSync(createHash('sha512').update('x').digest('hex').repeat(50));
  for (const bad of [good.subarray(0, -9), Buffer.concat([good.subarray(0, 30), Buffer.alloc(60, 7), good.subarray(90)])])
    await expect(read(write('cut.txt.gz', bad))).rejects.toMatchObject({ code: 'CORRUPT' });
});

test('a JSON array is rows; what it holds may be spread over lines, and commas, brackets and quotes in strings are text', async () => {
  const rows = [{ text: 'a, "b" ] } \\' }, { text: '二\n三', more: [{ text: 'x' }] }];
  for (const json of [JSON.stringify(rows), `\ufeff ${JSON.stringify(rows, null, 2)}\r\n`])
    expect(await read(write('rows.json', json))).toMatchObject([
      { text: rows[0].text, line: 1, row: rows[0] },
      { text: rows[1].text, line: 2, row: rows[1] },
    ]);
  const rejects = new Rejects(1);
  expect(await texts(write('bad.json', '[{"text":"a"},{"text" "b"},3,{"text":"c\nd"},{"text":"e"},{"tex'), { rejects })).toEqual([
    'a',
    'e',
  ]);
  expect(rejects).toMatchObject({ rows: 6, refused: { bad_json: 3, truncated: 1 } });
  await expect(read(write('two.json', '[{"text":"a"}] {"text":"b"}'))).rejects.toMatchObject({ code: 'E133' });
});

test('CSV and TSV: the column named, the row kept; without the column the error lists those that are there', async () => {
  const csv = write('rows.csv', 'id,text\r\n1,"one, ""two""\r\nthree"\r\n2,四\r\n3,\r\n');
  const rejects = new Rejects();
  expect(await read(csv, { rejects })).toMatchObject([
    { text: 'one, "two"\r\nthree', line: 2, row: { id: '1' } },
    { text: '四', line: 4, row: { id: '2' } },
  ]);
  expect(rejects).toMatchObject({ rows: 3, rejected: 0, noted: { empty: 1 } });
  expect(await texts(write('rows.tsv', 'label\ttext\n1\t"quoted" is text\n'))).toEqual(['"quoted" is text']);
  await expect(read(csv, { field: 'body' })).rejects.toMatchObject({ code: 'E131', values: { fields: ['text', 'id'] } });
});
