/** Loaded before a program: SIGKILL in the middle of its KILL_AT-th synchronous write to a file, half of which is done. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

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
