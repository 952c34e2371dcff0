/** All verbs, in the order in which `qkv help` lists them. */
import type { Verb } from '../verb.ts';
import { compareVerb } from './compare.ts';
import { chat } from './chat.ts';
import { configKeys, configShow } from './config.ts';
import {
  dataAnnotate,
  dataClean,
  dataDedup,
  dataInspect,
  dataLeak,
  dataPack,
  dataSplit,
  dataSql,
  dataStats,
} from './data/index.ts';
import { describe } from './describe.ts';
import { doctor } from './doctor.ts';
import { evaluate } from './eval.ts';
import { exportVerb } from './export.ts';
import { estimate } from './estimate.ts';
import { generate } from './generate.ts';
import { helpOn } from './help.ts';
import { importVerb } from './import.ts';
import { newFolder } from './new.ts';
import { runsDiff, runsLs, runsRm, runsShow } from './runs.ts';
import { tokCompare, tokConvert, tokEncode, tokShow, tokTrain } from './tok/index.ts';
import { trace } from './trace.ts';
import { train } from './train.ts';

const working: Verb[] = [
  newFolder,
  train,
  generate,
  chat,
  evaluate,
  trace,
  compareVerb,
  importVerb,
  exportVerb,
  estimate,
  describe,
  runsLs,
  runsShow,
  runsDiff,
  runsRm,
  dataInspect,
  dataStats,
  dataClean,
  dataDedup,
  dataSplit,
  dataLeak,
  dataPack,
  dataSql,
  dataAnnotate,
  tokTrain,
  tokEncode,
  tokShow,
  tokCompare,
  tokConvert,
  configKeys,
  configShow,
  doctor,
];
export const verbs: readonly Verb[] = [...working, helpOn(working)];
