/** `qkv tok show`: what a vocabulary holds. */
import { bars } from '../../../figures/terminal.ts';
import { padStart } from '../../../figures/width.ts';
import { describeToken } from '../../../tokenizers/index.ts';
import { count } from '../../format.ts';
import { here } from '../../messages/index.ts';
import { printable, table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { loadTokenizer } from './common.ts';

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
