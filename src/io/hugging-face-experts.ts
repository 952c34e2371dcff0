// Mixtures of experts: Mixtral, Qwen 2 MoE and Qwen 3 MoE; their published names and settings ↔ ours.

import { CheckpointError } from './checkpoint-error.ts';
import type { PublishedShape, Stored } from './hugging-face.ts';
import type { PublishedConfig } from './published-config.ts';

export type ExpertsType = 'mixtral' | 'qwen2_moe' | 'qwen3_moe';

/** The settings that only mixtures have. @throws CheckpointError CONFIG */
export function expertsOf(c: PublishedConfig, type: ExpertsType) {
  const common = {
    nExpertPerToken: c.whole('num_experts_per_tok', type === 'mixtral' ? 2 : type === 'qwen2_moe' ? 4 : 8),
    balanceWeight: c.number('router_aux_loss_coef', 0.001),
  };
  if (type === 'mixtral') {
    const window = c.has('sliding_window') ? { window: c.whole('sliding_window') - 1 } : {};
    return { ...common, nExpert: c.whole('num_local_experts', 8), renormalise: true, ...window };
  }
  if (c.flag('use_sliding_window', false)) c.fail('use_sliding_window is true; windows in some of the layers only are not read');
  const dense = c.values['mlp_only_layers'];
  if (c.whole('decoder_sparse_step', 1) !== 1 || (Array.isArray(dense) && dense.length > 0))
    c.fail('decoder_sparse_step or mlp_only_layers leave some layers without experts; layers of both kinds are not read');
  const qwen = {
    ...common,
    nExpert: c.whole('num_experts', type === 'qwen2_moe' ? 60 : 128),
    renormalise: c.flag('norm_topk_prob', false),
    dFF: c.whole('moe_intermediate_size'), // intermediate_size is that of layers without experts
  };
  if (type === 'qwen3_moe') return { ...qwen, qkNorm: true };
  if (!c.flag('qkv_bias', true)) c.fail('qkv_bias is false; not part of this model');
  return { ...qwen, qkvBias: true, dShared: c.whole('shared_expert_intermediate_size') };
}

/** The class that computes what these settings say. @throws CheckpointError CONFIG when there is none */
export function expertsTypeOf(c: PublishedShape): ExpertsType {
  const type = c.qkvBias || c.dShared ? 'qwen2_moe' : c.qkNorm ? 'qwen3_moe' : 'mixtral';
  const renormalise = c.renormalise ?? true;
  const wrong = [
    type === 'qwen2_moe' && !(c.qkvBias && c.dShared) && 'qkvBias without dShared, or dShared without qkvBias',
    type === 'qwen2_moe' && c.qkNorm && 'qkvBias and qkNorm together',
    type === 'mixtral' && !renormalise && 'renormalise false without qkNorm or qkvBias',
    type !== 'mixtral' && c.window !== undefined && 'a window and biases or qkNorm together',
    c.noRopeEvery && 'noRopeEvery in a mixture',
    c.rotaryDim !== undefined && 'rotaryDim in a mixture',
  ].filter(Boolean);
  if (wrong.length === 0) return type;
  const hint = 'Such a model can be kept as a run of qkv, not as a Hugging Face folder';
  throw new CheckpointError('CONFIG', 'config.json', `no published class has ${wrong.join('; nor ')}`, hint, 1);
}

/** What config.json says of the experts. */
export function publishedExperts(type: ExpertsType, c: PublishedShape): Record<string, unknown> {
  const common = { num_experts_per_tok: c.nExpertPerToken ?? 2, router_aux_loss_coef: c.balanceWeight ?? 0.001 };
  const nExpert = c.nExpert ?? 8;
  if (type === 'mixtral')
    return { ...common, num_local_experts: nExpert, sliding_window: c.window === undefined ? null : c.window + 1 };
  return {
    ...common,
    num_experts: nExpert,
    moe_intermediate_size: c.dFF,
    norm_topk_prob: c.renormalise ?? true,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    ...(type === 'qwen2_moe' ? { qkv_bias: true, shared_expert_intermediate_size: c.dShared } : {}),
  };
}

const mixtralParts: Record<string, string> = { gateProj: 'w1', upProj: 'w3', downProj: 'w2' };
const part = (ours: string): string => ours.replace('Proj', '_proj');

/** The published name of a tensor of the experts and their router; undefined for the others, which are Llama's. */
export function expertsStoredAs(type: ExpertsType, ours: string): Stored | undefined {
  const [, i, path] = /^blocks\.(\d+)\.mlp\.(.+)\.weight$/.exec(ours) ?? [];
  if (!path) return undefined;
  const at = `model.layers.${i}.${type === 'mixtral' ? 'block_sparse_moe' : 'mlp'}`;
  if (path === 'router') return { name: `${at}.gate.weight` };
  if (path === 'sharedGate') return { name: `${at}.shared_expert_gate.weight` };
  const [group, ...rest] = path.split('.');
  if (group === 'shared') return { name: `${at}.shared_expert.${part(rest[0])}.weight` };
  const [expert, proj] = rest;
  return { name: `${at}.experts.${expert}.${type === 'mixtral' ? mixtralParts[proj] : part(proj)}.weight` };
}
