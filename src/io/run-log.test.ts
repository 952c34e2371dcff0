import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { realFs } from './file-system.ts';
import { currentTimeline, type LogRecord, logLine, logNumber, LogWriter, readLog } from './run-log.ts';

let run = '';
let path = '';
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'qkv-log-'));
  path = join(run, 'log.jsonl');
});
afterEach(() => rmSync(run, { recursive: true }));
const records = (from = 0) => readLog(run, { from }).records.map(({ record }) => record);

test('NaN and the infinities are written in words and read back as numbers', () => {
  const line = logLine({
    type: 'step',
    loss: Number.NaN,
    up: [Number.POSITIVE_INFINITY],
    down: Number.NEGATIVE_INFINITY,
    ok: -0.5,
    none: null,
  });
  expect(line).toBe('{"type":"step","loss":"NaN","up":["Infinity"],"down":"-Infinity","ok":-0.5,"none":null}\n');
  expect([
    logNumber('NaN'),
    logNumber('Infinity'),
    logNumber('-Infinity'),
    logNumber(3),
    logNumber('3'),
    logNumber(null),
  ]).toEqual([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3, undefined, undefined]);
});

test('a reader takes complete lines only, and goes on from where it stopped', () => {
  expect(readLog(run)).toEqual({ records: [], next: 0, damaged: 0 });
  const log = new LogWriter(run);
  log.append({ type: 'step', step: 1, text: '注意\n力' });
  appendFileSync(path, '{"type":"step","st');
  const first = readLog(run);
  expect(first.records).toEqual([{ at: 0, record: { type: 'step', step: 1, text: '注意\n力' } }]);
  expect(first.next).toBe(log.size);
  appendFileSync(path, 'ep":2}\n{"type":"step","step":3}\n');
  const second = readLog(run, { from: first.next });
  expect(second.records.map(({ record }) => record.step)).toEqual([2, 3]);
  expect(second.records[1].at).toBe(first.next + '{"type":"step","step":2}\n'.length);
  expect(second.next).toBe(statSync(path).size);
  log.close();
});

test('whatever byte a crash stops at, the log reads as a prefix, and the next writer mends it', () => {
  const log = new LogWriter(run);
  for (const step of [1, 2, 3]) log.append({ type: 'step', step });
  log.close();
  const whole = readFileSync(path);
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(path, whole.subarray(0, length));
    const complete = whole.subarray(0, length).filter((b) => b === 10).length;
    expect(records().map((r) => r.step)).toEqual([1, 2, 3].slice(0, complete));
    const next = new LogWriter(run);
    next.append({ type: 'status', status: 'running' });
    next.close();
    expect(records().map((r) => r.step ?? r.status)).toEqual([...[1, 2, 3].slice(0, complete), 'running']);
    expect(readLog(run).damaged).toBe(0);
  }
});

test('a full disk costs a line, not the run: half a line is taken back, the failure is counted', () => {
  let room = 100;
  const writeSync = (fd: number, bytes: Uint8Array, offset: number, length: number) => {
    if (room === 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    const part = Math.min(room, length);
    room -= part;
    return realFs.writeSync(fd, bytes, offset, part);
  };
  const log = new LogWriter(run, { fs: { ...realFs, writeSync } as typeof realFs });
  const results = Array.from({ length: 6 }, (_, step) => log.append({ type: 'step', step }));
  expect(results).toEqual([true, true, true, true, false, false]);
  expect(log.failures).toBe(2);
  expect(log.lastError).toMatchObject({ code: 'ENOSPC' });
  expect(statSync(path).size).toBe(log.size);
  room = 1000;
  expect(log.append({ type: 'step', step: 9 })).toBe(true);
  log.close();
  expect(records().map((r) => r.step)).toEqual([0, 1, 2, 3, 9]);
  expect(readLog(run).damaged).toBe(0);
});

test('damaged lines are counted and passed over; long lines and many pieces are put together', () => {
  const long = 'x'.repeat(3_000_000);
  writeFileSync(path, `nonsense\n{"type":"step","step":1}\n\n[1]\n{"a":1}\n{"type":"sample","text":"${long}"}\n`);
  appendFileSync(path, Buffer.from([0x22, 0xff, 0x22, 0x0a]));
  const part = readLog(run);
  expect(part.damaged).toBe(5);
  expect(part.records.map(({ record }) => record.type)).toEqual(['step', 'sample']);
  expect((part.records[1].record.text as string).length).toBe(long.length);
  expect(part.next).toBe(statSync(path).size);
});

test('after a resume from an older step, the steps that were taken twice are told once', () => {
  const step = (n: number, loss: number): LogRecord => ({ type: 'step', step: n, loss });
  const start = (n: number): LogRecord => ({ type: 'status', status: 'running', step: n });
  const told = currentTimeline([start(0), step(1, 5), step(2, 4), step(3, 3), start(2), step(3, 3.5), step(4, 2)]);
  expect(told.filter((r) => r.type === 'step').map((r) => [r.step, r.loss])).toEqual([
    [1, 5],
    [2, 4],
    [3, 3.5],
    [4, 2],
  ]);
});
