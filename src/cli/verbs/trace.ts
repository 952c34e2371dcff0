/** `qkv trace RUN "prompt"`: where each head looks: a table of heads by pattern, and heatmaps. */
import { QkvError } from '../../errors.ts';
import { type Cells, heatmap } from '../../figures/terminal.ts';
import type { Ambiguous } from '../../figures/width.ts';
import { dispose } from '../../nn/index.ts';
import { noGrad, scope } from '../../tensor/index.ts';
import { describeToken } from '../../tokenizers/index.ts';
import { type HeadScore, patterns, scoreHead } from '../../interpret/index.ts';
import { type LoadedRun, loadRun } from '../load-run.ts';
import { type Output, printable, table } from '../output.ts';
import { probeAmbiguous } from '../terminal-probe.ts';
import type { Verb } from '../verb.ts';
import { promptIds } from './generate.ts';
import { rootFlag } from './runs.ts';

const patternText: Record<HeadScore['pattern'], { en: string; zh: string }> = {
  previous: { en: 'previous token', zh: '前一词元' },
  first: { en: 'first token', zh: '首词元' },
  self: { en: 'itself', zh: '自身' },
  duplicate: { en: 'same token', zh: '重复词元' },
  induction: { en: 'induction', zh: '归纳' },
  spread: { en: 'spread', zh: '分散' },
};

export const trace: Verb = {
  name: 'trace',
  about: { en: 'where each head looks: heads by pattern, and a heatmap', zh: '每个头看向哪里：按模式列出的头，以及热图' },
  words: [{ name: 'RUN' }, { name: 'PROMPT', rest: true }],
  flags: [
    { name: 'layer', takes: 'number', about: { en: 'layer, counted from 0', zh: '层，从 0 数起' } },
    { name: 'head', takes: 'number', about: { en: 'head, counted from 0', zh: '头，从 0 数起' } },
    {
      name: 'top',
      takes: 'number',
      about: { en: 'heatmaps of the N heads with the clearest pattern (1)', zh: '画出模式最清楚的 N 个头（1）' },
    },
    {
      name: 'cells',
      takes: ['truecolor', '256', 'shade', 'digits', 'ascii'],
      about: { en: 'how cells are drawn', zh: '格子的画法' },
    },
    {
      name: 'ambiguous',
      takes: ['narrow', 'wide'],
      about: { en: 'wide: █ and ▒ take two columns in this terminal', zh: 'wide：此终端里 █ 和 ▒ 占两列' },
    },
    { name: 'truncate', takes: ['left'], about: { en: 'a prompt that is too long keeps its end', zh: '提示过长时保留末尾' } },
    rootFlag,
  ],
  examples: [
    'qkv trace demo-1 "Call me Ishmael. Call me"',
    'qkv trace demo-1 "解码器的核心是注意力，解码器的" --top 3',
    'qkv trace demo-1@best "abcab" --layer 1 --head 3',
  ],
  async run({ words: [spec, ...words], flags }, out) {
    const prompt = words.join(' ');
    if (prompt === '') throw new QkvError('E161', 'the prompt is empty', { verb: 'trace' });
    const run = loadRun(spec, { root: flags['root'] as string | undefined, out });
    try {
      const ids = Int32Array.from(promptIds(run, prompt, flags['truncate'] === 'left'));
      const { nLayer, nHead } = run.config;
      const [layer, head] = [flags['layer'] as number | undefined, flags['head'] as number | undefined];
      if ((layer ?? 0) >= nLayer || (head ?? 0) >= nHead) {
        throw new QkvError('E163', `there is no head L${layer ?? 0}H${head ?? 0}`, {
          layer: layer ?? 0,
          head: head ?? 0,
          nLayer,
          nHead,
        });
      }
      const weights = attentionOf(run, ids);
      const labels = Array.from(ids, (id) => printable(describeToken(run.tokenizer, id).text));
      const scores = weights.map((w, i) => scoreHead(w, ids, Math.floor(i / nHead), i % nHead));
      const clarity = (s: HeadScore) => Math.max(...patterns.map((p) => (Number.isNaN(s[p]) ? 0 : s[p])));
      const ranked = [...scores].sort((a, b) => clarity(b) - clarity(a));
      const asked = layer !== undefined || head !== undefined;
      const shown = asked
        ? scores.filter((s) => (layer === undefined || s.layer === layer) && (head === undefined || s.head === head))
        : ranked.slice(0, (flags['top'] as number | undefined) ?? 1);

      const most = 16;
      const listed = asked ? shown : ranked.slice(0, most);
      const number = (x: number) => (Number.isNaN(x) ? '–' : x.toFixed(2));
      out.answer(
        table(
          out.lang === 'zh'
            ? ['头', '模式', '前一', '首位', '自身', '重复', '归纳', '熵']
            : ['head', 'pattern', 'previous', 'first', 'itself', 'same', 'induction', 'entropy'],
          listed.map((s) => [
            `L${s.layer}H${s.head}`,
            out.t(patternText[s.pattern]),
            ...patterns.map((p) => number(s[p])),
            number(s.entropy),
          ]),
          [2, 3, 4, 5, 6, 7],
        ),
      );
      if (!asked && ranked.length > most)
        out.answer(
          out.style('dim', out.t({ en: `… ${ranked.length - most} more heads`, zh: `… 还有 ${ranked.length - most} 个头` })),
        );
      const cells = (flags['cells'] as Cells | undefined) ?? cellsFor(out);
      // Digits and ASCII are the same width everywhere; the rest is worth a question.
      const asks = flags['ambiguous'] === undefined && out.isTerminal && !out.json && cells !== 'digits' && cells !== 'ascii';
      const ambiguous = (flags['ambiguous'] as Ambiguous | undefined) ?? (asks ? await probeAmbiguous() : undefined);
      for (const s of shown) {
        out.answer();
        out.answer(
          heatmap(weights[s.layer * nHead + s.head], {
            labels,
            title: `L${s.layer}H${s.head}  ${out.t(patternText[s.pattern])}${s.pattern === 'spread' ? '' : ` ${s[s.pattern].toFixed(2)}`}`,
            cells,
            width: out.columns,
            ambiguous,
            lang: out.lang,
          }),
        );
      }
      out.say();
      out.say(
        out.style(
          'dim',
          out.t({
            en: 'Weights are not reasons: a head that looks somewhere need not act on it.',
            zh: '权重不等于原因：看向某处的头未必据此行动。',
          }),
        ),
      );
      out.event({
        type: 'result',
        ok: true,
        run: run.name,
        step: run.step,
        tokens: Array.from(ids, (id, i) => ({ i, id, text: labels[i] })),
        heads: scores,
        shown: shown.map((s) => ({ layer: s.layer, head: s.head, weights: rows(weights[s.layer * nHead + s.head], ids.length) })),
        limits: 'Attention weights show where a head looks, not what the model does with it.',
      });
      return 0;
    } finally {
      dispose(run.model);
    }
  },
};

/** Weights (T, T) of every head, layer after layer. The fused kernel keeps none; the recorder has them computed again. */
function attentionOf({ model, config }: LoadedRun, ids: Int32Array): Float32Array[] {
  using _ = scope('trace');
  const T = ids.length;
  const found: Float32Array[] = [];
  noGrad(() =>
    model.forward(ids, [1, T], {
      record(name, value) {
        if (!name.endsWith('attn.weights')) return;
        const all = value.readSync() as Float32Array; // (1, H, T, T)
        for (let h = 0; h < config.nHead; h++) found.push(all.slice(h * T * T, (h + 1) * T * T));
      },
    }),
  );
  return found;
}

/** The best that this output can show. NO_COLOR asks for no colour; digits then line up in every terminal. */
function cellsFor(out: Output): Cells {
  if (out.colour) return /truecolor|24bit/i.test(out.env['COLORTERM'] ?? '') ? 'truecolor' : '256';
  return out.env['NO_COLOR'] ? 'digits' : 'shade';
}

const rows = (w: Float32Array, T: number) =>
  Array.from({ length: T }, (_, i) => Array.from(w.subarray(i * T, i * T + T), (x) => Number(x.toPrecision(7))));
