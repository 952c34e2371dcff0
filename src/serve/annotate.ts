/** The annotation page's server: what to label next, what was said, undo, export. All that it knows is in data/annotate.ts; each decision is on disk before the answer. */
import { readFileSync } from 'node:fs';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { z } from 'zod';
import {
  agreementOf,
  type Agreement,
  type Annotating,
  type Annotation,
  annotationTokens,
  type AnnotationProgress,
  type AnnotationTask,
  checkedLabel,
  exportConll,
  exportRows,
  type Item,
  type Label,
  shownColumns,
  type Suggester,
  type Suggestion,
} from '../data/index.ts';

export interface AnnotatePageOptions {
  annotating: Annotating;
  task: AnnotationTask;
  /** What is labelled: shown as the page's title. */
  title: string;
  /** Who labels at first; the page can change it. */
  annotator: string;
  language: 'en' | 'zh';
  suggester?: Suggester;
  /** Told after each decision was answered: time to learn from it. */
  afterDecision?: () => void;
}

/** What the page is told after every step. */
export interface PageState {
  title: string;
  language: 'en' | 'zh';
  task: AnnotationTask;
  annotator: string;
  annotators: string[];
  progress: AnnotationProgress;
  /** Absent when all is done. */
  item?: {
    id: string;
    text: string;
    source: string;
    line: number;
    columns?: readonly { name: string; text: string }[];
    /** Of a span task: the tokens between which the cursor moves. */
    tokens?: { from: number; to: number }[];
    /** What this annotator said of it before. */
    said?: Label;
    /** Spans of a decision that was just taken back: to go on from. */
    draft?: Label;
    suggestion?: Suggestion;
  };
  /** The last decisions, the latest first. */
  history: { id: string; text: string; label?: Label }[];
  agreement?: Agreement;
}

const HISTORY = 8;
const HISTORY_CHARS = 80;
const BODY_BYTES = 1 << 20;

const annotatorName = z
  .string()
  .trim()
  .min(1)
  .max(60)
  .regex(/^[^\p{C}]+$/u);
const decision = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('label'), annotator: annotatorName, id: z.string().max(64), label: z.unknown() }),
  z.strictObject({ do: z.literal('skip'), annotator: annotatorName, id: z.string().max(64) }),
  z.strictObject({ do: z.literal('undo'), annotator: annotatorName }),
]);

const asset = (name: string) => readFileSync(new URL(`./annotate-page/${name}`, import.meta.url), 'utf8');

/** The routes: the page's three files, `GET /api/state`, `POST /api/decision`, `GET /api/export`. */
export function annotateApp(options: AnnotatePageOptions): Hono {
  const { annotating, task, suggester } = options;
  const app = new Hono();

  app.get('/', (c) => c.html(asset('page.html')));
  app.get('/page.mjs', (c) => c.body(asset('page.mjs'), 200, { 'Content-Type': 'text/javascript; charset=utf-8' }));
  app.get('/page.css', (c) => c.body(asset('page.css'), 200, { 'Content-Type': 'text/css; charset=utf-8' }));
  app.get('/favicon.ico', (c) => c.body(null, 204));

  app.get('/api/state', (c) => {
    const name = annotatorName.safeParse(c.req.query('annotator') ?? options.annotator);
    if (!name.success) return c.json({ error: 'the name of an annotator has 1 to 60 characters' }, 400);
    const item = c.req.query('item');
    if (item !== undefined && !annotating.item(item)) return c.json({ error: `there is no item ${item}` }, 404);
    return c.json(stateOf(name.data, item));
  });

  app.post(
    '/api/decision',
    bodyLimit({
      maxSize: BODY_BYTES,
      onError: (c) => c.json({ error: `more than ${BODY_BYTES} bytes` }, 413, { Connection: 'close' }),
    }),
    async (c) => {
      const parsed = decision.safeParse(await c.req.json().catch(() => undefined));
      if (!parsed.success) return c.json({ error: 'a decision is { do: label | skip | undo, annotator, id, label }' }, 400);
      const said = parsed.data;
      let back: Annotation | undefined;
      if (said.do === 'undo') back = annotating.undo(said.annotator);
      else {
        const item = annotating.item(said.id);
        if (!item) return c.json({ error: `there is no item ${said.id}` }, 404);
        if (said.do === 'skip') annotating.skip(said.id, said.annotator);
        else {
          const checked = checkedLabel(task, item, said.label);
          if ('problem' in checked) return c.json({ error: checked.problem }, 400);
          annotating.label(said.id, said.annotator, checked.label);
        }
      }
      if (options.afterDecision) setImmediate(options.afterDecision);
      return c.json(stateOf(said.annotator, back?.id, back?.label));
    },
  );

  app.get('/api/export', (c) => {
    const conll = c.req.query('format') === 'conll';
    const rows = exportRows(annotating);
    const text = conll ? exportConll(rows) : rows.map((r) => `${JSON.stringify(r)}\n`).join('');
    return c.body(text, 200, {
      'Content-Type': conll ? 'text/plain; charset=utf-8' : 'application/jsonl; charset=utf-8',
      'Content-Disposition': `attachment; filename="annotations.${conll ? 'conll' : 'jsonl'}"`,
    });
  });

  app.notFound((c) => c.json({ error: `there is no ${c.req.path}` }, 404));
  app.onError((error, c) => c.json({ error: error.message }, 500));
  return app;

  function stateOf(annotator: string, wanted?: string, draft?: Label): PageState {
    const done = annotating.of(annotator);
    const item = (wanted === undefined ? undefined : annotating.item(wanted)) ?? annotating.next(annotator);
    const agreement = annotating.annotators.length > 1 && task.kind !== 'span' ? agreementOf(annotating) : undefined;
    return {
      title: options.title,
      language: options.language,
      task,
      annotator,
      annotators: [...new Set([...annotating.annotators, annotator])].sort(),
      progress: annotating.progress(annotator),
      ...(item ? { item: shownItem(item, annotator, done.find((a) => a.id === item.id)?.label, draft) } : {}),
      history: done
        .slice(-HISTORY)
        .reverse()
        .flatMap(({ id, label }) => {
          const known = annotating.item(id);
          return known ? [{ id, text: known.text.slice(0, HISTORY_CHARS), ...(label === undefined ? {} : { label }) }] : [];
        }),
      ...(agreement ? { agreement } : {}),
    };
  }

  function shownItem(item: Item, annotator: string, said: Label | undefined, draft: Label | undefined): PageState['item'] {
    const suggestion = suggester?.suggest(item.id);
    const columns = shownColumns(task, item, annotator);
    return {
      id: item.id,
      text: item.text,
      source: item.source,
      line: item.line,
      ...(columns.length > 0 ? { columns } : {}),
      ...(task.kind === 'span' ? { tokens: annotationTokens(item.text).map(({ from, to }) => ({ from, to })) } : {}),
      ...(said === undefined ? {} : { said }),
      ...(Array.isArray(draft) ? { draft } : {}),
      ...(suggestion ? { suggestion } : {}),
    };
  }
}
