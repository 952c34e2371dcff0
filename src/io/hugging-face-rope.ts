// rope_theta and rope_scaling of config.json ↔ our base and scaling.

import type { RopeScaling } from '../attention/index.ts';
import type { PublishedConfig } from './published-config.ts';

type Json = Record<string, unknown>;
const isObject = (x: unknown): x is Json => typeof x === 'object' && x !== null && !Array.isArray(x);

/**
 * The values of config.json with the keys of transformers 4. Version 5 keeps base, scaling and the share of channels that turn in
 * rope_parameters; Gemma 3's for each kind of layer.
 */
export function oldRopeKeys(c: PublishedConfig): Json {
  const raw = c.values['rope_parameters'];
  if (!isObject(raw)) return c.values;
  const { full_attention: full, sliding_attention: sliding, ...flat } = raw;
  if (full === undefined && sliding === undefined) return { ...c.values, ...byOldNames(flat) };
  if (!isObject(full) || !isObject(sliding) || (sliding['rope_type'] ?? 'default') !== 'default')
    return c.fail('rope_parameters are not those of full_attention, and those of sliding_attention without scaling');
  return { ...c.values, ...byOldNames(full), rope_local_base_freq: sliding['rope_theta'] };
}
function byOldNames({ rope_theta: base, partial_rotary_factor: share, ...scaling }: Json): Json {
  return {
    ...(base === undefined ? {} : { rope_theta: base, rotary_emb_base: base }),
    ...(share === undefined ? {} : { partial_rotary_factor: share, rotary_pct: share }),
    ...((scaling['rope_type'] ?? 'default') === 'default' ? {} : { rope_scaling: scaling }),
  };
}

/** What rope_scaling says. */
export function ropeScalingOf(c: PublishedConfig, maxPositions: number): { ropeScaling?: RopeScaling } {
  const raw = c.values['rope_scaling'];
  if (raw === undefined || raw === null) return {};
  if (!isObject(raw)) return c.fail(`rope_scaling is ${JSON.stringify(raw)}; expected an object`);
  const type = raw['rope_type'] ?? raw['type'] ?? 'default';
  if (type === 'default') return {};
  if (!['linear', 'dynamic', 'yarn', 'llama3'].includes(String(type)))
    c.fail(`rope_scaling of the type ${JSON.stringify(type)}`, 'Read are linear, dynamic, yarn and llama3');
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
    default:
      return {
        ropeScaling: {
          ...{ type: 'yarn', factor, contextLength, betaFast: maybe('beta_fast'), betaSlow: maybe('beta_slow') },
          ...{ attentionFactor: maybe('attention_factor'), mscale: maybe('mscale'), mscaleAllDim: maybe('mscale_all_dim') },
          truncate: raw['truncate'] !== false,
        },
      };
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
