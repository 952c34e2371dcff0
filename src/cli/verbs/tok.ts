/** `qkv tok train|encode|show|compare|convert`: a tokenizer from text, a text in its tokens, a vocabulary to look at. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { readOptions, textsOf } from '../../applications/texts.ts';
import { documents, holdsDialogues, listSources } from '../../data/index.ts';
import { QkvError } from '../../errors.ts';
import { bars } from '../../figures/terminal.ts';
import { padStart } from '../../figures/width.ts';
import { hasTokenizer, loadTokenizer as loadFile } from '../../io/load-tokenizer.ts';
import { resolveRun } from '../../io/run-folder.ts';
import {
  byteTokenizer,
  charTokenizer,
  chatmlTokens,
  describeToken,
  mergesFiles,
  PipelineTokenizer,
  tiktokenFile,
  type EncodeOptions,
  type Tokenizer,
  tokenizerToJson,
  trainBpe,
  trainUnigram,
  trainWordPiece,
  vocabTxt,
} from '../../tokenizers/index.ts';
import { resolve, settings, settingsOfArguments } from '../../settings/config.ts';
import { bytes, count } from '../format.ts';
import { here, shellWord } from '../messages/index.ts';
import { printable, table } from '../output.ts';
import type { Verb } from '../verb.ts';
import { required, verbSettings } from '../verb-settings.ts';

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

/** The tokenizer that FILE-or-RUN means: a file of any known format, a folder that holds one, a run, or `byte`, which needs no file. */
export async function loadTokenizer(word: string, pattern?: string): Promise<{ tokenizer: Tokenizer; path: string }> {
  if (word === 'byte' && !existsSync(word)) return { tokenizer: byteTokenizer({ specialTokens: [END_OF_TEXT] }), path: 'byte' };
  return loadFile(hasTokenizer(word) ? word : join(resolveRun(word).folder, 'tokenizer.json'), { pattern });
}

/** The files of a tokenizer in the format that the name says: `.model`, `.tiktoken`, `vocab.txt`, `vocab.json` (with `merges.txt` beside it), else tokenizer.json. */
async function filesOf(tokenizer: Tokenizer, path: string): Promise<Map<string, string | Uint8Array>> {
  const name = basename(path);
  if (name.endsWith('.model')) {
    const { sentencePieceModel } = await import('../../tokenizers/sentencepiece.ts');
    return new Map([[path, sentencePieceModel(tokenizer)]]);
  }
  if (name.endsWith('.tiktoken')) return new Map([[path, tiktokenFile(tokenizer).text]]);
  if (name === 'vocab.txt') return new Map([[path, vocabTxt(tokenizer)]]);
  if (name === 'vocab.json') {
    const { vocabJson, mergesTxt } = mergesFiles(tokenizer);
    return new Map([
      [path, vocabJson],
      [join(dirname(path), 'merges.txt'), mergesTxt],
    ]);
  }
  return new Map([[path, tokenizerToJson(tokenizer)]]);
}

/** Writes them; E158 where one is there, unless `force`. */
async function writeTokenizer(tokenizer: Tokenizer, path: string, force: boolean): Promise<string[]> {
  const files = await filesOf(tokenizer, path);
  for (const file of files.keys()) if (existsSync(file) && !force) throw new QkvError('E158', `${file} exists`, { path: file });
  for (const [file, content] of files) writeFileSync(file, content, { flag: force ? 'w' : 'wx' });
  return [...files.keys()];
}

/** Encodes, and names the first character that the vocabulary lacks (E162). */
export function encodeText(tokenizer: Tokenizer, text: string, options: EncodeOptions = {}): Int32Array {
  try {
    return tokenizer.encode(text, options);
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
    {
      name: 'out',
      takes: 'text',
      about: {
        en: 'file to write (tokenizer.json); NAME.model, NAME.tiktoken, vocab.txt and vocab.json are written in those formats',
        zh: '写到哪个文件（tokenizer.json）；名字为 *.model、*.tiktoken、vocab.txt、vocab.json 时写成相应格式',
      },
    },
    { name: 'force', about: { en: 'write over a file that exists', zh: '覆盖已有文件' } },
  ],
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

export const tokEncode: Verb = {
  name: 'tok encode',
  about: { en: 'a text cut into tokens', zh: '把文本切成词元' },
  words: [{ name: 'FILE-or-RUN' }, { name: 'TEXT', optional: true, rest: true }],
  flags: [
    {
      name: 'offsets',
      about: {
        en: 'where each token stands in the text, in characters and in bytes',
        zh: '每个词元在文本中的位置（字符与字节）',
      },
    },
  ],
  examples: [
    'qkv tok encode tokenizer.json "Call me Ishmael."',
    'qkv tok encode demo-1 "解码器的核心是注意力"',
    'qkv tok encode demo-1 --json "a=b"',
    'qkv tok encode tokenizer.json "床前明月光" --offsets',
  ],
  async run({ words: [word, ...texts], flags }, out) {
    const { tokenizer } = await loadTokenizer(word);
    const text = texts.length > 0 ? texts.join(' ') : process.stdin.isTTY ? '' : readFileSync(0, 'utf8');
    if (text === '') throw new QkvError('E161', 'the text is empty', { verb: 'tok encode' });
    const ids = encodeText(tokenizer, text);
    const tokens = Array.from(ids, (id) => describeToken(tokenizer, id));
    // Token edges in the text, with every second token marked, so that neighbours can be told apart without colour.
    out.answer(
      tokens.map((t, i) => (i % 2 ? out.style('cyan', printable(t.text)) : printable(t.text))).join(out.style('dim', '|')),
    );
    const places = flags['offsets'] && tokenizer instanceof PipelineTokenizer ? offsetsOf(tokenizer, text) : undefined;
    if (!places) out.answer(Array.from(ids).join(' '));
    else
      out.answer(
        table(
          out.lang === 'zh' ? ['id', '文字', '字符', '字节'] : ['id', 'text', 'characters', 'bytes'],
          tokens.map((t, i) => [
            padStart(String(t.id), 5),
            printable(t.text),
            `${places[i].characters[0]}–${places[i].characters[1]}`,
            `${places[i].bytes[0]}–${places[i].bytes[1]}`,
          ]),
          [2, 3],
        ),
      );
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
      tokens: tokens.map((t, i) => ({ id: t.id, text: t.text, bytes: t.hex, ...(places ? { offsets: places[i] } : {}) })),
      characters,
    });
    return 0;
  },
};

/** Where each token stands: [start, end) in characters and in bytes. */
function offsetsOf(tokenizer: PipelineTokenizer, text: string): { characters: [number, number]; bytes: [number, number] }[] {
  const characters = tokenizer.encodeWithOffsets(text, { unit: 'character' });
  const { offsets } = tokenizer.encodeWithOffsets(text, { unit: 'byte' });
  return Array.from(characters.ids, (_, i) => ({
    characters: [characters.offsets[2 * i], characters.offsets[2 * i + 1]],
    bytes: [offsets[2 * i], offsets[2 * i + 1]],
  }));
}

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
  async run({ words: [word], flags }, out) {
    const { tokenizer, path } = await loadTokenizer(word);
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

const compareSettings = {
  tokenizer: z.string().min(1).nullable().default(null).meta({
    en: 'a tokenizer.json, a folder that holds one, a run, or byte; again for each tokenizer',
    zh: 'tokenizer.json、含有它的文件夹、某次运行，或 byte；每个词表写一次',
  }),
  'data.field': settings['data.field'],
  'data.documents': settings['data.documents'],
  'data.encoding': settings['data.encoding'],
  'data.encodingErrors': settings['data.encodingErrors'],
};
/** Text that is compared on: enough for three digits, little enough to wait for. */
const COMPARE_CHARACTERS = 4e6;

export const tokCompare: Verb = {
  name: 'tok compare',
  about: { en: 'characters and bytes a token of several tokenizers on one text', zh: '几个词表在同一文本上每词元的字符与字节' },
  words: [{ name: 'PATH' }, { name: 'FILE-or-RUN', optional: true, rest: true }],
  settings: compareSettings,
  examples: [
    'qkv tok compare book.txt tokenizer=a.json tokenizer=b.json',
    'qkv tok compare book.txt demo-1 tokenizer.json byte',
    'qkv tok compare rows.jsonl a.json byte data.field=content',
  ],
  async run(args, out) {
    const given = verbSettings(compareSettings, args);
    const [path, ...words] = args.words;
    const names = [...words, ...args.settings.filter((s) => s.key === 'tokenizer').map((s) => s.text)];
    if (names.length === 0) required(null, 'tokenizer=FILE', tokCompare);
    const loaded: ({ name: string } & Awaited<ReturnType<typeof loadTokenizer>>)[] = [];
    for (const name of names) loaded.push({ name, ...(await loadTokenizer(name)) });
    const texts: string[] = [];
    let characters = 0;
    for await (const { text } of documents(await listSources(path), {
      field: given['data.field'],
      documents: given['data.documents'],
      encoding: given['data.encoding'],
      encodingErrors: given['data.encodingErrors'] ?? undefined,
    })) {
      const part =
        characters + text.length > COMPARE_CHARACTERS
          ? text.slice(0, COMPARE_CHARACTERS - characters).replace(/[\ud800-\udbff]$/, '')
          : text;
      texts.push(part);
      characters += part.length;
      if (characters >= COMPARE_CHARACTERS) break;
    }
    const totals = {
      characters: texts.reduce((n, t) => n + [...t].length, 0),
      bytes: texts.reduce((n, t) => n + Buffer.byteLength(t), 0),
    };
    const results = loaded.map(({ name, tokenizer, path: file }) => {
      out.live(name);
      const unknown = UNKNOWN.map((t) => tokenizer.specialTokens.get(t) ?? tokenizer.tokenToId(t)).find((id) => id !== undefined);
      const times = new Map<number, number>();
      let tokens = 0;
      let unknowns = 0;
      const began = performance.now();
      const encoded: Int32Array[] = [];
      for (const text of texts) encoded.push(encodeText(tokenizer, text));
      const seconds = (performance.now() - began) / 1000;
      for (const ids of encoded) {
        tokens += ids.length;
        for (const id of ids) {
          times.set(id, (times.get(id) ?? 0) + 1);
          if (id === unknown) unknowns++;
        }
      }
      return {
        name,
        file,
        kind: tokenizer.kind,
        vocabSize: tokenizer.vocabSize,
        tokens,
        charactersPerToken: totals.characters / tokens,
        bytesPerToken: totals.bytes / tokens,
        bitsPerByte: bitsOf(times.values(), tokens) / totals.bytes,
        used: times.size,
        unknown: unknowns,
        megabytesPerSecond: totals.bytes / 1e6 / seconds,
      };
    });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    const least = Math.min(...results.map((r) => r.tokens));
    out.answer(
      out.style(
        'bold',
        `${path}   ${n(totals.characters)} ${out.t({ en: 'characters', zh: '个字符' })} · ${bytes(totals.bytes)}`,
      ),
    );
    out.answer(
      table(
        out.lang === 'zh'
          ? ['词表', '种类', '项数', '词元', '字符/词元', '字节/词元', '比特/字节', '用到的项', '未知', 'MB/秒']
          : [
              'tokenizer',
              'kind',
              'entries',
              'tokens',
              'characters a token',
              'bytes a token',
              'bits a byte',
              'entries used',
              'unknown',
              'MB/s',
            ],
        results.map((r) => [
          `${r.name}${r.tokens === least && results.length > 1 ? ' ◀' : ''}`,
          r.kind,
          n(r.vocabSize),
          n(r.tokens),
          r.charactersPerToken.toFixed(3),
          r.bytesPerToken.toFixed(3),
          r.bitsPerByte.toFixed(3),
          `${n(r.used)} (${Math.round((100 * r.used) / r.vocabSize)} %)`,
          n(r.unknown),
          r.megabytesPerSecond.toFixed(1),
        ]),
        [2, 3, 4, 5, 6, 7, 8, 9],
      ),
    );
    if (results.length > 1)
      out.say(
        out.t({
          en: '◀ fewest tokens: more text in the same context. Bits a byte: the text coded by how often each token occurs in it, without context. Losses of different tokenizers compare only as bits a byte',
          zh: '◀ 词元最少：同样的上下文容纳更多文本。比特/字节：只按各词元在本文中的频率编码（不看上下文）。不同词表的损失只能按每字节比特比较',
        }),
      );
    out.event({ type: 'result', ok: true, path, ...totals, tokenizers: results });
    return 0;
  },
};

/** Bits that a text takes when each token costs −log₂ of its share. */
function bitsOf(times: Iterable<number>, tokens: number): number {
  let bits = 0;
  for (const n of times) bits -= n * Math.log2(n / tokens);
  return bits;
}

export const tokConvert: Verb = {
  name: 'tok convert',
  about: { en: 'a tokenizer from one file format to another', zh: '转换词表的文件格式' },
  words: [{ name: 'FILE-or-RUN' }],
  flags: [
    {
      name: 'out',
      takes: 'text',
      about: {
        en: 'file to write (tokenizer.json); NAME.model, NAME.tiktoken, vocab.txt and vocab.json are written in those formats',
        zh: '写到哪个文件（tokenizer.json）；名字为 *.model、*.tiktoken、vocab.txt、vocab.json 时写成相应格式',
      },
    },
    {
      name: 'pattern',
      takes: 'text',
      about: { en: 'how a .tiktoken file cuts text (gpt2, llama3, …)', zh: '.tiktoken 文件的切分方式（gpt2、llama3……）' },
    },
    { name: 'force', about: { en: 'write over a file that exists', zh: '覆盖已有文件' } },
  ],
  examples: [
    'qkv tok convert tokenizer.model --out tokenizer.json',
    'qkv tok convert my.tiktoken --pattern llama3 --out tokenizer.json',
  ],
  async run({ words: [word], flags }, out) {
    const { tokenizer, path } = await loadTokenizer(word, flags['pattern'] as string | undefined);
    const file = (flags['out'] as string | undefined) ?? 'tokenizer.json';
    const written = await writeTokenizer(tokenizer, file, flags['force'] === true);
    out.answer(
      `${out.style('green', '✔')} ${written.map(here).join('  ')}  ${tokenizer.kind} · ${count(tokenizer.vocabSize, out.lang)} ${out.t({ en: 'entries', zh: '项' })}`,
    );
    out.say(`${out.t({ en: 'Next', zh: '下一步' })}  qkv tok show ${shellWord(here(file))}`);
    out.event({ type: 'result', ok: true, from: path, files: written, kind: tokenizer.kind, vocabSize: tokenizer.vocabSize });
    return 0;
  },
};

const UNKNOWN = ['<unk>', '[UNK]', '<|unk|>'];
