/** Every setting with its type, default and meaning. What they have to do with each other: config.ts, families.ts. */
import type { z } from 'zod';
import { dataSettings } from './data-settings.ts';
import { modelSettings } from './model-settings.ts';
import { trainingSettings } from './training-settings.ts';

export { type SizeName, sizes } from './model-settings.ts';
export type { About, Group } from './setting.ts';

/** Every setting, in the order of the documentation. */
export const settings = { ...modelSettings, ...dataSettings, ...trainingSettings } satisfies Record<string, z.ZodType>;
