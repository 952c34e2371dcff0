/** `qkv tok train|encode|show`: a tokenizer from text, a text in its tokens, a vocabulary to look at. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { documents, listSources } from '../../data/index.ts';
import { QkvError } from '../../errors.ts';
import { bars } from '../../figures/terminal.ts';
import { padStart } from '../../figures/width.ts';
import { resolveRun } from '../../io/run-folder.ts';
import {
  byteTokenizer,
  charTokenizer,
  describeToken,
  type Tokenizer,
  tokenizerFromJson,
  tokenizerToJson,
  trainBpe,
} from '../../tokenizers/index.ts';
import { resolve, settings, settingsOfArguments } from '../../settings/config.ts';
import { bytes, count } from '../format.ts';
import { here, shellWord } from '../messages.ts';
import { printable, table } from '../output.ts';
import type { Verb } from '../verb.ts';

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
const END_OF_TEXT = '<|endoftext|>';

/** The tokenizer that FILE-or-RUN means: a tokenizer.json, a folder that holds one, or a run. */
export function loadTokenizer(word: string): { tokenizer: Tokenizer; path: string } {
  const candidates = [word, join(word, 'tokenizer.json')].filter((p) => existsSync(p) && statSync(p).isFile());
  const path = candidates[0] ?? join(resolveRun(word).folder, 'tokenizer.json');
  if (!existsSync(path)) throw new QkvError('E182', `there is no file ${path}`, { path });
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new QkvError('TOKENIZER', `${path} is not JSON: ${error.message}`, { path });
  }
  return { tokenizer: tokenizerFromJson(json), path };
}

/** Encodes, and names the first character that the vocabulary lacks (E162). */
export function encodeText(tokenizer: Tokenizer, text: string): Int32Array {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    // Which character? The error of a whole text does not say where.
    let position = 0;
    for (const char of text) {
      try {
        tokenizer.encode(char);
      } catch {
        throw new QkvError('E162', `the tokenizer does not know "${char}"`, { char, position, vocabSize: tokenizer.vocabSize });
      }
      position++;
    }
    throw error;
  }
}

export const tokTrain: Verb = {
  name: 'tok train',
  about: { en: 'a tokenizer.json from text', zh: '从文本训练 tokenizer.json' },
  words: [{ name: 'PATH' }],
  settings: Object.fromEntries(trainKeys.map((k) => [k, settings[k]])),
  flags: [
    { name: 'out', takes: 'text', about: { en: 'file to write (tokenizer.json)', zh: '写到哪个文件（tokenizer.json）' } },
    { name: 'force', about: { en: 'write over a file that exists', zh: '覆盖已有文件' } },
  ],
  examples: [
    'qkv tok train book.txt vocabSize=4096',
    'qkv tok train data/ pattern=cjk --out zh.json',
    'qkv tok train book.txt tokenizer=char',
  ],
  async run({ words: [path], settings: given, flags }, out) {
    const { config } = resolve([], settingsOfArguments(given), { needData: false });
    const file = (flags['out'] as string | undefined) ?? 'tokenizer.json';
    if (existsSync(file) && !flags['force']) throw new QkvError('E158', `${file} exists`, { path: file });
    const files = await listSources(path);
    const began = performance.now();
    const texts: string[] = [];
    let characters = 0;
    let cut = false;
    for await (const piece of documents(files, {
      field: config['data.field'],
      documents: config['data.documents'],
      encoding: config['data.encoding'],
      encodingErrors: config['data.encodingErrors'] ?? undefined,
    })) {
      texts.push(piece.text);
      characters += piece.text.length;
      if (characters > MOST_CHARACTERS) {
        cut = true;
        break;
      }
    }
    let said = 0;
    const tokenizer: Tokenizer =
      config.tokenizer === 'char'
        ? charTokenizer(texts, { specialTokens: [END_OF_TEXT] })
        : config.tokenizer === 'byte'
          ? byteTokenizer({ specialTokens: [END_OF_TEXT] })
          : trainBpe(texts, {
              vocabSize: config.vocabSize,
              pattern: config.pattern,
              specialTokens: [END_OF_TEXT],
              onProgress(p) {
                if (performance.now() - said < 100) return;
                said = performance.now();
                out.live(
                  p.stage === 'count'
                    ? `${count(p.characters, out.lang)} / ${count(characters, out.lang)}`
                    : `${count(p.vocabulary, out.lang)} / ${count(config.vocabSize, out.lang)}`,
                );
              },
            });
    out.live('');
    const seconds = (performance.now() - began) / 1000;
    writeFileSync(file, tokenizerToJson(tokenizer));
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

export const tokEncode: Verb = {
  name: 'tok encode',
  about: { en: 'a text cut into tokens', zh: '把文本切成词元' },
  words: [{ name: 'FILE-or-RUN' }, { name: 'TEXT', optional: true, rest: true }],
  examples: [
    'qkv tok encode tokenizer.json "Call me Ishmael."',
    'qkv tok encode demo-1 "解码器的核心是注意力"',
    'qkv tok encode demo-1 --json "a=b"',
  ],
  run({ words: [word, ...texts] }, out) {
    const { tokenizer } = loadTokenizer(word);
    const text = texts.length > 0 ? texts.join(' ') : process.stdin.isTTY ? '' : readFileSync(0, 'utf8');
    if (text === '') throw new QkvError('E161', 'the text is empty', { verb: 'tok encode' });
    const ids = encodeText(tokenizer, text);
    const tokens = Array.from(ids, (id) => describeToken(tokenizer, id));
    // Token edges in the text, with every second token marked, so that neighbours can be told apart without colour.
    out.answer(
      tokens.map((t, i) => (i % 2 ? out.style('cyan', printable(t.text)) : printable(t.text))).join(out.style('dim', '|')),
    );
    out.answer(Array.from(ids).join(' '));
    const characters = [...text].length;
    out.say(
      out.t({
        en: `${count(ids.length, 'en')} tokens · ${count(characters, 'en')} characters · ${bytes(Buffer.byteLength(text))} · ${(characters / ids.length).toFixed(2)} characters a token`,
        zh: `${count(ids.length, 'zh')} 个词元 · ${count(characters, 'zh')} 个字符 · ${bytes(Buffer.byteLength(text))} · 每词元 ${(characters / ids.length).toFixed(2)} 个字符`,
      }),
    );
    out.event({
      type: 'result',
      ok: true,
      ids,
      tokens: tokens.map((t) => ({ id: t.id, text: t.text, bytes: t.hex })),
      characters,
    });
    return 0;
  },
};

export const tokShow: Verb = {
  name: 'tok show',
  about: { en: 'what a vocabulary holds', zh: '词表里有什么' },
  words: [{ name: 'FILE-or-RUN' }],
  flags: [
    { name: 'find', takes: 'text', about: { en: 'entries that hold this text', zh: '含有这段文字的条目' } },
    { name: 'from', takes: 'number', about: { en: 'first id to list', zh: '从哪个 id 开始列' } },
    { name: 'top', takes: 'number', about: { en: 'entries to list (40)', zh: '列出几项（40）' } },
  ],
  examples: ['qkv tok show demo-1', 'qkv tok show tokenizer.json --from 300 --top 20', 'qkv tok show demo-1 --find the'],
  run({ words: [word], flags }, out) {
    const { tokenizer, path } = loadTokenizer(word);
    const most = (flags['top'] as number | undefined) ?? 40;
    const find = flags['find'] as string | undefined;
    const lengths = new Map<number, number>();
    let broken = 0;
    const found: ReturnType<typeof describeToken>[] = [];
    const special = new Set(tokenizer.specialTokens.values());
    const first = (flags['from'] as number | undefined) ?? (find === undefined ? Math.max(0, tokenizer.vocabSize - most) : 0);
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      const raw = tokenizer.tokenBytes(id);
      if (!special.has(id)) {
        lengths.set(raw.length, (lengths.get(raw.length) ?? 0) + 1);
        if (Buffer.from(raw).toString('utf8').includes('\ufffd')) broken++;
      }
      if (found.length < most && id >= first) {
        const token = describeToken(tokenizer, id);
        if (find === undefined || Buffer.from(raw).toString('utf8').includes(find) || token.token.includes(find))
          found.push(token);
      }
    }
    out.answer(
      out.style(
        'bold',
        `${here(path)}   ${tokenizer.kind} · ${count(tokenizer.vocabSize, out.lang)} ${out.t({ en: 'entries', zh: '项' })}`,
      ),
    );
    if (special.size)
      out.answer(
        `${out.t({ en: 'special', zh: '特殊' })}: ${[...tokenizer.specialTokens].map(([t, id]) => `${printable(t)} = ${id}`).join('  ')}`,
      );
    if (broken)
      out.answer(
        out.t({ en: `${count(broken, 'en')} entries are parts of a character`, zh: `${count(broken, 'zh')} 项是字符的一部分` }),
      );
    out.answer();
    out.answer(out.t({ en: 'bytes an entry', zh: '每项字节数' }));
    const longest = [...lengths.keys()].sort((a, b) => a - b).filter((k) => k <= 16);
    out.answer(
      bars(
        longest.map((k) => ({ label: String(k), value: lengths.get(k)!, note: count(lengths.get(k)!, out.lang) })),
        { length: 32 },
      ),
    );
    out.answer();
    out.answer(
      table(
        out.lang === 'zh' ? ['id', '文字', '字节'] : ['id', 'text', 'bytes'],
        found.map((t) => [padStart(String(t.id), 5), printable(t.text), t.hex]),
      ),
    );
    if (found.length === 0) out.answer(out.t({ en: 'nothing found', zh: '没有找到' }));
    out.event({
      type: 'result',
      ok: true,
      path,
      kind: tokenizer.kind,
      vocabSize: tokenizer.vocabSize,
      special: [...tokenizer.specialTokens],
      brokenEntries: broken,
      entries: found,
    });
    return 0;
  },
};
