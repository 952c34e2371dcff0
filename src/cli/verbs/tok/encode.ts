/** `qkv tok encode`: a text in its tokens. */
import { readFileSync } from 'node:fs';
import { QkvError } from '../../../errors.ts';
import { padStart } from '../../../figures/width.ts';
import { describeToken, PipelineTokenizer } from '../../../tokenizers/index.ts';
import { bytes, count } from '../../format.ts';
import { printable, table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { encodeText, loadTokenizer } from './common.ts';

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
