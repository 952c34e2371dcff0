import { type Item, itemId } from './annotate.ts';
import { noColumns } from './errors.ts';
import { type PassOptions, pass } from './pass.ts';
import { Rejects } from './rejects.ts';
import { listSources, rowsOf } from './sources.ts';

/** The documents at `path` as items to label; copies are one item. `show`: the columns of a row, one below the other, instead of its text. */
export async function annotationItems(
  path: string,
  { show, ...options }: PassOptions & { show?: readonly string[] } = {},
): Promise<Item[]> {
  const items = new Map<string, Item>();
  const add = (text: string, source: string, line: number, columns?: Item['columns']) => {
    const id = itemId(text);
    if (!items.has(id)) items.set(id, { id, text, source, line, ...(columns ? { columns } : {}) });
  };
  if (!show) await pass(path, options, ({ text, source, line }) => add(text, source, line));
  else {
    const rejects = new Rejects(options.maxRejected ?? 0.01);
    for (const file of await listSources(path))
      for await (const { line, values } of rowsOf(file, { ...options, rejects })) {
        const missing = show.filter((c) => !Object.hasOwn(values, c));
        if (missing.length > 0) throw noColumns(file.path, line, missing, Object.keys(values), 'show=…');
        const columns = show.map((name) => {
          const value = values[name];
          return { name, text: typeof value === 'string' ? value : JSON.stringify(value) };
        });
        add(columns.map((c) => `${c.name}: ${c.text}`).join('\n'), file.path, line, columns);
      }
    rejects.check();
  }
  return [...items.values()];
}
