#!/usr/bin/env node
/** The `qkv` command: reads the line, runs one verb, ends with its exit code. */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { languageOf, Output, type Sink } from './output.ts';
import { parse } from './parse.ts';
import { firstMinutes, helpOf, overview } from './verbs/help.ts';
import { verbs } from './verbs/index.ts';
import { version } from './version.ts';

/** Runs one command line and returns the exit code. Nothing is written but to the two sinks (and to what the verb makes). */
export async function main(
  argv: readonly string[],
  {
    stdout = process.stdout as Sink,
    stderr = process.stderr as Sink,
    env = process.env as Readonly<Record<string, string | undefined>>,
  } = {},
): Promise<number> {
  // What shapes the messages must be known before the line is understood: a wrong line also deserves its language.
  const before = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : undefined);
  const langAt = before.findIndex((w) => w === '--lang' || w.startsWith('--lang='));
  const langFlag =
    langAt < 0 ? undefined : before[langAt].includes('=') ? before[langAt].slice('--lang='.length) : before[langAt + 1];
  const out = new Output({
    stdout,
    stderr,
    env,
    lang: languageOf(langFlag, env),
    json: before.includes('--json'),
    quiet: before.includes('--quiet') || before.includes('-q'),
    debug: before.includes('--debug'),
  });
  current = out;
  try {
    const { verb, args } = parse(argv, verbs);
    if (args.flags['version']) {
      out.answer(version());
      out.event({ type: 'result', ok: true, version: version() });
      return 0;
    }
    if (verb === undefined) {
      out.answer(args.flags['help'] ? overview(verbs, out) : firstMinutes(out));
      out.event({ type: 'result', ok: true, verbs: verbs.map((v) => v.name) });
      return 0;
    }
    if (args.flags['help']) {
      out.answer(helpOf(verb, out));
      out.event({ type: 'result', ok: true, verb: verb.name });
      return 0;
    }
    return (await verb.run(args, out)) ?? 0;
  } catch (error) {
    return out.failure(error);
  }
}

let current: Output | undefined;

/** Ends the process when all that was written has left it. */
function end(code: number): void {
  const streams = [process.stdout, process.stderr].filter((s) => s.writable && !s.destroyed);
  let waiting = streams.length;
  const done = () => {
    if (--waiting <= 0) process.exit(code);
  };
  if (waiting === 0) process.exit(code);
  for (const stream of streams) stream.write('', done);
}

/** Whether this file was started, and not imported by a test. npm starts it through a link. */
function isStarted(): boolean {
  try {
    return process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
  } catch {
    return false;
  }
}

if (isStarted()) {
  // The reader of a pipe may go away (`qkv runs | head -1`): that is no fault. A run that trains goes on without telling; everything else ends.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') throw error;
      if (current) current.closed = true;
      if (!outlivesItsReader(process.argv.slice(2))) process.exit(0);
    });
  }
  main(process.argv.slice(2)).then(end, (error) => {
    process.stderr.write(`${error?.stack ?? error}\n`);
    end(1);
  });
}

const outlivesItsReader = (argv: readonly string[]) => argv.find((w) => !w.startsWith('-')) === 'train';
