// A dialogue with a model: what was said, and its next answer while it is written.

import { generate, type GenerateOptions, StopStrings } from '../generate/index.ts';
import type { Message } from '../data/index.ts';
import { QkvError } from '../errors.ts';
import type { Decoder } from '../models/index.ts';
import { type ChatTemplate, decodeStream, type Tokenizer } from '../tokenizers/index.ts';
import { asked, endOfAnswer } from './dialogues.ts';

export interface ChatOptions {
  /** What the model is told first. */
  system?: string;
  /** Ids that end an answer besides the template's own. */
  stopIds?: readonly number[];
}

export interface Answer {
  text: string;
  tokens: number;
  /** Why it ended: the model said so, a stop text, the limit of tokens, or somebody who asked to stop. */
  finish: 'end' | 'stop' | 'length' | 'stopped';
}

/** A dialogue with a model that was trained on dialogues. */
export class Chat {
  messages: Message[];
  /** Turns that the context has no room for any more. */
  forgotten = 0;
  readonly #end: ReturnType<typeof endOfAnswer>;

  constructor(
    readonly model: Decoder,
    readonly tokenizer: Tokenizer,
    readonly template: ChatTemplate,
    readonly options: ChatOptions = {},
  ) {
    this.#end = endOfAnswer(tokenizer, template);
    this.messages = this.#system();
  }

  /** Begins anew. */
  reset(): void {
    this.messages = this.#system();
    this.forgotten = 0;
  }

  #system(): Message[] {
    const { system } = this.options;
    return system === undefined ? [] : [{ role: 'system', content: system }];
  }

  /** The ids of the dialogue up to where the model is to speak. */
  promptIds(messages: readonly Message[] = this.messages): number[] {
    const text = this.template.render(asked(this.tokenizer, messages), { addGenerationPrompt: true });
    return [...this.tokenizer.encode(text, { special: true })];
  }

  /**
   * The answer to a question, whole characters as they come; both are part of the dialogue afterwards, also where somebody stopped the answer. The oldest turns are
   * forgotten where the context has no room for an answer of a quarter of it.
   * @throws E160 when the question alone does not fit
   */
  async answer(
    question: string,
    {
      stops = [],
      stop = () => false,
      onText,
      ...options
    }: Omit<GenerateOptions, 'stopIds'> & {
      stops?: readonly string[];
      stop?: () => boolean;
      onText?: (text: string) => void | Promise<void>;
    } = {},
  ): Promise<Answer> {
    const { contextLength } = this.model.config;
    const said: Message[] = [...this.messages, { role: 'user', content: question }];
    let ids = this.promptIds(said);
    const head = said[0].role === 'system' ? 1 : 0;
    while (ids.length > contextLength - Math.floor(contextLength / 4) && said.length > head + 2) {
      said.splice(head, 2); // a question and its answer
      this.forgotten++;
      ids = this.promptIds(said);
    }
    if (ids.length > contextLength)
      throw new QkvError('E160', `the question is ${ids.length} tokens; the context is ${contextLength}`, {
        tokens: ids.length,
        contextLength,
      });
    const { id: end, words } = this.#end;
    const stopIds = [...(end === undefined ? [] : [end]), ...(this.options.stopIds ?? [])];
    const ends = new StopStrings([...stops, ...(words === undefined ? [] : [words])]);
    const stream = decodeStream(this.tokenizer, { skipSpecial: true });
    const answer: Answer = { text: '', tokens: 0, finish: 'end' };
    const add = async (piece: string): Promise<void> => {
      answer.text += piece;
      if (piece !== '') await onText?.(piece);
    };
    for await (const id of generate(this.model, ids, { ...options, stopIds })) {
      answer.tokens++;
      await add(ends.push(stream.push(id)));
      if (ends.stopped) answer.finish = 'stop';
      else if (stop()) answer.finish = 'stopped';
      else if (answer.tokens === options.maxTokens) answer.finish = 'length';
      if (answer.finish === 'stop' || answer.finish === 'stopped') break;
    }
    if (answer.finish !== 'stop') await add(ends.push(stream.end()) + ends.end());
    this.messages = [...said, { role: 'assistant', content: answer.text }];
    return answer;
  }
}
