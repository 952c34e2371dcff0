// What llama.cpp writes with the same GGUF file: node llama.mjs NODE_MODULES FILE CASES.json → ids of the prompts and greedy ids, JSON on stdout.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, file, casesFile] = process.argv.slice(2);
const cases = JSON.parse(readFileSync(casesFile, 'utf8'));
const entry = createRequire(join(modules, 'x.js')).resolve('node-llama-cpp');
const { getLlama } = await import(pathToFileURL(entry).href);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: 2 });
const model = await llama.loadModel({ modelPath: file });
const rows = [];
for (const text of cases.prompts) {
  const context = await model.createContext({ contextSize: 256 });
  const sequence = context.getSequence();
  const ids = model.tokenize(text);
  if (model.tokens.shouldPrependBosToken && ids[0] !== model.tokens.bos) ids.unshift(model.tokens.bos);
  const greedy = [];
  for await (const id of sequence.evaluate(ids, { temperature: 0 })) {
    greedy.push(id);
    if (greedy.length === cases.greedy) break;
  }
  rows.push({ ids, greedy, text: model.detokenize(greedy) });
  await context.dispose();
}
console.log(JSON.stringify(rows));
process.exit(0);
