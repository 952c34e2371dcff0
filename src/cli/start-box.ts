/** The box at the start of a training: the model, its data, the optimizer, what it will need, where it lies. */
import { displayWidth, padEnd, wrap } from '../figures/width.ts';
import { type TrainConfig, tokenizerKinds } from '../settings/config.ts';
import { familyOf } from '../settings/families.ts';
import { mixtureOf } from '../settings/mixture.ts';
import type { Memory } from './estimate.ts';
import { bytes, compact, count, duration, type Lang, short } from './format.ts';
import { partEn, partZh } from './messages/index.ts';
import { printable } from './output.ts';

export interface StartInfo {
  name: string;
  folder: string;
  config: TrainConfig;
  vocabSize: number;
  parameters: number;
  trainTokens: number;
  valTokens: number;
  /** It learns to answer in dialogues. */
  dialogues?: boolean;
  /** Of pairs: how many there are, and how many were too long. */
  pairs?: { train: number; val: number; skipped: number };
  /** Characters that a token holds on average; absent when it is not known. */
  charactersPerToken?: number;
  memory: Memory;
  /** Seconds that the whole run is expected to take; absent when nobody knows. */
  seconds?: number;
  backend: { name: string; isa: string; threads: number };
  /** The step that a resumed run goes on from. */
  resumedFrom?: number;
}

/** Title in the upper edge, lines inside, all edges aligned whatever the script. */
export function box(title: string, lines: readonly (readonly [label: string, text: string])[], columns: number): string {
  const labelWidth = Math.max(...lines.map(([label]) => displayWidth(label)));
  const room = columns - 4;
  const body = lines.flatMap(([label, text]) =>
    wrap(text, room - labelWidth - 3).map((part, i) => `${padEnd(i === 0 ? label : '', labelWidth)}   ${part}`),
  );
  const inner = Math.min(room, Math.max(displayWidth(title) + 4, ...body.map((l) => displayWidth(l))));
  return [
    `╭─ ${title} ${'─'.repeat(Math.max(0, inner - displayWidth(title) - 1))}╮`,
    ...body.map((line) => `│ ${padEnd(line, inner)} │`),
    `╰${'─'.repeat(inner + 2)}╯`,
  ].join('\n');
}

/** Label and text of each line of the box. */
export function startLines(info: StartInfo, lang: Lang): [label: string, text: string][] {
  const { config: c, memory: m } = info;
  const n = (x: number) => count(x, lang);
  const zh = lang === 'zh';
  const tokenizer = tokenizerKinds.includes(c.tokenizer) ? c.tokenizer : 'tokenizer.json';
  const perStep = c.batch * c.accumulate * c.contextLength;
  const times = c.accumulate > 1 ? `×${c.accumulate}` : '';
  const rows = info.pairs
    ? { en: `${n(c.batch)}${times} pairs a step`, zh: `${n(c.batch)}${times} 对/步` }
    : {
        en: `${n(c.batch)}×${n(c.contextLength)}${times} = ${n(perStep)} tokens a step`,
        zh: `${n(c.batch)}×${n(c.contextLength)}${times} = ${n(perStep)} 词元/步`,
      };
  const schedule = zh ? { cosine: '余弦', linear: '线性', wsd: 'WSD', constant: '恒定' }[c.schedule] : c.schedule;
  const lr = c.schedule === 'constant' ? short(c.lr) : `${short(c.lr)} → ${short(c.minLr)} ${schedule}`;
  const family = `${c.model}${c.from === null ? '' : ` ← ${printable(shortPath(c.from))}`}`;
  const shape = shapeText(c, lang);
  const { pairs } = info;
  const pairText = pairs && pairsText(pairs, lang);
  const sources = sourcesText(c);
  const parts = zh ? partZh : partEn;
  const named = (['weights', 'gradients', 'moments', 'activations'] as const).map((k) => `${parts[k]} ${bytes(m[k])}`);
  const rest = m.total - m.weights - m.gradients - m.moments - m.activations;
  const lnV = Math.log(info.vocabSize);
  const lines: [string, string][] = zh
    ? [
        ['模型', `${family} · ${shape} · 参数 ${compact(info.parameters, 'zh')}`],
        [
          '数据',
          `${sources} · ${tokenizer} ${n(info.vocabSize)} 词表 · 训练 ${n(info.trainTokens)} 词元 · 验证 ${n(info.valTokens)}${info.charactersPerToken ? ` · ${info.charactersPerToken.toFixed(2)} 字/词元` : ''}${pairText ?? ''}`,
        ],
        ['优化', `AdamW lr ${lr} · 预热 ${n(c.warmup)} · 批 ${rows.zh} · ${c.precision}`],
        [
          '预估',
          `内存 ${bytes(m.total)}（${named.join(' · ')} · 其他 ${bytes(rest)}）${info.seconds === undefined ? '' : ` · 约 ${duration(info.seconds, 'zh')}`}`,
        ],
        [
          '起点',
          c.from === null
            ? `均匀猜测的损失 = ln ${n(info.vocabSize)} = ${lnV.toFixed(2)}，第 0 步应接近它`
            : `已训练的权重；均匀猜测的损失 = ln ${n(info.vocabSize)} = ${lnV.toFixed(2)}`,
        ],
        [
          '运行',
          `${printable(shortPath(info.folder))} · ${info.backend.name} ${info.backend.isa} ${info.backend.threads} 线程 · 停止 Ctrl-C（会先保存）`,
        ],
      ]
    : [
        ['model', `${family} · ${shape} · ${compact(info.parameters, 'en')} parameters`],
        [
          'data',
          `${sources} · ${tokenizer} vocabulary ${n(info.vocabSize)} · training ${n(info.trainTokens)} tokens · validation ${n(info.valTokens)}${info.charactersPerToken ? ` · ${info.charactersPerToken.toFixed(2)} characters a token` : ''}${pairText ?? ''}`,
        ],
        ['optimizer', `AdamW lr ${lr} · warm-up ${n(c.warmup)} · batch ${rows.en} · ${c.precision}`],
        [
          'estimate',
          `memory ${bytes(m.total)} (${named.join(' · ')} · other ${bytes(rest)})${info.seconds === undefined ? '' : ` · about ${duration(info.seconds, 'en')}`}`,
        ],
        [
          'start',
          c.from === null
            ? `a uniform guess has loss ln ${n(info.vocabSize)} = ${lnV.toFixed(2)}; step 0 should be near it`
            : `trained weights; a uniform guess has loss ln ${n(info.vocabSize)} = ${lnV.toFixed(2)}`,
        ],
        [
          'run',
          `${printable(shortPath(info.folder))} · ${info.backend.name} ${info.backend.isa} ${info.backend.threads} ${info.backend.threads === 1 ? 'thread' : 'threads'} · Ctrl-C stops (it saves first)`,
        ],
      ];
  if (info.resumedFrom !== undefined)
    lines.push(zh ? ['续训', `从第 ${n(info.resumedFrom)} 步继续`] : ['resumed', `from step ${n(info.resumedFrom)}`]);
  return lines;
}

/** What a model is made of: `4 layers × 4 heads · d=128 · context 64 · RoPE`. */
export function shapeText(c: TrainConfig, lang: Lang): string {
  const zh = lang === 'zh';
  const { has, kind } = familyOf(c.model);
  const layers = has.includes('nLayer') ? [zh ? `${c.nLayer} 层` : `${c.nLayer} ${c.nLayer === 1 ? 'layer' : 'layers'}`] : [];
  const heads = has.includes('nHead') ? [zh ? `${c.nHead} 头` : `${c.nHead} ${c.nHead === 1 ? 'head' : 'heads'}`] : [];
  const size = [...layers, ...heads].join(' × ');
  const both = kind === 'encoder-decoder' && size !== '' ? (zh ? `（编码、解码各）` : ' each way') : '';
  const look = { none: zh ? '无注意力' : 'no attention', additive: 'Bahdanau', general: 'Luong' }[c.attention];
  const learned = zh ? '可学习位置' : 'learned positions';
  const position = has.includes('ropeBase')
    ? 'RoPE'
    : {
        gpt2: learned,
        bert: learned,
        conv: learned,
        t5: zh ? '相对位置' : 'relative positions',
        transformer: zh ? '正弦位置' : 'sinusoidal positions',
        rnn: `${c.cell} · ${look}`,
      }[c.model as string];
  const experts = has.includes('nExpert')
    ? zh
      ? `${c.nExpert} 专家选 ${c.nExpertPerToken}`
      : `${c.nExpertPerToken} of ${c.nExpert} experts`
    : '';
  const context = `${zh ? '上下文' : 'context'} ${count(c.contextLength, lang)}`;
  return [`${size}${both}`, `d=${c.dModel}`, context, position, experts].filter(Boolean).join(' · ');
}

/** `data`, or what is mixed with its shares: `web 60 % + books 30 % + code 10 %`. */
function sourcesText(c: TrainConfig): string {
  const mixed = mixtureOf(c['data.mix']);
  const of = (path: string, share: number) => `${printable(shortPath(path))} ${Number((100 * share).toPrecision(3))} %`;
  if (mixed.length === 0) return printable(shortPath(c.data));
  const rest = 1 - mixed.reduce((sum, m) => sum + m.share, 0);
  return [of(c.data, rest), ...mixed.map((m) => of(m.path, m.share))].join(' + ');
}

function pairsText({ train, val, skipped }: { train: number; val: number; skipped: number }, lang: Lang): string {
  const n = (x: number) => count(x, lang);
  if (lang === 'zh') return ` · ${n(train)} + ${n(val)} 对${skipped > 0 ? `，另有 ${n(skipped)} 对太长` : ''}`;
  return ` · ${n(train)} + ${n(val)} pairs${skipped > 0 ? `, ${n(skipped)} more too long` : ''}`;
}

/** A path relative to here where that is shorter. */
export const shortPath = (path: string): string => {
  const here = `${process.cwd()}/`;
  return path.startsWith(here) ? path.slice(here.length) : path;
};
