// Dialogues: by which template they are written, as token ids with the places of the answers, and what ends an answer.

import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type ChatWords,
  type DialogueEncoder,
  type Message,
  openPrepared,
  type Prepared,
  prepareData,
  tokenizerFingerprint,
} from '../data/index.ts';
import { QkvError } from '../errors.ts';
import { type CheckpointFile, loadChatTemplate } from '../io/index.ts';
import type { TrainConfig } from '../settings/index.ts';
import {
  chatmlTemplate,
  chatmlTokens,
  type ChatMessage,
  type ChatTemplate,
  compileChatTemplate,
  encodeDialogue,
  neutral,
  PipelineTokenizer,
  type Tokenizer,
} from '../tokenizers/index.ts';
import { isPacked, type OpenOptions, prepareOptions } from './text-data.ts';

/**
 * The chat template of the first of these folders (or folders of these files) that has one; else ours, where the tokenizer has its two tokens.
 * @throws E147 when there is none
 */
export async function chatTemplateOf(tokenizer: Tokenizer, ...places: readonly (string | null)[]): Promise<ChatTemplate> {
  for (const place of places) {
    if (place === null || !existsSync(place)) continue;
    const template = await loadChatTemplate(statSync(place).isDirectory() ? place : dirname(place));
    if (template) return template;
  }
  if (chatmlTokens.every((token) => tokenizer.specialTokens.has(token)))
    return compileChatTemplate(chatmlTemplate, { specialTokens: { eos_token: chatmlTokens[1] } });
  throw new QkvError('E147', `the tokenizer has neither a chat template nor ${chatmlTokens.join(' and ')}`, {
    tokens: [...chatmlTokens],
  });
}

/** The template as a prepared folder keeps it. */
export const chatWords = ({ source, specialTokens }: ChatTemplate): ChatWords => ({ template: source, specialTokens });
export const templateFrom = ({ template, specialTokens }: ChatWords): Promise<ChatTemplate> =>
  compileChatTemplate(template, { specialTokens });

/** What a checkpoint must hold besides for its answers: the template, and the special tokens that it names, as Hugging Face has them. */
export function templateFiles(template: ChatTemplate): CheckpointFile[] {
  const config = { tokenizer_class: 'PreTrainedTokenizerFast', ...template.specialTokens };
  return [
    { name: 'chat_template.jinja', bytes: template.source },
    { name: 'tokenizer_config.json', bytes: `${JSON.stringify(config, null, 2)}\n` },
  ];
}

/** Special tokens are read where the template puts them, and in what the model is to write (a tool call has its own), but not in what people ask. */
export const asked = (tokenizer: Tokenizer, messages: readonly Message[]): ChatMessage[] =>
  messages.map((message) => (message.role === 'assistant' ? { ...message } : neutral(tokenizer, [{ ...message }])[0]));

/** Dialogues as ids, 1 for each token of an answer. @throws TOKENIZER where the template refuses the order of messages */
export function dialogueEncoder(tokenizer: Tokenizer, template: ChatTemplate): DialogueEncoder {
  if (!(tokenizer instanceof PipelineTokenizer)) throw new Error('dialogueEncoder: a tokenizer without offsets');
  return {
    words: chatWords(template),
    encode(messages) {
      const { text, ids, mask } = encodeDialogue(tokenizer, template, asked(tokenizer, messages));
      return { text, ids, answers: mask };
    },
  };
}

/**
 * The dialogues of the data as token streams: packed shards as they are, else made in `folder`.
 * @throws E138 shards of another tokenizer or template, and those of prepareData
 */
export async function openDialogues(
  config: TrainConfig,
  tokenizer: Tokenizer,
  template: ChatTemplate,
  { folder, whole = false, ...rest }: OpenOptions,
): Promise<Prepared & Required<Pick<Prepared, 'answers'>>> {
  const prepared = isPacked(config.data)
    ? openPrepared(config.data, { tokenizerHash: tokenizerFingerprint(tokenizer) })
    : await prepareData({
        path: config.data,
        tokenizer,
        dialogues: dialogueEncoder(tokenizer, template),
        outDir: folder,
        ...prepareOptions(config, whole),
        ...rest,
      });
  const { answers, manifest, close } = prepared;
  const same = JSON.stringify(manifest.dialogues) === JSON.stringify(chatWords(template));
  if (answers && same) return { ...prepared, answers };
  close();
  throw new QkvError('E138', `${config.data}: ${answers ? 'made with another chat template' : 'text, not dialogues'}`, {
    path: config.data,
    reason: answers ? 'another chat template' : 'no dialogues',
  });
}

/** What ends an answer: a special token, or else words. */
export function endOfAnswer(tokenizer: Tokenizer, template: ChatTemplate): { id?: number; words?: string } {
  const said = 'x';
  const { text, answers } = template.renderWithAnswers([
    { role: 'user', content: said },
    { role: 'assistant', content: said },
  ]);
  const answer = text.slice(...answers[0]);
  const words = answer.slice(answer.lastIndexOf(said) + 1).trim();
  for (const [token, id] of tokenizer.specialTokens) if (words.startsWith(token)) return { id };
  return words === '' ? {} : { words };
}
