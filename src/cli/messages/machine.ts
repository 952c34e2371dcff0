/** Messages about memory, disk, and the machine. Part of the table in index.ts. */
import { bytes } from '../format.ts';
import { cmd, opt, text, here, type Entry, reasonEn, reasonZh, partEn, partZh } from './parts.ts';

/** The values that each code is made of. */
export interface MachineValues {
  E120: { needed: number; available: number; largest: string; largestBytes: number; ways: { setting: string; bytes: number }[] };
  E121: { bytes: number; availableBytes: number; liveBytes: number; limitBytes: number };
  E122: { needed: number; free: number; checkpoints: number; folder: string };
  E139: { path: string; operation: 'read' | 'write'; reason: string };
  E190: { detail: string };
  E191: { reason: string };
  W201: { reason: string };
  W202: { needed: number; available: number };
}

const reasonOfBackend = (reason: string) => (reason === 'the addon is not built' ? '尚未编译' : reason);

export const machineMessages: { [C in keyof MachineValues]: Entry<MachineValues[C]> } = {
  E120: {
    exit: 4,
    en: (v) =>
      text(
        `does not fit: needs about ${bytes(v.needed)}, ${bytes(v.available)} available`,
        `Mostly ${partEn[v.largest] ?? v.largest}, ${bytes(v.largestBytes)}. ` +
          (v.ways.length
            ? `Any one of: ${v.ways.map((w) => `${opt(w.setting)} (${bytes(w.bytes)})`).join(' · ')}`
            : 'Take a smaller model: size=nano'),
        `Start regardless: ${opt('--anyway')}`,
      ),
    zh: (v) =>
      text(
        `装不下：预计 ${bytes(v.needed)}，可用 ${bytes(v.available)}`,
        `主要是${partZh[v.largest] ?? v.largest} ${bytes(v.largestBytes)}。` +
          (v.ways.length
            ? `任选其一：${v.ways.map((w) => `${opt(w.setting)}（${bytes(w.bytes)}）`).join(' · ')}`
            : '换更小的模型：size=nano'),
        `仍要开始：${opt('--anyway')}`,
      ),
  },
  E121: {
    exit: 4,
    en: (v) =>
      text(
        `out of memory: ${bytes(v.bytes)} asked for, ${bytes(v.availableBytes)} available`,
        `${bytes(v.liveBytes)} in use, limit ${bytes(v.limitBytes)}. What a run needs: ${cmd('qkv estimate')}. Smaller: ${opt('batch=4')} or ${opt('contextLength=64')}`,
      ),
    zh: (v) =>
      text(
        `内存不足：需要 ${bytes(v.bytes)}，可用 ${bytes(v.availableBytes)}`,
        `已用 ${bytes(v.liveBytes)}，上限 ${bytes(v.limitBytes)}。一次训练要多少：${cmd('qkv estimate')}。改小：${opt('batch=4')} 或 ${opt('contextLength=64')}`,
      ),
  },
  E122: {
    exit: 4,
    en: (v) =>
      text(
        `the disk is too small: ${bytes(v.needed)} for ${v.checkpoints} checkpoints, ${bytes(v.free)} free`,
        { where: here(v.folder) },
        `Keep fewer: ${opt('keep=1')}, or free some space. Start regardless: ${opt('--anyway')}`,
      ),
    zh: (v) =>
      text(
        `磁盘不够：${v.checkpoints} 个检查点要 ${bytes(v.needed)}，剩余 ${bytes(v.free)}`,
        { where: here(v.folder) },
        `少留几个：${opt('keep=1')}，或腾出空间。仍要开始：${opt('--anyway')}`,
      ),
  },
  E139: {
    exit: 4,
    en: (v) =>
      text(
        `cannot ${v.operation} ${here(v.path)}: ${reasonEn[v.reason] ?? v.reason}`,
        v.operation === 'write'
          ? 'Free space, change the mode of the folder, or work in another one'
          : 'Change the mode of the file, or take another one',
      ),
    zh: (v) =>
      text(
        `${v.operation === 'write' ? '写不了' : '读不了'} ${here(v.path)}：${reasonZh[v.reason] ?? v.reason}`,
        v.operation === 'write' ? '腾出空间、改文件夹权限，或换一个文件夹' : '改文件权限，或换一个文件',
      ),
  },
  E190: {
    exit: 1,
    en: (v) =>
      text(
        `unexpected: ${v.detail}`,
        `This is a fault of qkv. More: add ${opt('--debug')}; about this machine: ${cmd('qkv doctor')}`,
      ),
    zh: (v) => text(`意外：${v.detail}`, `这是 qkv 的错误。更多：加 ${opt('--debug')}；本机信息：${cmd('qkv doctor')}`),
  },
  E191: {
    exit: 69,
    en: (v) =>
      text(
        `the native back-end is missing: ${v.reason}`,
        `Build it with a C++20 compiler: npm run build. Or train slowly: ${opt('backend=reference')}`,
      ),
    zh: (v) =>
      text(
        `没有本机后端：${reasonOfBackend(v.reason)}`,
        `用 C++20 编译器编译：npm run build。或慢速训练：${opt('backend=reference')}`,
      ),
  },
  W201: {
    en: (v) =>
      text(`running without the native back-end (${v.reason}): right, but slow`, 'Build it with a C++20 compiler: npm run build'),
    zh: (v) => text(`没有用本机后端（${reasonOfBackend(v.reason)}）：结果正确，但很慢`, '用 C++20 编译器编译：npm run build'),
  },
  W202: {
    en: (v) =>
      text(
        `this fills the memory: about ${bytes(v.needed)} of ${bytes(v.available)} available`,
        `Close other programs, or take less: ${opt('batch=4')}`,
      ),
    zh: (v) => text(`内存将近用满：约 ${bytes(v.needed)}，可用 ${bytes(v.available)}`, `关掉其他程序，或改小：${opt('batch=4')}`),
  },
};
