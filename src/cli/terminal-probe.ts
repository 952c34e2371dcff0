/** Asks a terminal how wide it draws a character of ambiguous width: some Chinese terminals give `█` two columns. */
import type { Ambiguous } from '../figures/width.ts';

interface Input {
  isTTY?: boolean;
  isRaw?: boolean;
  setRawMode?(raw: boolean): unknown;
  on(event: 'data', listener: (data: Buffer) => void): unknown;
  off(event: 'data', listener: (data: Buffer) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

/** Milliseconds that a terminal may take; one that does not know the question never answers. */
const PATIENCE_MS = 200;

/**
 * Prints `█` at the left edge, asks where the cursor is (DSR, `ESC [ 6 n`), and takes the character away again.
 * undefined where nobody answers.
 */
export function probeAmbiguous(
  input: Input = process.stdin,
  output: { isTTY?: boolean; write(text: string): unknown } = process.stdout,
): Promise<Ambiguous | undefined> {
  if (!input.isTTY || !output.isTTY || !input.setRawMode) return Promise.resolve(undefined);
  return new Promise((done) => {
    let heard = '';
    const wasRaw = Boolean(input.isRaw);
    const finish = (width: Ambiguous | undefined) => {
      clearTimeout(timer);
      input.off('data', listen);
      input.setRawMode!(wasRaw);
      input.pause();
      output.write('\r\x1b[K');
      done(width);
    };
    const listen = (data: Buffer) => {
      heard += data.toString('latin1');
      const answer = /\x1b\[\d+;(\d+)R/.exec(heard);
      if (answer) finish(answer[1] === '3' ? 'wide' : answer[1] === '2' ? 'narrow' : undefined);
    };
    const timer = setTimeout(() => finish(undefined), PATIENCE_MS);
    input.setRawMode!(true);
    input.resume();
    input.on('data', listen);
    output.write('\r█\x1b[6n');
  });
}
