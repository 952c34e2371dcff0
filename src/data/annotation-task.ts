/** What annotators are asked: the five kinds of question, which answers each one allows, and where a pair's two sides are shown. */
import { createHash } from 'node:crypto';
import type { Item, Label, Span } from './annotate.ts';

/** `class`: one label for the whole. `span`: labels for stretches of it. `rating`: a number. `pair`: one label for two texts. `preference`: which of two answers is better. */
export type TaskKind = 'class' | 'span' | 'pair' | 'rating' | 'preference';
export const taskKinds = ['class', 'span', 'pair', 'rating', 'preference'] as const satisfies readonly TaskKind[];

export interface AnnotationTask {
  kind: TaskKind;
  /** What can be said; for a preference the names of the two columns, then what is said when neither is better. */
  labels: readonly string[];
}

/** A classifier's guess at an item. */
export interface Suggestion {
  label: string;
  probability: number;
  /** Every label with its probability. */
  all: readonly { label: string; probability: number }[];
}

/** Suggests labels, learns from those that were given, and says which item it is least sure of. */
export interface Suggester {
  suggest(id: string): Suggestion | undefined;
  /** Entropy of its guess, nats; 0 before it has learnt anything. */
  uncertainty(id: string): number;
}

/** Labels where none are given: 1 … 5, same and different, the two columns and `tie`. undefined: they must be given. */
export function defaultLabels(kind: TaskKind, columns: readonly string[] = []): readonly string[] | undefined {
  if (kind === 'rating') return ['1', '2', '3', '4', '5'];
  if (kind === 'pair') return ['same', 'different'];
  if (kind === 'preference' && columns.length >= 2) return [...columns.slice(-2), 'tie'];
  return undefined;
}

/** What is wrong with a task, as what it should have; undefined when nothing is. */
export function taskProblem(
  { kind, labels }: AnnotationTask,
  columns: readonly string[] = [],
): { en: string; zh: string } | undefined {
  const two = columns.slice(-2);
  if (labels.length < 1 || labels.length > 10 || new Set(labels).size < labels.length)
    return { en: '1 to 10 different labels', zh: '1 到 10 个不同的标签' };
  if (kind === 'rating' && labels.some((l) => !isNumber(l))) return { en: 'numbers, for a rating', zh: '打分用的数字' };
  if ((kind === 'pair' || kind === 'preference') && two.length < 2)
    return { en: 'two columns to show: show=first,second', zh: '要显示的两列：show=first,second' };
  if (kind === 'preference' && two.some((c) => !labels.includes(c)))
    return { en: `labels with ${two.join(' and ')} among them`, zh: `含有 ${two.join(' 和 ')} 的标签` };
  return undefined;
}

const isNumber = (text: string): boolean => /^-?\d+(\.\d+)?$/.test(text);

/** A label as it is stored: a number where all labels are numbers. */
export const storedLabel = ({ labels }: AnnotationTask, label: string): string | number =>
  labels.every(isNumber) ? Number(label) : label;

/** The label when it is one of the task's, in the form in which it is stored; else what is wrong with it. */
export function checkedLabel(task: AnnotationTask, item: Item, said: unknown): { label: Label } | { problem: string } {
  if (task.kind !== 'span') {
    const text = String(said);
    return (typeof said === 'string' || typeof said === 'number') && task.labels.includes(text)
      ? { label: storedLabel(task, text) }
      : { problem: `the label is one of ${task.labels.join(', ')}` };
  }
  if (!Array.isArray(said) || said.length > 10_000) return { problem: 'spans are a list' };
  const spans: Span[] = [];
  for (const span of said as unknown[]) {
    const { from, to, label } = (typeof span === 'object' && span !== null ? span : {}) as Partial<Span>;
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from! < 0 || to! <= from! || to! > item.text.length)
      return { problem: `a span lies within 0 and ${item.text.length}` };
    if (typeof label !== 'string' || !task.labels.includes(label))
      return { problem: `the label of a span is one of ${task.labels.join(', ')}` };
    spans.push({ from: from!, to: to!, label });
  }
  spans.sort((a, b) => a.from - b.from);
  return spans.some((s, i) => i > 0 && s.from < spans[i - 1].to) ? { problem: 'spans do not overlap' } : { label: spans };
}

/**
 * The columns of a preference in the order in which this annotator sees them: what comes before the two answers first, then the answers, which change sides by the hash of
 * item and annotator, so that nobody learns that the first column is the better one.
 */
export function shownColumns(task: AnnotationTask, item: Item, annotator: string): readonly { name: string; text: string }[] {
  const { columns = [] } = item;
  if (task.kind !== 'preference' || columns.length < 2) return columns;
  const flip = createHash('sha256').update(`${item.id} ${annotator}`).digest()[0] % 2 === 1;
  const [a, b] = columns.slice(-2);
  return [...columns.slice(0, -2), ...(flip ? [b, a] : [a, b])];
}
