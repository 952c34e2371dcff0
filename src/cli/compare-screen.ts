/** What `qkv compare families` shows at its end. */
import type { Contestant, Outcome } from '../applications/compare-families.ts';
import type { LagAccuracy } from '../applications/copy-lag.ts';
import { curve } from '../figures/terminal.ts';
import { padEnd } from '../figures/width.ts';
import type { TrainConfig } from '../settings/config.ts';
import { count, loss, short } from './format.ts';
import { type Output, table } from './output.ts';

const blocks = '▁▂▃▄▅▆▇█';

/** The table, the curves, and how far back each can look. */
export function showComparison(
  out: Output,
  outcomes: readonly Outcome[],
  lags: ReadonlyMap<Contestant, LagAccuracy[]>,
  configs: ReadonlyMap<Contestant, TrainConfig>,
): void {
  const rowsOf = (name: Contestant) => outcomes.filter((o) => o.contestant === name);
  const shown = [...configs.keys()].filter((name) => rowsOf(name).length > 0);
  if (shown.length > 0) {
    const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
    out.answer(
      table(
        out.lang === 'zh'
          ? ['家族', 'dModel', 'lr', '参数', '秒/轮', '词元/秒', '训练损失', '验证损失', '完全匹配']
          : ['family', 'dModel', 'lr', 'parameters', 's/epoch', 'tokens/s', 'train loss', 'val loss', 'exact'],
        shown.map((name) => {
          const rows = rowsOf(name);
          const of = (f: (o: Outcome) => number) => rows.map(f);
          return [
            name,
            String(configs.get(name)!.dModel),
            short(configs.get(name)!.lr),
            count(rows[0].parameters, out.lang),
            spread(
              of((o) => o.secondsPerEpoch),
              (x) => x.toFixed(1),
            ),
            count(mean(of((o) => o.tokensPerSecond)), out.lang),
            spread(
              of((o) => o.trainLossNats),
              loss,
            ),
            spread(
              of((o) => o.valLossNats),
              loss,
            ),
            spread(
              of((o) => o.exactMatch),
              percent,
            ),
          ];
        }),
        [1, 2, 3, 4, 5, 6, 7, 8],
      ),
    );
    for (const name of shown) {
      const points = rowsOf(name)[0].valCurve.map(({ step, lossNats }) => ({ x: step, y: lossNats }));
      if (points.length < 2) continue;
      out.answer();
      out.answer(out.t({ en: `${name}: validation loss by step`, zh: `${name}：验证损失随步数` }));
      out.answer(curve(points, { width: Math.min(48, out.columns - 10), height: 4 }));
    }
  }
  if (lags.size === 0) return;
  out.answer();
  out.answer(
    out.t({
      en: 'Copy lag: symbols copied right, by how far back they stand (learned from texts of 1 … 16)',
      zh: '复制滞后：按距离统计复制正确的符号（用长 1 … 16 的文本学习）',
    }),
  );
  const [first] = lags.values();
  const wide = Math.max(...[...lags.keys()].map((k) => k.length), 3);
  out.answer(`${padEnd('lag', wide)}  ${first.map(({ lag }) => String(lag).padStart(5)).join('')}`);
  for (const [name, points] of lags) {
    const picture = points.map(({ accuracy }) => blocks[Math.min(7, Math.floor(accuracy * 8))]).join('');
    out.answer(
      `${padEnd(name, wide)}  ${points.map(({ accuracy }) => `${Math.round(100 * accuracy)}%`.padStart(5)).join('')}  ${picture}`,
    );
  }
}

const mean = (x: readonly number[]) => x.reduce((a, b) => a + b, 0) / x.length;
/** Mean, and with several seeds the standard deviation. */
function spread(x: readonly number[], say: (x: number) => string): string {
  const m = mean(x);
  if (x.length === 1) return say(m);
  const sd = Math.sqrt(x.reduce((s, v) => s + (v - m) ** 2, 0) / (x.length - 1));
  return `${say(m)} ± ${say(sd)}`;
}
