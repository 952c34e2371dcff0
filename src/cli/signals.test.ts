import { expect, test } from 'vitest';
import { stopOnSignals } from './signals.ts';

test('the first signal sets the flag and says so once; a second Ctrl-C within five seconds exits with 130', () => {
  const said: string[] = [];
  const exits: number[] = [];
  const stop = stopOnSignals(
    (s) => said.push(s),
    (code) => exits.push(code),
  );
  expect(stop.asked).toBe(false);
  process.emit('SIGTERM', 'SIGTERM');
  expect(stop.asked).toBe(true);
  process.emit('SIGINT', 'SIGINT'); // the first Ctrl-C, though not the first signal
  expect(exits).toEqual([]);
  process.emit('SIGINT', 'SIGINT');
  expect(exits).toEqual([130]);
  expect(said).toEqual(['SIGTERM']);
  stop.dispose();
  expect(process.listenerCount('SIGHUP')).toBe(0);
});
