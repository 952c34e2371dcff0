import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { probeAmbiguous } from './terminal-probe.ts';

/** A terminal that answers with this text, or not at all. */
function terminal(answer: string | undefined) {
  const modes: boolean[] = [];
  const input = Object.assign(new EventEmitter(), {
    isTTY: true,
    isRaw: false,
    setRawMode: (raw: boolean) => modes.push(raw),
    resume() {},
    pause() {},
  });
  const written: string[] = [];
  const output = {
    isTTY: true,
    write(text: string) {
      written.push(text);
      if (answer !== undefined && text.endsWith('\x1b[6n')) queueMicrotask(() => input.emit('data', Buffer.from(answer))); // before any timer;
    },
  };
  return { input, output, written, modes };
}

test('the column after one █ says how wide it is; what was printed is taken away, and the terminal is left as it was', async () => {
  for (const [answer, width] of [
    ['\x1b[12;2R', 'narrow'],
    ['\x1b[1;3R', 'wide'],
    ['\x1b[1;40R', undefined],
    [undefined, undefined],
  ] as const) {
    const t = terminal(answer);
    expect(await probeAmbiguous(t.input, t.output)).toBe(width);
    expect(t.written).toEqual(['\r█\x1b[6n', '\r\x1b[K']);
    expect(t.modes).toEqual([true, false]);
    expect(t.input.listenerCount('data')).toBe(0);
  }
});

test('no terminal, no question', async () => {
  const t = terminal('\x1b[1;3R');
  expect(await probeAmbiguous({ ...t.input, on() {}, off() {}, isTTY: false }, t.output)).toBeUndefined();
  expect(t.written).toEqual([]);
});
