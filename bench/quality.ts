/** What fewer bits a weight cost in bits per byte: `npm run bench -- quality [--quick] [--json]`. See test/quantised-quality.ts. */
import { measureQuality } from '../test/quantised-quality.ts';
import { parseArguments, printer, table } from './harness.ts';

const args = parseArguments();
const print = printer(args);
const options = {
  nLayer: 4,
  nHead: 4,
  dModel: 128,
  contextLength: 96,
  batchSize: 12,
  steps: args.quick ? 60 : 900,
  scored: 120_000,
};
const { parameters, bitsPerByte } = await measureQuality(options, (step, nats) => {
  if (step % 100 === 0) print(`step ${step}: ${(nats / Math.LN2).toFixed(3)} bits per byte`);
});
const worse = (kind: string): number => bitsPerByte[kind] / bitsPerByte.f32 - 1;
if (args.json)
  for (const kind of Object.keys(bitsPerByte))
    console.log(
      JSON.stringify({ config: options, parameters, precision: kind, bitsPerByte: bitsPerByte[kind], worse: worse(kind) }),
    );
else
  print(
    `\nGPT-2, ${(parameters / 1e6).toFixed(2)} M parameters, ${options.steps} steps; the last tenth of the book\n\n${table(
      ['weights', '', 'bits per byte', 'against f32'],
      Object.keys(bitsPerByte).map((kind) => [kind, '', bitsPerByte[kind].toFixed(4), `${(100 * worse(kind)).toFixed(3)} %`]),
    )}`,
  );
process.exit(0);
