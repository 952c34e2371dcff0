/** `qkv chat RUN`: a dialogue with a run that was trained on dialogues. */
import { existsSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Answer, Chat } from '../../applications/chat.ts';
import { chatTemplateOf } from '../../applications/dialogues.ts';
import { QkvError } from '../../errors.ts';
import { dispose, quantise, type WeightPrecision } from '../../nn/index.ts';
import { count } from '../format.ts';
import { type LoadedRun, loadRun } from '../load-run.ts';
import { here } from '../messages/index.ts';
import { type Output, printable } from '../output.ts';
import { stopOnSignals, turn } from '../signals.ts';
import type { Verb } from '../verb.ts';
import { type GenerateSettings, generateSettings, readGenerateSettings, weightsFlag } from './generate.ts';
import { rootFlag } from './runs.ts';
import { encodeText } from './tok/index.ts';

const { beams: _, lengthPenalty: __, ...chatSettings } = generateSettings;

export const chat: Verb = {
  name: 'chat',
  about: {
    en: 'a dialogue with a run that was trained on dialogues; answers appear as they are written',
    zh: '与用对话训练过的运行对话；回答边写边显示',
  },
  words: [{ name: 'RUN' }, { name: 'QUESTION', optional: true, rest: true }],
  settings: chatSettings,
  flags: [
    { name: 'system', takes: 'text', about: { en: 'what the model is told first', zh: '先告诉模型的话' } },
    weightsFlag,
    rootFlag,
  ],
  examples: [
    'qkv chat demo-1',
    'qkv chat demo-1 "Who are you?" "And what can you do?" temperature=0',
    'qkv chat demo-1 --system "Answer in one word"',
  ],
  async run(args, out) {
    let settings = readGenerateSettings(args);
    const given = [...args.settings];
    const [spec, ...questions] = args.words;
    const weights = (args.flags['weights'] ?? 'f32') as WeightPrecision;
    const run = loadRun(spec, { root: args.flags['root'] as string | undefined, verb: 'chat', weights, out });
    quantise(run.model, weights);
    const { tokenizer } = run;
    const system = args.flags['system'] as string | undefined;
    const session = new Session(out, questions);
    let turns = 0;
    let tokens = 0;
    try {
      const template = await templateOf(run);
      const chat = new Chat(run.model, tokenizer, template, { system, stopIds: run.endIds });
      if (session.asks)
        out.say(
          out.style(
            'dim',
            out.t({
              en: `${run.name}@${run.step} · /set key=value · /show · /new · /save FILE · /quit · Ctrl-C ends an answer`,
              zh: `${run.name}@${run.step} · /set 键=值 · /show · /new · /save 文件 · /quit · Ctrl-C 结束回答`,
            }),
          ),
        );
      for await (const line of session.lines()) {
        const question = line.trim();
        if (question === '') continue;
        try {
          if (/^\/[a-z]+/.test(question)) {
            const [word, rest = ''] = question.split(/\s+(.*)/s);
            if (word === '/quit') break;
            if (word === '/new') chat.reset();
            else if (word === '/show') out.answer(shown(settings));
            else if (word === '/save') save(rest, chat, out);
            else if (word === '/set') {
              const [key, ...value] = rest.split('=');
              given.push({ key, text: value.join('=') });
              try {
                settings = readGenerateSettings({ settings: given });
              } catch (error) {
                given.pop();
                throw error;
              }
            } else throw new QkvError('E101', `unknown word ${word}`, { key: word, keys: words });
            continue;
          }
          encodeText(tokenizer, question);
          const answer = await answered(chat, question, settings, session, out, turns++);
          tokens += answer.tokens;
          if (session.ended || out.closed) break;
        } catch (error) {
          if (!session.asks || !(error instanceof QkvError)) throw error;
          out.failure(error);
        }
      }
    } finally {
      session.close();
      dispose(run.model);
    }
    out.event({ type: 'result', ok: true, run: run.name, step: run.step, turns, tokens });
    return 0;
  },
};

/** The template of its dialogues. @throws E147, which says of a run that learned from text what it can do */
async function templateOf({ tokenizer, checkpoint, config, name }: LoadedRun) {
  try {
    return await chatTemplateOf(tokenizer, checkpoint);
  } catch (error) {
    if (!(error instanceof QkvError) || error.code !== 'E147' || config.data === '') throw error; // an imported model has no data
    throw new QkvError('E147', `${name} was not trained on dialogues`, { ...error.values, run: name });
  }
}

const words = ['/set', '/show', '/new', '/save', '/quit'];

/** One question and its answer on the screen. */
async function answered(
  chat: Chat,
  question: string,
  settings: GenerateSettings,
  session: Session,
  out: Output,
  index: number,
): Promise<Answer> {
  const { maxTokens, temperature, repetitionPenalty } = settings;
  const seed = settings.seed === null ? Math.floor(Date.now() % 2 ** 31) : settings.seed + index;
  const began = performance.now();
  const forgotten = chat.forgotten;
  const answer = await session.whileAnswering((stop) =>
    chat.answer(question, {
      ...{ maxTokens, temperature, repetitionPenalty, seed, stop: () => stop() || out.closed },
      topK: settings.topK ?? undefined,
      topP: settings.topP ?? undefined,
      minP: settings.minP ?? undefined,
      stops: [settings.stop].flat(),
      async onText(piece) {
        out.event({ type: 'text', index, text: piece });
        if (!out.json) out.stream(printable(piece));
        await turn();
      },
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  if (!out.json) out.answer();
  const n = (x: number) => count(x, out.lang);
  const lost = chat.forgotten - forgotten;
  out.say(
    out.style(
      'dim',
      out.t({
        en: `${n(answer.tokens)} tokens · ${n(answer.tokens / seconds)} tokens/s${lost > 0 ? ` · ${lost} old turn(s) forgotten: the context is full` : ''}`,
        zh: `${n(answer.tokens)} 词元 · ${n(answer.tokens / seconds)} 词元/秒${lost > 0 ? ` · 上下文已满，忘掉最早的 ${lost} 轮` : ''}`,
      }),
    ),
  );
  out.event({ type: 'answer', index, question, ...answer, forgotten: lost, seconds });
  return answer;
}

const shown = (settings: GenerateSettings): string =>
  Object.keys(chatSettings)
    .map((key) => `${key}=${JSON.stringify(settings[key as keyof GenerateSettings])}`)
    .join(' ');

/** The dialogue as a row that `qkv train` reads. */
function save(path: string, chat: Chat, out: Output): void {
  if (path === '') throw new QkvError('E108', '/save FILE', { verb: 'chat', word: 'FILE', usage: '/save FILE' });
  if (existsSync(path)) throw new QkvError('E158', `${path} exists; nothing was changed`, { path });
  writeFileSync(path, `${JSON.stringify({ messages: chat.messages })}\n`, { flag: 'wx' });
  out.answer(`${out.style('green', '✔')} ${here(path)}`);
}

/** Where questions come from (the command line, a terminal, a pipe), and who may end an answer. */
class Session {
  /** Questions are typed. */
  readonly asks: boolean;
  /** Somebody ended it by a signal, from outside a terminal. */
  ended = false;
  #reader: ReturnType<typeof createInterface> | undefined;
  #stop = false;
  #answering = false;

  constructor(
    readonly out: Output,
    readonly questions: readonly string[],
  ) {
    this.asks = questions.length === 0 && Boolean(process.stdin.isTTY) && out.isTerminal;
  }

  async *lines(): AsyncGenerator<string> {
    if (this.questions.length > 0) {
      for (const question of this.questions) {
        if (!this.out.json) this.out.answer(this.out.style('dim', `› ${printable(question)}`));
        yield question;
      }
      return;
    }
    const { stdin: input, stdout: output } = process;
    this.#reader = createInterface(this.asks ? { input, output, prompt: '› ' } : { input });
    this.#reader.on('SIGINT', () => {
      if (!this.#answering) this.#reader!.close();
      else if (this.#stop) process.exit(130);
      this.#stop = true;
    });
    if (this.asks) this.#reader.prompt();
    for await (const line of this.#reader) {
      yield line;
      if (this.asks) this.#reader.prompt();
    }
    if (this.asks) this.out.answer();
  }

  /** Runs `write` until it is done or somebody asks it to stop: the first Ctrl-C ends the answer, a second one the program. */
  async whileAnswering<T>(write: (stop: () => boolean) => Promise<T>): Promise<T> {
    this.#answering = true;
    this.#stop = false;
    const signals = stopOnSignals(() => {
      this.ended = true;
    });
    try {
      return await write(() => this.#stop || signals.asked);
    } finally {
      signals.dispose();
      this.#answering = false;
    }
  }

  close(): void {
    this.#reader?.close();
  }
}
