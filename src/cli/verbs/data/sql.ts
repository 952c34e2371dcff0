/** `qkv data sql`: a pipeline file as SQL for DuckDB, and run there where DuckDB is. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { pipelineSql, readPipeline, statisticsSql } from '../../../data/index.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import { about, reading, text } from './common.ts';

const sqlSettings = {
  from: text(
    'the Parquet files that SQL reads, as DuckDB names them: web/*.parquet',
    'SQL 读取的 Parquet 文件，按 DuckDB 的写法：web/*.parquet',
  ),
  out: text(
    'the Parquet file that the SQL writes; without it the kept rows are the result',
    'SQL 写出的 Parquet 文件；不写则以留下的行为结果',
  ),
  print: z
    .enum(['rows', 'report', 'statistics'])
    .default('rows')
    .meta(
      about(
        'the rows that are kept, what each rule did, or lengths and scripts of the text',
        '留下的行、每条规则做了什么，或文本的长度与文字',
      ),
    ),
  'data.field': reading['data.field'],
};

const quoted = (path: string): string => `'${path.replaceAll("'", "''")}'`;

export const dataSql: Verb = {
  name: 'data sql',
  about: {
    en: 'the rules of a pipeline file as SQL for DuckDB, which runs them over Parquet larger than one machine',
    zh: '把规则文件写成 DuckDB 的 SQL，在大于一台机器的 Parquet 上运行',
  },
  words: [{ name: 'PIPELINE' }],
  settings: sqlSettings,
  examples: [
    "qkv data sql rules.json 'from=web/*.parquet' out=kept.parquet",
    "qkv data sql rules.json 'from=web/*.parquet' print=report",
    'qkv data sql rules.json from=kept.parquet print=statistics',
  ],
  run(args, out) {
    const given = verbSettings(sqlSettings, args);
    const [path] = args.words;
    const from = `read_parquet(${quoted(required(given.from, 'from=FILES', dataSql))})`;
    readPipeline(path); // its errors name the file
    const field = given['data.field'];
    const { rows, report } = pipelineSql(JSON.parse(readFileSync(path, 'utf8')), { from, field, path });
    const sql = {
      rows: given.out === null ? rows : `copy (${rows}) to ${quoted(given.out)} (format parquet)`,
      report,
      statistics: statisticsSql({ from, field }),
    }[given.print];
    if (!out.json) out.stream(`${sql};\n`);
    out.event({ type: 'result', ok: true, print: given.print, from: given.from, out: given.out, sql });
    return 0;
  },
};
