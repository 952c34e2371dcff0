/** All verbs, in the order in which `qkv help` lists them. */
import type { Verb } from '../verb.ts';
import { configKeys, configShow } from './config.ts';
import { dataInspect } from './data.ts';
import { doctor } from './doctor.ts';
import { estimate } from './estimate.ts';
import { helpOn } from './help.ts';
import { newFolder } from './new.ts';
import { runsDiff, runsLs, runsRm, runsShow } from './runs.ts';
import { tokEncode, tokShow, tokTrain } from './tok.ts';

const working: Verb[] = [
  newFolder,
  estimate,
  runsLs,
  runsShow,
  runsDiff,
  runsRm,
  dataInspect,
  tokTrain,
  tokEncode,
  tokShow,
  configKeys,
  configShow,
  doctor,
];
export const verbs: readonly Verb[] = [...working, helpOn(working)];
