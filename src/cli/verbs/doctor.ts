/** `qkv doctor`: what runs here, and a block to paste into an issue. */
import { createServer } from 'node:net';
import { bytes } from '../format.ts';
import { backendInfo, machine } from '../machine.ts';
import { version } from '../version.ts';
import type { Verb } from '../verb.ts';

export const doctor: Verb = {
  name: 'doctor',
  about: { en: 'Node, machine, back-end; a block to paste into an issue', zh: 'Node、机器、后端；可粘贴到 issue 的一段' },
  words: [],
  examples: ['qkv doctor', 'qkv doctor --json'],
  async run(_, out) {
    const m = machine();
    const b = backendInfo();
    const port = await freePort();
    const nodeOk = atLeast(process.versions.node, 20, 19);
    const checks: [ok: boolean, name: { en: string; zh: string }, value: string][] = [
      [
        nodeOk,
        { en: 'Node', zh: 'Node' },
        `${m.node}${nodeOk ? '' : out.t({ en: ' – needs 20.19 or later', zh: ' – 需要 20.19 或更新' })}`,
      ],
      [true, { en: 'platform', zh: '平台' }, m.platform],
      [true, { en: 'processor', zh: '处理器' }, `${m.cpu} × ${m.cores}`],
      [
        m.availableBytes > 600e6,
        { en: 'memory', zh: '内存' },
        out.t({
          en: `${bytes(m.availableBytes)} available of ${bytes(m.memoryBytes)}`,
          zh: `可用 ${bytes(m.availableBytes)}，共 ${bytes(m.memoryBytes)}`,
        }),
      ],
      [
        b.name === 'native' && b.missingKernels.length === 0,
        { en: 'back-end', zh: '后端' },
        b.name === 'none'
          ? `– ${b.reason}`
          : `${b.name} · ${b.isa} · ${b.threads} ${out.t({ en: b.threads === 1 ? 'thread' : 'threads', zh: '线程' })}` +
            (b.reason ? ` – ${b.reason}` : '') +
            (b.missingKernels.length
              ? out.t({ en: ` – missing: ${b.missingKernels.join(' ')}`, zh: ` – 缺少：${b.missingKernels.join(' ')}` })
              : ''),
      ],
      [port !== undefined, { en: 'a free port', zh: '空闲端口' }, port === undefined ? '–' : String(port)],
      [
        true,
        { en: 'terminal', zh: '终端' },
        `${out.isTerminal ? `${out.columns} × ` : out.t({ en: 'none', zh: '无' })}${out.isTerminal ? out.t({ en: out.colour ? 'colour' : 'no colour', zh: out.colour ? '彩色' : '无色' }) : ''}`,
      ],
    ];
    out.answer(out.style('bold', `qkv ${version()}`));
    const wide = out.lang === 'zh' ? 8 : 12;
    for (const [ok, name, value] of checks) {
      const label = out.t(name);
      out.answer(
        `${ok ? out.style('green', '✔') : out.style('yellow', '!')} ${label}${' '.repeat(Math.max(1, wide - [...label].reduce((w, c) => w + (c > '\u2e80' ? 2 : 1), 0)))}${value}`,
      );
    }
    if (b.name !== 'native' || b.missingKernels.length > 0)
      out.message('W201', { reason: b.reason || b.missingKernels.join(' ') });
    out.say();
    out.say(out.t({ en: 'To paste into an issue:', zh: '粘贴到 issue：' }));
    out.say('```');
    out.say(`qkv ${version()} · Node ${m.node} · ${m.platform}`);
    out.say(`${m.cpu} × ${m.cores} · ${bytes(m.memoryBytes)}`);
    out.say(
      `${b.name} ${b.isa} ${b.threads} threads${b.missingKernels.length ? ` · missing ${b.missingKernels.join(' ')}` : ''}`,
    );
    out.say('```');
    out.event({
      type: 'result',
      ok: nodeOk && b.name !== 'none',
      version: version(),
      ...m,
      backend: b.name,
      isa: b.isa,
      threads: b.threads,
      memoryLimitBytes: b.memoryLimitBytes,
      missingKernels: b.missingKernels,
      reason: b.reason,
      freePort: port ?? null,
    });
    return nodeOk && b.name !== 'none' ? 0 : 1;
  },
};

const atLeast = (text: string, major: number, minor: number) => {
  const [a, b] = text.split('.').map(Number);
  return a > major || (a === major && b >= minor);
};

/** A port on the loopback interface that the system finds free; undefined where there is no network. */
function freePort(): Promise<number | undefined> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(undefined));
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => done(address && typeof address === 'object' ? address.port : undefined));
    });
  });
}
