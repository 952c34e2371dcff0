/**
 * The one schema of all training settings: for `qkv.json`, the command line, the library and the documentation.
 *
 * Precedence: default < preset (`size`, `depth`) < file < `key=value`. A preset stands where it was written: one on the command line beats the
 * file's `nLayer`, and gives way to an `nLayer` beside it. Keys whose value is `auto` are filled in by `resolve`, and the resolved settings are
 * what the run's `config.json` holds.
 */
import { z } from 'zod';
import { QkvError } from '../errors.ts';
import { familiesFor, type FamilyName, familyNames, familyOf, type ShapeKey } from './families.ts';
import { mixtureOf } from './mixture.ts';
import { type About, settings, sizes, type SizeName } from './schema.ts';
import { checked, type Place, type SettingKey, type Written } from './written.ts';

export { type Group, settings, sizes, type SizeName } from './schema.ts';
export {
  allowedValues,
  checkedValue,
  type Place,
  type SettingKey,
  settingKeys,
  settingsOfArguments,
  settingsOfFile,
  tokenizerKinds,
  typed,
  unknownSetting,
  type Written,
} from './written.ts';

const schema = z.strictObject(settings);

/** Any part of the settings, as a person writes them. */
export type TrainSettings = z.input<typeof schema>;
type Output = z.output<typeof schema>;
type Filled = 'nKvHead' | 'dFF' | 'minLr' | 'warmup' | 'data';
/** All settings, resolved: every key is there, and every number that the model and the optimizer need is filled in. Plain JSON. */
export type TrainConfig = { [K in keyof Output]: K extends Filled ? NonNullable<Output[K]> : Output[K] };

/** What the schema says about a key. */
export const about = (name: SettingKey): About => settings[name].meta() as unknown as About;

/** The default of a key, as JSON. */
export const defaultOf = (name: SettingKey): unknown => settings[name].parse(undefined);

/** The layers of settings put together, and where each value came from. */
export interface Resolved {
  config: TrainConfig;
  /** Place of every key that a person wrote. */
  places: Map<string, Place>;
  /** Values of the command line that replaced another one of the file: `[key, before, after]`. */
  overrides: [key: string, before: unknown, after: unknown][];
}

/**
 * Puts defaults, presets, the file and the command line together, fills in what is `auto`, and checks that the parts fit.
 * @throws E101 unknown key · E102 not divisible · E103 value not possible · E105 no data (unless `needData` is false) · E106 size and depth together · E111 not in this architecture
 */
export function resolve(file: readonly Written[], words: readonly Written[], { needData = true } = {}): Resolved {
  const places = new Map<string, Place>();
  const overrides: Resolved['overrides'] = [];
  const values: Record<string, unknown> = schema.parse({});
  for (const source of [file, words]) {
    const own = new Map(source.map((w) => [w.key, checked(w)]));
    const size = own.get('size') as SizeName | null | undefined;
    const depth = own.get('depth') as number | null | undefined;
    if (size != null && depth != null) {
      throw new QkvError('E106', 'size and depth both set the shape of the model; give one of them', {
        at: source.find((w) => w.key === 'depth')!.at,
      });
    }
    if (size != null) Object.assign(values, shapeFree, sizes[size], { depth: null });
    if (depth != null) Object.assign(values, shapeFree, shapeOfDepth(depth), { size: null });
    for (const { key: name, at } of source) {
      const value = own.get(name);
      if (source === words && places.has(name) && values[name] !== value) overrides.push([name, values[name], value]);
      values[name] = value;
      places.set(name, at);
    }
  }
  if (needData && values['data'] == null)
    throw new QkvError('E105', 'no data to train on: add data=FILE-or-FOLDER', { key: 'data' });
  const config = fill(values as Output, places);
  checkShape(config, places);
  return { config, places, overrides };
}

/** A preset is a whole shape: widths that follow from it are worked out again. */
const shapeFree = { nKvHead: null, dFF: null };

/** The whole shape from one number: d layers of d heads, 64 channels a head; lr ∝ 1/√dModel, 10⁻³ at 384 channels. */
export const shapeOfDepth = (depth: number) => ({
  nLayer: depth,
  nHead: depth,
  dModel: 64 * depth,
  contextLength: depth < 4 ? 64 : depth < 8 ? 256 : 1024,
  lr: Number((1e-3 * Math.sqrt(384 / (64 * depth))).toPrecision(2)),
});

/** What a setting of shape is in a family that has no choice there. */
const fixedShape = (model: FamilyName, { nHead, dModel }: Pick<Output, 'nHead' | 'dModel'>): Record<ShapeKey, unknown> => {
  const { has, dFF } = familyOf(model);
  return {
    nLayer: 1,
    nHead: 1,
    nKvHead: has.includes('nHead') ? nHead : 1,
    dFF: dFF(dModel),
    tied: true,
    qkNorm: false,
    ropeBase: 10000,
    preNorm: false,
    labelSmoothing: 0,
    nExpert: 8,
    nExpertPerToken: 2,
    cell: 'lstm',
    attention: 'additive',
    width: 3,
  };
};
/** Settings that decide what weights a model has, beside its width and context. */
export const shapeKeys: readonly ShapeKey[] = [
  'nLayer',
  'nHead',
  'nKvHead',
  'dFF',
  'tied',
  'qkNorm',
  'preNorm',
  'nExpert',
  'nExpertPerToken',
  'cell',
  'attention',
  'width',
];

/** Of the fixed values, those that say nothing about the family: there is nothing to be set. */
const meaningless: readonly ShapeKey[] = [
  'preNorm',
  'labelSmoothing',
  'nExpert',
  'nExpertPerToken',
  'cell',
  'attention',
  'width',
  'ropeBase',
];

function fill(values: Output, places: ReadonlyMap<string, Place>): TrainConfig {
  const { model, dModel, lr, steps } = values;
  const { has, dFF } = familyOf(model);
  const fixed = fixedShape(model, values);
  const shape = Object.fromEntries(
    (Object.keys(fixed) as ShapeKey[])
      .filter((name) => !has.includes(name) && !places.has(name) && !meaningless.includes(name))
      .map((name) => [name, fixed[name]]),
  );
  const filled = { ...values, ...shape };
  return {
    ...filled,
    data: values.data ?? '',
    nKvHead: filled.nKvHead ?? filled.nHead,
    dFF: filled.dFF ?? dFF(dModel),
    minLr: values.minLr ?? Number((lr / 10).toPrecision(12)),
    warmup: values.warmup ?? Math.min(100, Math.floor(steps / 20)),
  };
}

/** What the sizes must have to do with each other. */
function checkShape(config: TrainConfig, places: Map<string, Place>): void {
  const { model, dModel, nHead, nKvHead, width } = config;
  const { has } = familyOf(model);
  const place = (...keys: SettingKey[]) => keys.map((k) => places.get(k)).find(Boolean);
  // RoPE turns pairs of channels, so its heads must also be even; a sine goes with a cosine, and half of an RNN reads backwards.
  const unit = has.includes('ropeBase') ? 2 * nHead : ['transformer', 'rnn'].includes(model) ? (nHead === 1 ? 2 : nHead) : nHead;
  if (dModel % nHead !== 0 || dModel % unit !== 0) {
    const even = dModel % nHead === 0;
    const tries = [Math.floor(dModel / unit) * unit, Math.ceil(dModel / unit) * unit].filter((n) => n > 0);
    throw new QkvError(
      'E102',
      even
        ? `headDim = dModel / nHead = ${dModel / nHead} must be even for RoPE. Try ${tries.join(' or ')}`
        : `dModel=${dModel} is not divisible by nHead=${nHead}. Try ${tries.join(' or ')}`,
      { rule: even ? 'even' : 'dModel', dModel, nHead, tries, at: place('dModel', 'nHead', 'size') },
    );
  }
  if (has.includes('nKvHead') && nHead % nKvHead !== 0) {
    const tries = Array.from({ length: nHead }, (_, i) => i + 1).filter((n) => nHead % n === 0);
    throw new QkvError('E102', `nHead=${nHead} is not divisible by nKvHead=${nKvHead}. Try ${tries.join(', ')}`, {
      rule: 'nKvHead',
      nHead,
      nKvHead,
      tries,
      at: place('nKvHead', 'nHead'),
    });
  }
  if (model === 'conv' && width % 2 === 0)
    throw new QkvError('E103', `width=${width} is not possible: a convolution that looks to both sides has a middle`, {
      key: 'width',
      value: width,
      at: place('width'),
      allowed: 'an odd number',
      allowedZh: '奇数',
    });
  checkObjective(config, places);
  // A setting that the architecture does not have is an error when it asks for something else than the architecture does.
  const fixed = fixedShape(model, config);
  for (const name of Object.keys(fixed) as ShapeKey[]) {
    if (has.includes(name)) continue;
    const value = meaningless.includes(name) ? defaultOf(name) : fixed[name];
    if (config[name] === value) continue;
    const families = familyNames.filter((f) => familyOf(f).has.includes(name));
    throw new QkvError('E111', `${name}=${config[name]} does not apply to model=${model}, whose ${name} is always ${value}`, {
      key: name,
      model,
      value: meaningless.includes(name) ? undefined : value,
      families,
      at: place(name),
    });
  }
}

/** An objective that the family cannot be trained for. */
function checkObjective(config: TrainConfig, places: ReadonlyMap<string, Place>): void {
  const { model, objective } = config;
  const at = places.get('data.mix');
  const mixes = mixtureOf(config['data.mix'], at).length > 0;
  if (mixes && (familyOf(model).kind !== 'decoder' || (objective ?? 'causal') !== 'causal'))
    throw new QkvError('E103', 'data.mix goes with objective=causal only', {
      key: 'data.mix',
      value: config['data.mix'],
      at,
      allowed: 'auto; several sources are mixed for objective=causal only',
      allowedZh: 'auto；只有 objective=causal 时才能混合多个来源',
    });
  const { objectives: possible } = familyOf(model);
  if (objective === null || possible.includes(objective)) return;
  throw new QkvError(
    'E112',
    `objective=${objective} does not fit model=${model}, which is trained for ${possible.join(' or ')}`,
    {
      objective,
      model,
      possible: [...possible],
      families: familiesFor(objective),
      at: places.get('objective') ?? places.get('model'),
    },
  );
}
