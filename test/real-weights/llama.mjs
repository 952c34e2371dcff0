// What llama.cpp does with the same GGUF file: node llama.mjs NODE_MODULES FILE ASKED.json → greedy ids after the ids of each prompt, ids of texts.
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
const greedy = [];
for (const ids of cases.prompts) {
  const context = await model.createContext({ contextSize: 256 });
  const written = [];
  for await (const id of context.getSequence().evaluate(ids, { temperature: 0 })) {
    written.push(id);
    if (written.length === cases.greedy) break;
  }
  greedy.push(written);
  await context.dispose();
}
const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
const texts = cases.texts.map((text) => [...begin, ...model.tokenize(text)]);
console.log(JSON.stringify({ greedy, texts }));
process.exit(0);
