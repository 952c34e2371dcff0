/** `qkv tok train`: a tokenizer from text. */
import { existsSync } from 'node:fs';
import { readOptions, textsOf } from '../../../applications/texts.ts';
import { holdsDialogues } from '../../../data/index.ts';
import { QkvError } from '../../../errors.ts';
import { resolve, settings, settingsOfArguments } from '../../../settings/config.ts';
import {
  byteTokenizer,
  charTokenizer,
  chatmlTokens,
  type Tokenizer,
  trainBpe,
  trainUnigram,
  trainWordPiece,
} from '../../../tokenizers/index.ts';
import { count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import type { Verb } from '../../verb.ts';
import { END_OF_TEXT, forceFlag, outFlag, writeTokenizer } from './common.ts';

const trainKeys = [
  'tokenizer',
  'vocabSize',
  'pattern',
  'data.field',
  'data.documents',
  'data.encoding',
  'data.encodingErrors',
  'data.maxRejected',
] as const;
/** A vocabulary settles long before this much text; more only costs memory. */
const MOST_CHARACTERS = 100e6;

export const tokTrain: Verb = {
  name: 'tok train',
  about: { en: 'a tokenizer.json from text', zh: '从文本训练 tokenizer.json' },
  words: [{ name: 'PATH' }],
  settings: Object.fromEntries(trainKeys.map((k) => [k, settings[k]])),
  flags: [outFlag, forceFlag],
  examples: [
    'qkv tok train book.txt vocabSize=4096',
    'qkv tok train data/ pattern=cjk --out zh.json',
    'qkv tok train book.txt tokenizer=char',
    'qkv tok train book.txt tokenizer=unigram vocabSize=8000 --out book.model',
  ],
  async run({ words: [path], settings: given, flags }, out) {
    const { config } = resolve([], settingsOfArguments(given), { needData: false });
    const file = (flags['out'] as string | undefined) ?? 'tokenizer.json';
    if (existsSync(file) && !flags['force']) throw new QkvError('E158', `${file} exists`, { path: file });
    const began = performance.now();
    const texts: string[] = [];
    let characters = 0;
    let cut = false;
    const talks = await holdsDialogues(path, readOptions(config));
    const ours = talks ? chatmlTokens : [];
    const specialTokens = [END_OF_TEXT, ...ours];
    for await (const text of talks
      ? textsOf({ ...config, data: path, objective: 'dialogues' })
      : textsOf({ ...config, data: path })) {
      texts.push(text);
      characters += text.length;
      if (characters > MOST_CHARACTERS) {
        cut = true;
        break;
      }
    }
    let said = 0;
    const { vocabSize } = config;
    const onProgress = (p: { stage: string; characters?: number; vocabulary?: number; pieces?: number }) => {
      if (performance.now() - said < 100) return;
      said = performance.now();
      out.live(
        p.stage === 'count'
          ? `${count(p.characters!, out.lang)} / ${count(characters, out.lang)}`
          : `${count((p.vocabulary ?? p.pieces)!, out.lang)} / ${count(vocabSize, out.lang)}`,
      );
    };
    const tokenizer: Tokenizer =
      config.tokenizer === 'char'
        ? charTokenizer(texts, { specialTokens })
        : config.tokenizer === 'byte'
          ? byteTokenizer({ specialTokens })
          : config.tokenizer === 'wordpiece'
            ? trainWordPiece(texts, { vocabSize, onProgress })
            : config.tokenizer === 'unigram'
              ? trainUnigram(texts, {
                  vocabSize,
                  specialTokens: ['<unk>', '<s>', '</s>', ...ours],
                  onProgress,
                  ...(file.endsWith('.model') ? { normalizer: null } : {}),
                })
              : trainBpe(texts, { vocabSize, pattern: config.pattern, specialTokens, onProgress });
    out.live('');
    const seconds = (performance.now() - began) / 1000;
    await writeTokenizer(tokenizer, file, flags['force'] === true);
    // How much a token holds, on text that it may have seen: the start of each document.
    const probe = texts.slice(0, 200).map((t) => t.slice(0, 5000));
    const probeBytes = probe.reduce((n, t) => n + Buffer.byteLength(t), 0);
    const probeTokens = probe.reduce((n, t) => n + tokenizer.encode(t).length, 0);
    const bytesPerToken = probeBytes / Math.max(1, probeTokens);
    const n = (x: number) => count(x, out.lang);
    out.answer(
      `${out.style('green', '✔')} ${here(file)}  ${out.t({
        en: `${tokenizer.kind === 'bpe' ? config.tokenizer : tokenizer.kind} · ${n(tokenizer.vocabSize)} entries · ${bytesPerToken.toFixed(2)} bytes a token · from ${n(characters)} characters in ${seconds.toFixed(1)} s${cut ? ' (the rest of the text was not needed)' : ''}`,
        zh: `${tokenizer.kind === 'bpe' ? config.tokenizer : tokenizer.kind} · ${n(tokenizer.vocabSize)} 项 · 每词元 ${bytesPerToken.toFixed(2)} 字节 · 来自 ${n(characters)} 个字符，用时 ${seconds.toFixed(1)} 秒${cut ? '（其余文本不需要）' : ''}`,
      })}`,
    );
    if (config.tokenizer === 'bpe' && tokenizer.vocabSize < config.vocabSize) {
      out.say(
        out.t({
          en: `The text has no more pairs to merge; ${n(config.vocabSize)} were wanted`,
          zh: `文本里没有更多可合并的对；原想要 ${n(config.vocabSize)} 项`,
        }),
      );
    }
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv tok show ${shellWord(here(file))}   ·   qkv train data=${shellWord(here(path))} tokenizer=${shellWord(here(file))}`,
    );
    out.event({
      type: 'result',
      ok: true,
      file,
      kind: config.tokenizer,
      vocabSize: tokenizer.vocabSize,
      bytesPerToken,
      characters,
      seconds,
    });
    return 0;
  },
};
