// What one setting is: a type, a default, and a meaning in both languages.
import { z } from 'zod';

export type Group = 'model' | 'tokenizer' | 'data' | 'training' | 'run';

/** What `qkv config keys` and docs/config.md say about a key. */
export interface About {
  group: Group;
  en: string;
  zh: string;
  /** Unit of the value, where it has one. */
  unit?:
    | 'tokens'
    | 'steps'
    | 'rows'
    | 'layers'
    | 'channels'
    | 'heads'
    | 'entries'
    | 'fraction'
    | 'threads'
    | 'checkpoints'
    | 'batches';
  /** How `auto` is filled in, for keys that have it. */
  auto?: { en: string; zh: string };
}

export const whole = (min: number, max = 1e9) => z.int().min(min).max(max);
export const fraction = z.number().min(0).max(1);
/** Below one: a dropout of 1 keeps nothing, a β of 1 never forgets. */
export const belowOne = z.number().min(0).lt(1);
export const positive = z.number().positive().max(1e9);
export const key = <T extends z.ZodType>(type: T, about: About) => type.meta({ ...about });
