/** `qkv tok convert`: a tokenizer from one file format to another. */
import { count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import type { Verb } from '../../verb.ts';
import { forceFlag, loadTokenizer, outFlag, writeTokenizer } from './common.ts';

export const tokConvert: Verb = {
  name: 'tok convert',
  about: { en: 'a tokenizer from one file format to another', zh: '转换词表的文件格式' },
  words: [{ name: 'FILE-or-RUN' }],
  flags: [
    outFlag,
    {
      name: 'pattern',
      takes: 'text',
      about: { en: 'how a .tiktoken file cuts text (gpt2, llama3, …)', zh: '.tiktoken 文件的切分方式（gpt2、llama3……）' },
    },
    forceFlag,
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
