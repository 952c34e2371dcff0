/** The labeller of the terminal: an item, its labels under the digits, and keys; nothing needs a mouse. */
import {
  type Annotating,
  type AnnotationTask,
  annotationTokens,
  type Item,
  type Label,
  shownColumns,
  type Span,
  storedLabel,
  type Suggester,
} from '../data/index.ts';
import { clip } from '../figures/width.ts';
import { count } from './format.ts';
import { type Output, printable } from './output.ts';

export interface AnnotateOptions {
  annotator: string;
  task: AnnotationTask;
  suggester?: Suggester;
  /** Told after each decision: time to learn from it. */
  afterDecision?: () => void;
}

/** Names of the keys in what a terminal sends. */
export function keysOf(text: string): string[] {
  const named: Record<string, string> = {
    '\r': 'enter',
    '\n': 'enter',
    '\x03': 'quit',
    '\x04': 'quit',
    '\x7f': 'undo',
    '\b': 'undo',
    '\x1b[C': 'right',
    '\x1b[D': 'left',
  };
  return (text.match(/\x1b\[[A-D]|[\s\S]/gu) ?? []).map((k) => named[k] ?? k);
}

/** Asks about one item after the other until all have an answer, `q` is pressed or the keys end. Returns whether it ended by itself. */
export async function annotateOnTerminal(
  annotating: Annotating,
  keys: AsyncIterable<string>,
  out: Output,
  { annotator, task, suggester, afterDecision }: AnnotateOptions,
): Promise<'done' | 'quit'> {
  const { labels } = task;
  const typed = keys[Symbol.asyncIterator]();
  const waiting: string[] = [];
  const key = async (): Promise<string> => {
    while (waiting.length === 0) {
      const { value, done } = await typed.next();
      if (done) return 'quit';
      waiting.push(...keysOf(value));
    }
    return waiting.shift()!;
  };
  try {
    for (let item = annotating.next(annotator); item; item = annotating.next(annotator)) {
      const answer = await (task.kind === 'span' ? spansOf(item) : classOf(item));
      if (answer === 'quit') return 'quit';
      if (answer === 'undo') annotating.undo(annotator);
      else if (answer === 'skip') annotating.skip(item.id, annotator);
      else annotating.label(item.id, annotator, answer.label);
      afterDecision?.();
    }
    return 'done';
  } finally {
    await typed.return?.();
  }

  function draw(item: Item, shown: string, help: string, names = labels): void {
    const { labelled, items } = annotating.progress(annotator);
    if (out.isTerminal) out.stream('\x1b[2J\x1b[H');
    out.answer(
      out.style(
        'dim',
        `${count(labelled + 1, out.lang)} / ${count(items, out.lang)} · ${annotator} · ${printable(item.source)}:${item.line}`,
      ),
    );
    for (const line of shown.split('\n').slice(0, 40)) out.answer(clip(line, out.columns));
    out.answer(names.map((l, i) => `${out.style('bold', String((i + 1) % 10))} ${printable(l)}`).join('   '));
    out.answer(out.style('dim', help));
  }

  /** The label under a digit: 1 … 9, then 0; a label of one character also under that character. */
  function labelOf(pressed: string): string | undefined {
    if (labels.includes(pressed) && pressed.length === 1) return pressed;
    return /^\d$/.test(pressed) ? labels[(Number(pressed) + 9) % 10] : undefined;
  }

  async function classOf(item: Item): Promise<{ label: Label } | 'undo' | 'skip' | 'quit'> {
    const guess = suggester?.suggest(item.id);
    const columns = shownColumns(task, item, annotator);
    const sides = task.kind === 'preference' ? columns.slice(-2).map((c) => c.name) : [];
    // Of a preference 1 and 2 are the answers in the order in which they are shown, whatever their columns are called.
    const choices = sides.length === 2 ? [...sides, ...labels.filter((l) => !sides.includes(l))] : labels;
    const shown =
      sides.length === 2
        ? columns.map((c, i) => `${i < columns.length - 2 ? c.name : `[${i - columns.length + 3}]`} ${c.text}`).join('\n\n')
        : item.text;
    const names = choices.map((c, i) => (i < sides.length ? out.t({ en: `[${i + 1}] is better`, zh: `[${i + 1}] 更好` }) : c));
    const help = out.t({ en: 's skip · u undo · q quit', zh: 's 跳过 · u 撤销 · q 退出' });
    const suggested =
      guess &&
      out.t({
        en: `the classifier says ${names[choices.indexOf(guess.label)]} (${Math.round(100 * guess.probability)} %): enter accepts · `,
        zh: `分类器认为是 ${names[choices.indexOf(guess.label)]}（${Math.round(100 * guess.probability)} %）：回车采纳 · `,
      });
    draw(item, printable(shown), `${suggested ?? ''}${help}`, names);
    for (;;) {
      const pressed = await key();
      const at = /^\d$/.test(pressed)
        ? (Number(pressed) + 9) % 10
        : labels.includes(pressed) && pressed.length === 1
          ? choices.indexOf(pressed)
          : -1;
      const label = pressed === 'enter' ? guess?.label : choices[at];
      if (label !== undefined) {
        out.say(`  → ${printable(names[choices.indexOf(label)])}`);
        return { label: storedLabel(task, label) };
      }
      if (pressed === 'u' || pressed === 'undo') return 'undo';
      if (pressed === 's') return 'skip';
      if (pressed === 'q' || pressed === 'quit') return 'quit';
    }
  }

  async function spansOf(item: Item): Promise<{ label: Label } | 'undo' | 'skip' | 'quit'> {
    const tokens = annotationTokens(item.text);
    const spans: Span[] = [];
    let cursor = 0;
    let mark: number | undefined;
    for (;;) {
      draw(
        item,
        spanText(item.text, tokens, spans, cursor, mark, out),
        out.t({
          en: '← → (h l) move · v mark begin · digit labels · u undo · enter done · s skip · q quit',
          zh: '← →（h l）移动 · v 标记起点 · 数字加标签 · u 撤销 · 回车 完成 · s 跳过 · q 退出',
        }),
      );
      const pressed = await key();
      const label = labelOf(pressed);
      if (label !== undefined && tokens.length > 0) {
        const [a, b] = [Math.min(mark ?? cursor, cursor), Math.max(mark ?? cursor, cursor)];
        const span = { from: tokens[a].from, to: tokens[b].to, label };
        // A span takes the place of those it touches: no token has two labels.
        for (let i = spans.length - 1; i >= 0; i--) if (spans[i].from < span.to && span.from < spans[i].to) spans.splice(i, 1);
        spans.push(span);
        mark = undefined;
        cursor = Math.min(tokens.length - 1, b + 1);
      } else if (pressed === 'right' || pressed === 'l') cursor = Math.min(tokens.length - 1, cursor + 1);
      else if (pressed === 'left' || pressed === 'h') cursor = Math.max(0, cursor - 1);
      else if (pressed === 'v') mark = cursor;
      else if (pressed === 'u' || pressed === 'undo') {
        if (spans.pop() === undefined) return 'undo';
      } else if (pressed === 'enter') return { label: [...spans].sort((x, y) => x.from - y.from) };
      else if (pressed === 's') return 'skip';
      else if (pressed === 'q' || pressed === 'quit') return 'quit';
    }
  }
}

/** The text with its spans as `[Ann Lee]PER`, the cursor as `▸token` and the marked begin as `«`. */
function spanText(
  text: string,
  tokens: readonly { from: number; to: number }[],
  spans: readonly Span[],
  cursor: number,
  mark: number | undefined,
  out: Output,
): string {
  let shown = '';
  let at = 0;
  for (const [i, { from, to }] of tokens.entries()) {
    shown += printable(text.slice(at, from));
    at = to;
    const span = spans.find((s) => from >= s.from && from < s.to);
    if (span?.from === from) shown += '[';
    if (i === mark) shown += '«';
    shown += i === cursor ? `▸${out.style('bold', printable(text.slice(from, to)))}` : printable(text.slice(from, to));
    if (span?.to === to) shown += `]${out.style('cyan', printable(span.label))}`;
  }
  return shown + printable(text.slice(at));
}
