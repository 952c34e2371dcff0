// rope_theta and rope_scaling of config.json ↔ our base and scaling.

import type { RopeScaling } from '../attention/index.ts';
import type { PublishedConfig } from './published-config.ts';

export const ropeBaseOf = (c: PublishedConfig): number =>
  (c.values['rope_parameters'] as { rope_theta?: number } | undefined)?.rope_theta ?? c.number('rope_theta', 10_000);

/** rope_scaling (rope_parameters since transformers 5). */
export function ropeScalingOf(c: PublishedConfig, maxPositions: number): { ropeScaling?: RopeScaling } {
  const raw = (c.values['rope_scaling'] ?? c.values['rope_parameters']) as Record<string, unknown> | null | undefined;
  const type = raw && (raw['rope_type'] ?? raw['type'] ?? 'default');
  if (!raw || type === 'default') return {};
  const number = (key: string): number => {
    const value = raw[key];
    if (typeof value !== 'number' || !Number.isFinite(value))
      c.fail(`rope_scaling.${key} is ${JSON.stringify(value)}; expected a number`);
    return value as number;
  };
  const maybe = (key: string): number | undefined => (raw[key] == null ? undefined : number(key));
  const factor = number('factor');
  const contextLength = maybe('original_max_position_embeddings') ?? maxPositions;
  switch (type) {
    case 'linear':
      return { ropeScaling: { type: 'linear', factor } };
    case 'dynamic':
      return { ropeScaling: { type: 'dynamic', factor, contextLength: maxPositions } };
    case 'llama3':
      return {
        ropeScaling: {
          ...{ type: 'llama3', factor, contextLength },
          ...{ lowFreqFactor: number('low_freq_factor'), highFreqFactor: number('high_freq_factor') },
        },
      };
    case 'yarn':
      return {
        ropeScaling: {
          ...{ type: 'yarn', factor, contextLength, betaFast: maybe('beta_fast'), betaSlow: maybe('beta_slow') },
          ...{ attentionFactor: maybe('attention_factor'), mscale: maybe('mscale'), mscaleAllDim: maybe('mscale_all_dim') },
          truncate: raw['truncate'] !== false,
        },
      };
    default:
      return c.fail(`rope_scaling of the type ${JSON.stringify(type)}`, 'Read are linear, dynamic, yarn and llama3');
  }
}

/** rope_scaling as transformers reads it. */
export function publishedScaling(s: RopeScaling): Record<string, unknown> {
  if (s.type === 'ntk') throw new Error('rope_scaling: transformers has no fixed NTK scaling; use dynamic, or a larger ropeBase');
  const { type, factor } = s;
  const length = 'contextLength' in s ? { original_max_position_embeddings: s.contextLength } : {};
  const llama3 = s.type === 'llama3' ? { low_freq_factor: s.lowFreqFactor, high_freq_factor: s.highFreqFactor } : {};
  const yarn =
    s.type === 'yarn'
      ? { beta_fast: s.betaFast, beta_slow: s.betaSlow, attention_factor: s.attentionFactor, truncate: s.truncate }
      : {};
  return { rope_type: type, factor, ...length, ...llama3, ...yarn };
}
