/**
 * Every error and warning that a person can meet: one entry a code, with both languages, its exit code, and what to type next.
 *
 * Shape (cli.md §4): what happened → where → why → what to type. Commands are written through `cmd`, settings and flags through `opt`: they come out bold on a
 * terminal, and a test parses each of them with the real parser.
 */
import { type DataValues, dataMessages } from './data.ts';
import { type FilesValues, filesMessages } from './files.ts';
import { type MachineValues, machineMessages } from './machine.ts';
import { type RunsValues, runsMessages } from './runs.ts';
import { type SettingsValues, settingsMessages } from './settings.ts';
import { type TrainingValues, trainingMessages } from './training.ts';
import type { Entry } from './parts.ts';

export { cmd, here, opt, partEn, partZh, shellWord, systemCode, type Text } from './parts.ts';

/** The values that each code is made of. */
export interface Values extends SettingsValues, MachineValues, DataValues, RunsValues, FilesValues, TrainingValues {}
export type Code = keyof Values;

export const messages: { [C in Code]: Entry<Values[C]> } = {
  ...settingsMessages,
  ...machineMessages,
  ...dataMessages,
  ...runsMessages,
  ...filesMessages,
  ...trainingMessages,
};

export const isCode = (code: string): code is Code => Object.hasOwn(messages, code);
