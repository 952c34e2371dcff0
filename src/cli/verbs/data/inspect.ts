/** `qkv data inspect`: what lies in the text. */
import { inspectData, NOTED, REFUSED } from '../../../data/index.ts';
import { bars } from '../../../figures/terminal.ts';
import { clip } from '../../../figures/width.ts';
import { resolve, settings, settingsOfArguments } from '../../../settings/config.ts';
import { bytes, count } from '../../format.ts';
import { here, isCode, shellWord } from '../../messages/index.ts';
import { printable, table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { loadTokenizer } from '../tok/index.ts';
import { noted, tokenizerWord } from './common.ts';

/** The keys that say how text is read. */
const readKeys = ['data.field', 'data.documents', 'data.encoding', 'data.encodingErrors', 'contextLength'] as const;

export const dataInspect: Verb = {
  name: 'data inspect',
  about: { en: 'files, documents, lengths, characters, faults of a text', zh: '文本的文件、文档、长度、字符与毛病' },
  words: [{ name: 'PATH' }],
  settings: { tokenizer: tokenizerWord, ...Object.fromEntries(readKeys.map((k) => [k, settings[k]])) },
  flags: [{ name: 'examples', takes: 'number', about: { en: 'documents to show (3)', zh: '显示几篇文档（3）' } }],
  examples: [
    'qkv data inspect book.txt',
    'qkv data inspect data/ --examples 5',
    'qkv data inspect rows.jsonl data.field=content contextLength=256',
    'qkv data inspect data/ tokenizer=tokenizer.json contextLength=256',
  ],
  async run({ words: [path], settings: given, flags }, out) {
    const tokenizer = given.find((s) => s.key === 'tokenizer')?.text;
    const { config } = resolve([], settingsOfArguments(given.filter((s) => s.key !== 'tokenizer')), { needData: false });
    let drawn = 0;
    const found = await inspectData(path, {
      field: config['data.field'],
      documents: config['data.documents'],
      encoding: config['data.encoding'],
      encodingErrors: config['data.encodingErrors'] ?? undefined,
      tokenizer: tokenizer === undefined ? undefined : (await loadTokenizer(tokenizer)).tokenizer,
      // Only where it was asked about: what a document is to a context depends on the tokenizer.
      contextLength: given.some((s) => s.key === 'contextLength') ? config.contextLength : undefined,
      examples: (flags['examples'] as number | undefined) ?? 3,
      onProgress({ bytes: read, totalBytes }) {
        if (performance.now() - drawn < 100) return;
        drawn = performance.now();
        out.live(`${Math.round((100 * read) / Math.max(1, totalBytes))} %`);
      },
    });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    const { lengths, rows } = found;

    out.answer(
      out.style(
        'bold',
        `${path}   ${found.kind} · ${bytes(found.bytes)}${found.files > 1 ? ` · ${n(found.files)} ${out.t({ en: 'files', zh: '个文件' })}` : ''}`,
      ),
    );
    out.answer(
      out.t({
        en: `${n(found.documents)} documents · ${n(found.characters)} characters, ${n(found.differentCharacters)} different · ${found.language}`,
        zh: `${n(found.documents)} 篇文档 · ${n(found.characters)} 个字符，${n(found.differentCharacters)} 种 · ${found.language}`,
      }),
    );
    out.answer(
      out.t({
        en: `length in characters: shortest ${n(lengths.min)}, median ${n(lengths.median)}, nine of ten below ${n(lengths.p90)}, longest ${n(lengths.max)}`,
        zh: `字符长度：最短 ${n(lengths.min)}，中位 ${n(lengths.median)}，九成低于 ${n(lengths.p90)}，最长 ${n(lengths.max)}`,
      }),
    );
    if (found.histogram.length > 1) {
      out.answer(
        bars(
          found.histogram.map((b) => ({ label: `< ${n(b.to)}`, value: b.documents, note: n(b.documents) })),
          { length: 32, ascii: Boolean(out.env['NO_COLOR']) },
        ),
      );
    }
    const { tokenLengths: inTokens, tokenHistogram } = found;
    if (inTokens && tokenHistogram) {
      out.answer(
        out.t({
          en: `length in tokens: shortest ${n(inTokens.min)}, median ${n(inTokens.median)}, nine of ten below ${n(inTokens.p90)}, longest ${n(inTokens.max)} · ${n(found.tokens!)} in all, ${found.charactersPerToken!.toFixed(2)} characters a token`,
          zh: `词元长度：最短 ${n(inTokens.min)}，中位 ${n(inTokens.median)}，九成低于 ${n(inTokens.p90)}，最长 ${n(inTokens.max)} · 共 ${n(found.tokens!)} 个，每词元 ${found.charactersPerToken!.toFixed(2)} 个字符`,
        }),
      );
      if (tokenHistogram.length > 1)
        out.answer(
          bars(
            tokenHistogram.map((b) => ({ label: `< ${n(b.to)}`, value: b.documents, note: n(b.documents) })),
            { length: 32, ascii: Boolean(out.env['NO_COLOR']) },
          ),
        );
    }
    const looked = found.languages.reduce((sum, l) => sum + l.documents, 0);
    if (looked > 0)
      out.answer(
        `${out.t({ en: 'languages', zh: '语言' })}: ${found.languages
          .slice(0, 6)
          .map((l) => `${l.language} ${((100 * l.documents) / looked).toFixed(l.documents < 0.01 * looked ? 1 : 0)} %`)
          .join(' · ')}`,
      );
    if (found.scripts.length > 0)
      out.answer(
        found.scripts
          .slice(0, 5)
          .map((s) => `${s.script} ${Math.round(100 * s.share)} %`)
          .join(' · '),
      );
    if (found.fields) {
      out.answer();
      out.answer(
        table(
          out.lang === 'zh'
            ? ['字段', '占比', '类型', '平均长度', '例子']
            : ['field', 'share', 'types', 'mean length', 'example'],
          found.fields.map((f) => [
            `${clip(printable(f.name), 24)}${f.name === found.field ? ' ◀' : ''}`,
            `${Math.round(100 * f.share)} %`,
            Object.keys(f.types).join(' '),
            n(f.meanLength),
            clip(printable(f.example.replace(/\s+/g, ' ')), 40),
          ]),
          [1, 3],
        ),
      );
    }
    const faults = [...REFUSED, ...NOTED].filter((k) => rows[k] > 0);
    for (const k of faults) {
      const refused = (REFUSED as readonly string[]).includes(k);
      out.answer(`${refused ? out.style('yellow', '!') : '·'} ${n(rows[k])} ${out.t(noted[k])}`);
    }
    for (const r of found.rejects.slice(0, 3))
      out.answer(out.style('dim', `    ${printable(`${here(r.source)}:${r.line} ${r.reason}`)}`));
    for (const { source, line, text } of found.examples) {
      out.answer();
      out.answer(out.style('dim', `${here(source)}:${n(line)}`));
      for (const part of text.split('\n').slice(0, 4)) out.answer(`  ${clip(printable(part), out.columns - 2)}`);
    }
    for (const { code, values } of found.warnings) if (isCode(code)) out.message(code, values as never);
    const chinese = found.scripts[0]?.script === 'Han';
    out.say();
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv train data=${shellWord(here(path))}${chinese ? ' pattern=cjk' : ''}${given.map((s) => ` ${s.key}=${shellWord(s.text)}`).join('')}`,
    );
    out.event({ type: 'result', ok: true, ...found });
    return 0;
  },
};
