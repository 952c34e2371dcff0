/**
 * Dialogues and preferences in the shapes in which they are published, as one type.
 *
 *     messages        {"messages": [{"role": "user", "content": "…"}, …]}                         OpenAI
 *     conversations   {"system"?: "…", "conversations": [{"from": "human", "value": "…"}, …]}     ShareGPT
 *     instruction     {"instruction": "…", "input"?: "…", "output": "…", "history"?: [["…", "…"], …]}    Alpaca
 */
import { noColumns } from './errors.ts';
import { Rejects } from './rejects.ts';
import { listSources, type ReadOptions, rowsOf, type SourceFile } from './sources.ts';

export type Role = 'system' | 'user' | 'assistant' | 'tool';

export interface Message {
  role: Role;
  content: string;
}

export interface Dialogue {
  messages: Message[];
  line: number;
}

const ROLES: Readonly<Record<string, Role>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  human: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  bot: 'assistant',
  model: 'assistant',
  chatgpt: 'assistant',
  tool: 'tool',
  function: 'tool',
  observation: 'tool',
};

type Values = Readonly<Record<string, unknown>>;
/** What is wrong with a row, in words. */
type Read<T> = { value: T } | { problem: string };

const isText = (v: unknown): v is string => typeof v === 'string';
const optional = (v: unknown): v is string | null | undefined => v === undefined || v === null || typeof v === 'string';

/** A list of messages of either spelling. */
function messagesFrom(list: unknown, name: string): Read<Message[]> {
  if (!Array.isArray(list) || list.length === 0) return { problem: `"${name}" is no list of messages` };
  const messages: Message[] = [];
  for (const [i, raw] of list.entries()) {
    const m = (typeof raw === 'object' && raw !== null ? raw : {}) as Values;
    const said = m['role'] ?? m['from'];
    const content = m['content'] ?? m['value'];
    if (!isText(said) || !Object.hasOwn(ROLES, said))
      return { problem: `message ${i + 1} of "${name}": role ${JSON.stringify(said ?? null)}` };
    if (!isText(content)) return { problem: `message ${i + 1} of "${name}" has no text` };
    messages.push({ role: ROLES[said], content });
  }
  return { value: messages };
}

const withSystem = (system: unknown, messages: Message[]): Message[] =>
  isText(system) && system !== '' && messages[0]?.role !== 'system'
    ? [{ role: 'system', content: system }, ...messages]
    : messages;

/** Each shape by the column that marks it. */
const SHAPES: readonly [column: string, read: (values: Values) => Read<Message[]>][] = [
  ['messages', (v) => withSystemOf(v, messagesFrom(v['messages'], 'messages'))],
  ['conversations', (v) => withSystemOf(v, messagesFrom(v['conversations'], 'conversations'))],
  ['conversation', (v) => withSystemOf(v, messagesFrom(v['conversation'], 'conversation'))],
  ['instruction', alpaca],
];

const withSystemOf = (values: Values, read: Read<Message[]>): Read<Message[]> =>
  'value' in read ? { value: withSystem(values['system'], read.value) } : read;

function alpaca(v: Values): Read<Message[]> {
  const { instruction, input, output, history } = v;
  if (!isText(instruction) || !isText(output) || !optional(input)) return { problem: '"instruction" and "output" must be text' };
  const turns = history ?? [];
  if (!Array.isArray(turns) || !turns.every((t) => Array.isArray(t) && t.length === 2 && t.every(isText)))
    return { problem: '"history" must be pairs of texts' };
  const asked = input ? `${instruction}\n${input}` : instruction;
  const messages = [...(turns as [string, string][]), [asked, output] as const].flatMap(([question, answer]): Message[] => [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ]);
  return { value: withSystem(v['system'], messages) };
}

/** What the order of turns must be for a loss on the answers to mean anything; undefined when nothing is wrong. */
function problemOf(messages: readonly Message[]): string | undefined {
  if (!messages.some((m) => m.role === 'assistant')) return 'nobody answers';
  if (messages.slice(1).some((m) => m.role === 'system')) return 'a system message that is not the first';
  const spoken = messages.filter((m) => m.role === 'user' || m.role === 'assistant');
  if (spoken[0].role !== 'user') return 'an answer comes before any question';
  if (messages.some((m) => m.role === 'assistant' && m.content.trim() === '')) return 'an empty answer';
  const twice = messages.findIndex((m, i) => i > 0 && m.role === 'user' && messages[i - 1].role === 'user');
  return twice >= 0 ? `two questions in a row (message ${twice + 1})` : undefined;
}

/**
 * The dialogues of JSONL files or JSON arrays at `path`, each row in whichever shape its columns say. E141, with the columns that are there, when the first row has
 * none of the shapes; later rows that do not fit are refused and counted.
 */
export async function* dialoguesOf(path: string, options: ReadOptions = {}): AsyncGenerator<Dialogue> {
  const rejects = options.rejects ?? new Rejects();
  for (const file of await listSources(path)) yield* dialoguesIn(file, { ...options, rejects });
  rejects.check();
}

/** The dialogues of one file. */
export async function* dialoguesIn(file: SourceFile, options: ReadOptions & { rejects: Rejects }): AsyncGenerator<Dialogue> {
  let good = 0;
  for await (const { line, values } of rowsOf(file, options)) {
    const shape = shapeOf(values);
    if (!shape && good === 0)
      throw noColumns(
        file.path,
        line,
        SHAPES.map(([c]) => c),
        Object.keys(values),
      );
    const read = shape?.[1](values) ?? { problem: `none of ${SHAPES.map(([c]) => c).join(', ')}` };
    const problem = 'problem' in read ? read.problem : problemOf(read.value);
    if (problem !== undefined) options.rejects.refuse({ source: file.path, line, kind: 'bad_field', reason: problem });
    else {
      good++;
      yield { messages: (read as { value: Message[] }).value, line };
    }
  }
}
const shapeOf = (values: Values) => SHAPES.find(([column]) => Object.hasOwn(values, column));

/** Whether the first row at `path` is a dialogue, and has no column `field` that would make it a text. */
export async function holdsDialogues(path: string, { field = 'text', ...options }: ReadOptions = {}): Promise<boolean> {
  const [file] = await listSources(path);
  if (file.kind === 'text') return false;
  for await (const { values } of rowsOf(file, { ...options, rejects: new Rejects(1) }))
    return !Object.hasOwn(values, field) && shapeOf(values) !== undefined;
  return false;
}

/** A question with a better and a worse answer. */
export interface Preference {
  prompt: Message[];
  chosen: Message[];
  rejected: Message[];
  line: number;
}

/**
 * Preference pairs: `chosen` and `rejected` as texts beside a `prompt` (or `question`, `instruction`), or both as lists of messages, whose common beginning is
 * then the prompt. E141, with the columns that are there, when the first row lacks a column; rows that do not fit are refused and counted, and so are
 * rows whose answers are the same.
 */
export async function* preferencesOf(path: string, options: ReadOptions = {}): AsyncGenerator<Preference> {
  const rejects = options.rejects ?? new Rejects();
  for (const file of await listSources(path)) {
    let good = 0;
    for await (const { line, values } of rowsOf(file, { ...options, rejects })) {
      const prompt = ['prompt', 'question', 'instruction'].find((c) => Object.hasOwn(values, c));
      const lists = Array.isArray(values['chosen']);
      const missing = ['chosen', 'rejected', ...(prompt || lists ? [] : ['prompt'])].filter(
        (c) => c !== prompt && !Object.hasOwn(values, c),
      );
      if (missing.length > 0 && good === 0) throw noColumns(file.path, line, missing, Object.keys(values));
      const read = preference(values, prompt);
      if ('problem' in read) rejects.refuse({ source: file.path, line, kind: 'bad_field', reason: read.problem });
      else {
        good++;
        yield { ...read.value, line };
      }
    }
  }
  rejects.check();
}

function preference(values: Values, promptColumn: string | undefined): Read<Omit<Preference, 'line'>> {
  const { chosen, rejected } = values;
  const given = promptColumn === undefined ? undefined : values[promptColumn];
  const asked = Array.isArray(given)
    ? messagesFrom(given, promptColumn!)
    : isText(given)
      ? { value: [{ role: 'user' as const, content: given }] }
      : { value: [] };
  if ('problem' in asked) return asked;
  const system = withSystem(values['system'], asked.value);
  if (isText(chosen) && isText(rejected)) {
    if (system.length === 0) return { problem: 'no prompt' };
    if (chosen === rejected) return { problem: 'both answers are the same' };
    if (chosen.trim() === '') return { problem: 'the chosen answer is empty' };
    return {
      value: {
        prompt: system,
        chosen: [{ role: 'assistant', content: chosen }],
        rejected: [{ role: 'assistant', content: rejected }],
      },
    };
  }
  const [a, b] = [messagesFrom(chosen, 'chosen'), messagesFrom(rejected, 'rejected')];
  if ('problem' in a) return a;
  if ('problem' in b) return b;
  let same = 0;
  while (same < Math.min(a.value.length, b.value.length) && JSON.stringify(a.value[same]) === JSON.stringify(b.value[same]))
    same++;
  const [better, worse] = [a.value.slice(same), b.value.slice(same)];
  if (better.length === 0 || worse.length === 0)
    return { problem: 'both answers are the same, or one goes on where the other ends' };
  // A prompt beside lists that repeat it is not said twice.
  const prompt = same > 0 ? withSystem(values['system'], a.value.slice(0, same)) : system;
  if (prompt.length === 0) return { problem: 'no prompt' };
  if (better[0].role !== 'assistant' || worse[0].role !== 'assistant')
    return { problem: 'the answers differ before anybody answers' };
  return { value: { prompt, chosen: better, rejected: worse } };
}
