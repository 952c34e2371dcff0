// What a run reads: documents, or pairs of a source and a target.

import { alignedPairs, dialoguesOf, documents, listSources, type Pair, pairsOf, records, Rejects } from '../data/index.ts';
import type { ReadOptions } from '../data/sources.ts';
import { QkvError } from '../errors.ts';
import { mixtureOf, pairObjectives, type TrainConfig } from '../settings/index.ts';

/** How the settings say that files are read. */
export const readOptions = (config: TrainConfig) => ({
  field: config['data.field'],
  documents: config['data.documents'],
  encoding: config['data.encoding'],
  encodingErrors: config['data.encodingErrors'] ?? undefined,
});

/** Every text of the data, piece by piece: what a tokenizer learns from. */
export async function* textsOf(config: TrainConfig, signal?: AbortSignal): AsyncGenerator<string> {
  const onBytes = () => signal?.throwIfAborted();
  if (pairObjectives.includes(config.objective)) {
    for await (const { source, target } of pairsIn(config, { onBytes })) {
      yield source;
      yield target;
    }
    return;
  }
  if (config.objective === 'dialogues') {
    for await (const { messages } of dialoguesOf(config.data, { ...readOptions(config), onBytes }))
      for (const { role, content } of messages) yield* [`${role}\n`, content];
    return;
  }
  const mixed = mixtureOf(config['data.mix']);
  const rest = 1 - mixed.reduce((sum, m) => sum + m.share, 0);
  const sources = await Promise.all(
    [{ path: config.data, share: rest }, ...mixed].map(async ({ path, share }) => ({
      texts: documents(await listSources(path), { ...readOptions(config), onBytes }),
      share,
      characters: 0,
    })),
  );
  // The source that is furthest behind its share gives the next piece.
  while (sources.length > 0) {
    const next = sources.reduce((a, b) => (b.characters / b.share < a.characters / a.share ? b : a));
    const { done, value } = await next.texts.next();
    if (done) sources.splice(sources.indexOf(next), 1);
    else {
      next.characters += value.text.length;
      yield value.text;
    }
  }
}

/**
 * The pairs of the data: two aligned files (`data.targetFile`), columns of JSONL, CSV or TSV, or text files with a tab in each line.
 * @throws E144 when a text file has lines without a tab; E141, E143 and those of the readers
 */
export async function* pairsIn(config: TrainConfig, options: Pick<ReadOptions, 'onBytes'> = {}): AsyncGenerator<Pair> {
  const { data } = config;
  const { encoding, encodingErrors } = readOptions(config);
  const reading = { encoding, encodingErrors, ...options };
  const targetFile = config['data.targetFile'];
  if (targetFile !== null) {
    yield* alignedPairs(data, targetFile, reading);
    return;
  }
  const rejects = new Rejects(config['data.maxRejected']);
  const columns = { source: config['data.source'] ?? undefined, target: config['data.target'] ?? undefined };
  for (const file of await listSources(data)) {
    if (file.kind === 'text') yield* tabbedPairs(file.path, { ...reading, rejects });
    else yield* pairsOf(file.path, { ...reading, ...columns, rejects });
  }
  rejects.check();
}

/** Source and target of every line of a text file, divided by its first tab; further columns are passed over. */
async function* tabbedPairs(path: string, options: ReadOptions & { rejects: Rejects }): AsyncGenerator<Pair> {
  for await (const { text, line } of records(await listSources(path), { ...options, documents: 'line' })) {
    const [source, target] = text.split('\t');
    if (target === undefined && line === 1) throw noPairs(path);
    if (source?.trim() && target?.trim()) yield { source, target, line };
    else if (target === undefined)
      options.rejects.refuse({ source: path, line, kind: 'bad_field', reason: 'no tab in the line' });
    else options.rejects.empty(path, line, 'one side is empty');
  }
}

export const noPairs = (path: string): QkvError =>
  new QkvError('E144', `${path} holds no pairs: a line has no tab, a row no two columns`, { path });

/** Whether the data is pairs: settings say so, or its first row has two columns that go together. */
export async function holdsPairs(config: TrainConfig): Promise<boolean> {
  if ([config['data.source'], config['data.target'], config['data.targetFile']].some((value) => value !== null)) return true;
  const pairs = pairsIn(config);
  try {
    return !(await pairs.next()).done;
  } catch (error) {
    if (error instanceof QkvError && ['E144', 'E141'].includes(error.code)) return false;
    throw error;
  } finally {
    await pairs.return(undefined);
  }
}
