/**
 * Chat templates: messages → the text that a model was trained on, by the Jinja template of its `tokenizer_config.json`, with the places of the answers, on which alone a loss
 * is taken. Text and mask equal those of transformers' `apply_chat_template`.
 */
import type { PipelineTokenizer } from './pipeline.ts';
import { type Tokenizer, tokenizerError } from './tokenizer.ts';

export interface ChatMessage {
  role: string;
  content: string;
  /** What a template may know beside (tool calls, a name). */
  [more: string]: unknown;
}

export interface RenderOptions {
  /** End with the words that open an answer (`<|im_start|>assistant`). */
  addGenerationPrompt?: boolean;
  /** Further variables of the template (`tools`, `documents`, `enable_thinking` …). */
  variables?: Readonly<Record<string, unknown>>;
}

/** A text and its answers: [start, end) in UTF-16 units, in order. */
export interface RenderedDialogue {
  text: string;
  answers: [start: number, end: number][];
}

export interface ChatTemplate {
  readonly source: string;
  /** The special tokens that it may call by name (`bos_token` …). */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Does the template say itself what the model writes, by `{% generation %}`? */
  readonly marksAnswers: boolean;
  /** Throws TOKENIZER with what the template says where it refuses the messages (`raise_exception`). */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
  /**
   * The text with the places of the answers: what stands inside `{% generation %}`, or, without it, for each message of the assistant what the text up to and with it has
   * more than the text before it with `addGenerationPrompt`, without blanks at its end. Throws TOKENIZER where a template of the second kind changes earlier text later.
   */
  renderWithAnswers(messages: readonly ChatMessage[], options?: Omit<RenderOptions, 'addGenerationPrompt'>): RenderedDialogue;
}

/** A template of our own for models that are trained here: ChatML, which needs two special tokens, with the answer and its end marked. */
export const chatmlTemplate = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`;
export const chatmlTokens = ['<|im_start|>', '<|im_end|>'] as const;

/** A template may be hostile: its text, what it may say, and how far it may count in one rendering. */
const limits = { source: 1 << 20, output: 1 << 26, counted: 100_000 };

/** Compile. `specialTokens`: `bos_token`, `eos_token` … as the template calls them; `now`: the time of `strftime_now`. Throws TOKENIZER where it is no template. */
export async function compileChatTemplate(
  source: string,
  { specialTokens = {}, now = () => new Date() }: { specialTokens?: Readonly<Record<string, string>>; now?: () => Date } = {},
): Promise<ChatTemplate> {
  if (source.length > limits.source)
    throw tokenizerError(`chat template: ${source.length} characters; the limit is ${limits.source}`, { length: source.length });
  const { Environment, Interpreter, parse, tokenize } = await import('@huggingface/jinja');
  const marked = source.replace(generation, (_, before: string, end: string | undefined, after: string) => {
    // An expression between two statements, so that blanks around it go as those around the statement would.
    return `{%${before} if true %}{{ ${end ? closeName : openName} }}{% endif ${after}%}`;
  });
  const compiled = compile(() => parse(tokenize(marked, { lstrip_blocks: true, trim_blocks: true })));
  const marksAnswers = marked !== source;

  const run = (messages: readonly ChatMessage[], options: RenderOptions, marks: readonly [string, string]): string => {
    let counted = 0;
    const range = (...bounds: number[]): number[] => {
      const [start, stop, step] = bounds.length === 1 ? [0, bounds[0], 1] : [bounds[0], bounds[1], bounds[2] ?? 1];
      const length = Math.max(0, Math.ceil((stop - start) / step));
      counted += length;
      if (!(counted <= limits.counted)) throw tokenizerError(`chat template: it counts further than ${limits.counted}`);
      return Array.from({ length }, (_, i) => start + i * step);
    };
    // The globals of a template, with a `range` that has an end: the library's own takes any number, and the process with it.
    const variables: Record<string, unknown> = {
      true: true,
      false: false,
      none: null,
      True: true,
      False: false,
      None: null,
      raise_exception: (message: string) => {
        throw new Error(message);
      },
      range,
      strftime_now: (format: string) => strftime(now(), format),
      ...specialTokens,
      tools: null,
      documents: null,
      ...options.variables,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? false,
      [openName]: marks[0],
      [closeName]: marks[1],
    };
    const text = compile(() => {
      const environment = new Environment();
      for (const [name, value] of Object.entries(variables)) environment.set(name, value);
      return String(new Interpreter(environment).run(compiled).value);
    });
    if (text.length > limits.output)
      throw tokenizerError(`chat template: it made ${text.length} characters; the limit is ${limits.output}`);
    return text;
  };
  const render = (messages: readonly ChatMessage[], options: RenderOptions = {}): string => run(messages, options, ['', '']);

  return {
    source,
    specialTokens,
    marksAnswers,
    render,
    renderWithAnswers: (messages, options = {}) =>
      marksAnswers
        ? answersByMarks(run(messages, options, marksFor(messages)), marksFor(messages))
        : answersByPrefixes(messages, (part, addGenerationPrompt) => render(part, { ...options, addGenerationPrompt })),
  };
}

const generation = /\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}/g;
const [openName, closeName] = ['qkv_answer_begins', 'qkv_answer_ends'];

/** Errors of the template (of its syntax, or raised by it) as ours. */
function compile<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Error) || error.name === 'QkvError') throw error;
    throw tokenizerError(`chat template: ${error.message.slice(0, 300)}`);
  }
}

/** Two characters that Unicode leaves to programs and that stand nowhere in the messages. */
function marksFor(messages: readonly ChatMessage[]): [string, string] {
  const said = JSON.stringify(messages);
  const free = Array.from({ length: 32 }, (_, i) => String.fromCharCode(0xfdd0 + i)).filter((c) => !said.includes(c));
  if (free.length < 2)
    throw tokenizerError('chat template: the messages hold all noncharacters U+FDD0 to U+FDEF, which mark answers');
  return [free[0], free[1]];
}

function answersByMarks(marked: string, [open, close]: readonly [string, string]): RenderedDialogue {
  let text = '';
  let start = -1;
  const answers: [number, number][] = [];
  for (const part of marked.split(new RegExp(`([${open}${close}])`))) {
    if (part === open) start = text.length;
    else if (part === close) {
      if (start >= 0) answers.push([start, text.length]);
      start = -1;
    } else text += part;
  }
  return { text, answers };
}

function answersByPrefixes(
  messages: readonly ChatMessage[],
  render: (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => string,
): RenderedDialogue {
  const text = render(messages, false);
  const answers: [number, number][] = [];
  messages.forEach((message, i) => {
    if (message.role !== 'assistant') return;
    const before = render(messages.slice(0, i), true);
    const last = i === messages.length - 1;
    const after = last ? text : render(messages.slice(0, i + 1), false);
    if (!after.startsWith(before) || !(text.startsWith(after) || text.startsWith(after.trimEnd())))
      throw tokenizerError(
        `chat template: with message ${i + 1} the text before it changes, so its answer cannot be told apart. Put {% generation %} … {% endgeneration %} around what the assistant writes`,
        { message: i + 1 },
      );
    const end = Math.max(before.length, after.trimEnd().length);
    // A template may end an answer with nothing but the message itself: then its own blanks belong to it.
    answers.push([before.length, after.endsWith(message.content) ? after.length : end]);
  });
  return { text, answers };
}

/** The codes of C's strftime that templates use, in English, as Python gives them in the C locale. */
function strftime(date: Date, format: string): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
  const months = [
    'January',
    'February',
    'March',
    'April',
    'May',
    'June',
    'July',
    'August',
    'September',
    'October',
    'November',
    'December',
  ];
  const codes: Readonly<Record<string, () => string>> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    A: () => days[date.getDay()],
    a: () => days[date.getDay()].slice(0, 3),
    B: () => months[date.getMonth()],
    b: () => months[date.getMonth()].slice(0, 3),
    '%': () => '%',
  };
  return format.replace(/%([-]?)([A-Za-z%])/g, (whole, bare: string, code: string) => {
    const value = codes[code]?.();
    return value === undefined ? whole : bare ? value.replace(/^0(?=.)/, '') : value;
  });
}

/** A dialogue as ids, and which of them a loss is taken on. */
export interface EncodedDialogue {
  text: string;
  ids: Int32Array;
  /** 1 where the token is part of an answer. */
  mask: Uint8Array;
}

/**
 * Ids and loss mask of a dialogue. Special tokens of the template are read as such; those in what people wrote are too where the template puts it in, as everywhere in this
 * format (`neutral` below takes them away). A token that touches an answer counts as part of it.
 */
export function encodeDialogue(
  tokenizer: PipelineTokenizer,
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  options: Omit<RenderOptions, 'addGenerationPrompt'> = {},
): EncodedDialogue {
  const { text, answers } = template.renderWithAnswers(messages, options);
  const { ids, offsets } = tokenizer.encodeWithOffsets(text, { special: true });
  const mask = new Uint8Array(ids.length);
  let a = 0;
  for (let i = 0; i < ids.length && a < answers.length; i++) {
    while (a < answers.length && offsets[2 * i] >= answers[a][1]) a++;
    if (a < answers.length && offsets[2 * i + 1] > answers[a][0]) mask[i] = 1;
  }
  return { text, ids, mask };
}

/** Messages whose text holds no special token of the tokenizer: a blank is put after its first character, so that nobody can write a turn of another. */
export function neutral(tokenizer: Tokenizer, messages: readonly ChatMessage[]): ChatMessage[] {
  const specials = [...tokenizer.specialTokens.keys()].sort((a, b) => b.length - a.length);
  return messages.map((message) => {
    let { content } = message;
    for (const token of specials) content = content.replaceAll(token, `${token.slice(0, 1)} ${token.slice(1)}`);
    return { ...message, content };
  });
}
