/**
 * Loaded before a program: SIGKILL in the middle of its KILL_AT-th synchronous write to a file, half of which is done. Where KILL_COUNT names a file, the
 * number of writes is in it at the end.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';

const real = fs.writeSync;
let calls = 0;
fs.writeSync = (fd, bytes, from, length, position) => {
  if (fd > 2 && ++calls === Number(process.env.KILL_AT)) {
    real(fd, bytes, from, Math.floor(length / 2), position);
    process.kill(process.pid, 'SIGKILL');
  }
  return real(fd, bytes, from, length, position);
};
syncBuiltinESMExports();
if (process.env.KILL_COUNT && isMainThread) process.on('exit', () => fs.writeFileSync(process.env.KILL_COUNT, String(calls)));
