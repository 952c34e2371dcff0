/** The process that decodes Parquet and Arrow files (table.ts): one answer for each question. */
import { Expanding, type OpenTable } from './table-limits.ts';
import type { TableAnswer, TableQuestion } from './table.ts';

let table: OpenTable | undefined;
let batches: AsyncIterator<{ rows: Record<string, unknown>[]; share: number }> | undefined;

async function close(): Promise<void> {
  await batches?.return?.();
  await table?.close();
  table = batches = undefined;
}

async function answer(question: TableQuestion): Promise<TableAnswer> {
  if ('close' in question) {
    await close();
    return { end: true };
  }
  if ('open' in question) {
    await close();
    const { path, kind, columns } = question.open;
    const openTable = kind === 'parquet' ? (await import('./parquet.ts')).openParquet : (await import('./arrow.ts')).openArrow;
    process.send?.({ ready: true } satisfies TableAnswer); // what it took to load the decoder is not the file's
    table = await openTable(path, columns);
    batches = table.batches()[Symbol.asyncIterator]();
    return { columns: table.columns, rows: table.rows };
  }
  const next = await batches!.next();
  if (!next.done) return next.value;
  await close();
  return { end: true };
}

// Whoever asks decides when to stop, and is told of Ctrl-C and its like by itself.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit());

process.on('message', async (question: TableQuestion) => {
  let said: TableAnswer;
  try {
    said = await answer(question);
  } catch (error) {
    await close().catch(() => {});
    said =
      error instanceof Expanding ? { failed: 'bomb', bomb: error.read } : { failed: String((error as Error)?.message ?? error) };
  }
  process.send?.(said);
});
