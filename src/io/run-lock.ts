import * as nodeFs from 'node:fs';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { QkvError } from '../errors.ts';
import { errorCode, quietly } from './file-system.ts';

// One trainer a run: run.lock says which process holds the folder. The lock of a dead process is taken over.

export interface LockHolder {
  pid: number;
  host: string;
  /** When the process took the lock, ISO 8601. */
  since: string;
  /** Tells this process from a later one with the same pid (Linux: boot id and start time); absent where the system does not say. */
  birth?: string;
}

export const LOCK = 'run.lock';

/** Takes the lock of a run. @throws QkvError E156 when a living process, or one on another machine, holds it */
export function lockRun(runFolder: string, now = new Date()): { release(): void } {
  const path = join(runFolder, LOCK);
  const me: LockHolder = { pid: process.pid, host: hostname(), since: now.toISOString(), birth: birthOf(process.pid) };
  const text = `${JSON.stringify(me)}\n`;
  const mine = `${path}.${process.pid}`;
  nodeFs.writeFileSync(mine, text);
  try {
    if (!linkNew(mine, path)) {
      // One taker at a time: between reading a stale lock and replacing it, another process may have done both.
      const taking = `${path}.taking`;
      if (!linkNew(mine, taking)) {
        const other = readHolder(taking);
        if (other && isAlive(other)) throw refused(runFolder, other);
        nodeFs.unlinkSync(taking);
        if (!linkNew(mine, taking)) throw refused(runFolder, readHolder(taking));
      }
      try {
        const holder = readHolder(path);
        if (holder && isAlive(holder)) throw refused(runFolder, holder);
        nodeFs.renameSync(mine, path);
      } finally {
        quietly(() => nodeFs.unlinkSync(taking));
      }
    }
  } finally {
    quietly(() => nodeFs.unlinkSync(mine));
  }
  return {
    release() {
      quietly(() => {
        if (nodeFs.readFileSync(path, 'utf8') === text) nodeFs.unlinkSync(path);
      });
    },
  };
}

/** The process that holds a run and is alive, as far as this machine can tell. */
export function holderOf(runFolder: string): LockHolder | undefined {
  const holder = readHolder(join(runFolder, LOCK));
  return holder && isAlive(holder) ? holder : undefined;
}

function refused(runFolder: string, holder?: LockHolder): QkvError {
  const who = holder ? `process ${holder.pid} on ${holder.host}, since ${holder.since}` : 'another process';
  const foreign = holder && holder.host !== hostname() ? `. If it is dead, remove ${join(runFolder, LOCK)}` : '';
  return new QkvError('E156', `${runFolder} is in use by ${who}${foreign}`, { name: basename(runFolder), ...holder });
}

/** A hard link appears with its contents or not at all. False when the name is taken. */
function linkNew(from: string, to: string): boolean {
  try {
    nodeFs.linkSync(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(errorCode(error) ?? '')) throw error;
    // A file system without hard links (exFAT, some network shares): create, then write.
    try {
      nodeFs.writeFileSync(to, nodeFs.readFileSync(from), { flag: 'wx' });
      return true;
    } catch (second) {
      if (errorCode(second) === 'EEXIST') return false;
      throw second;
    }
  }
}

/** Undefined when there is no lock, or one that a crash left half written. */
function readHolder(path: string): LockHolder | undefined {
  try {
    const holder = JSON.parse(nodeFs.readFileSync(path, 'utf8'));
    return Number.isSafeInteger(holder?.pid) && typeof holder.host === 'string' ? holder : undefined;
  } catch {
    return undefined;
  }
}

/** Another machine's process counts as alive: nobody here can tell. */
function isAlive({ pid, host, birth }: LockHolder): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
  }
  return birth === undefined || birth === birthOf(pid);
}

/** Boot id and start time of a process on Linux. */
function birthOf(pid: number): string | undefined {
  try {
    const boot = nodeFs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = nodeFs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in brackets and may hold anything; start time is the 22nd field.
    return `${boot} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    return undefined;
  }
}
