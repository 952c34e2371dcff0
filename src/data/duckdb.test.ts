import { expect, test } from 'vitest';
import { pipelineSql, sqlRules } from './duckdb.ts';

// That DuckDB gives the counts of cleaner() is shown where DuckDB is: test/engines/duckdb.test.ts.
test('a rule that SQL cannot say is named, with those that it can; names are quoted', () => {
  const of = (rules: unknown[], field = 'text') => pipelineSql({ rules }, { from: 'corpus', field });
  expect(() => of(['unicode', 'personal'])).toThrow(
    expect.objectContaining({ code: 'E142', values: expect.objectContaining({ rules: sqlRules }) }),
  );
  expect(() => of([{ unicode: { form: 'NFKC' } }])).toThrow(/NFKC/);
  expect(() => of(['nothing'])).toThrow(expect.objectContaining({ code: 'E142' }));
  const { rows, report } = of([{ length: { min: 3 } }], `te"xt`);
  expect(rows).toContain('"te""xt"');
  expect(report.match(/union all/g)).toBeNull();
  expect(of(['unicode', 'length']).report.match(/union all/g)).toHaveLength(1);
});
