/** Messages about runs: what they are called, where they stand, what goes wrong while they train or write. Part of the table in index.ts. */
import { count, short } from '../format.ts';
import { cmd, damageZh, opt, text, here, reasonZh, shellWord, systemCode, type Entry, some } from './parts.ts';

/** The values that each code is made of. */
export interface RunsValues {
  E140: {
    step: number;
    what: 'loss' | 'gradNorm';
    /** `NaN`, `Infinity`: JSON has no such numbers. */
    value: string;
    where?: string;
    previousStep?: number;
    previousLoss?: number;
    /** Added by the verb: the run's name, its newest good checkpoint, the learning rate. */
    run?: string;
    lastGood?: string;
    lr?: number;
  };
  E150: { name: string; runs: string[]; nearest?: string; folder: string };
  E151: { name: string; step?: number; free: string };
  E152: { name: string };
  E153: { path: string };
  E154: { template: string; templates: string[]; nearest?: string };
  E155: { name: string; step: string | number; steps: number[] };
  E156: { name: string; pid?: number; host?: string };
  E157: { name: string };
  /** `setting`: the output is named by it, not by --out. `reason`: why what is there is not what was asked for. */
  E158: { path: string; setting?: string; reason?: string };
  E159: { key: string; before: unknown; after: unknown; name: string };
  E160: { tokens: number; contextLength: number };
  E161: { verb: string };
  E162: { char: string; position: number; vocabSize: number };
  E163: { layer: number; head: number; nLayer: number; nHead: number };
  E164: { name: string; step: number; steps: number };
  W203: { loss: number; expected: number };
  W210: { times: number; from: number; to: number; bestStep: number };
  W220: { detail: string };
  W221: { message: string };
  W222: { folder: string; why: string };
}

const retry = (v: RunsValues['E140']) =>
  `qkv train ${shellWord(v.lastGood ? (v.run ?? 'RUN') : v.run ? `runs/${v.run}/config.json` : '')}${v.lastGood ? ' --resume' : ''} lr=${short(Math.min(1e-3, (v.lr ?? 1e-3) / 3))} clip=1`.replace(
    '  ',
    ' ',
  );

export const runsMessages: { [C in keyof RunsValues]: Entry<RunsValues[C]> } = {
  E140: {
    exit: 70,
    en: (v) =>
      text(
        `step ${count(v.step, 'en')}: ${v.what === 'loss' ? 'loss' : 'the gradient norm'} became ${v.value}` +
          `${v.previousLoss === undefined ? '' : ` (the loss was ${v.previousLoss.toPrecision(3)} at step ${count(v.previousStep!, 'en')})`}, no update made`,
        { where: v.run && `runs/${v.run}` },
        v.where && `First non-finite: ${v.where}`,
        (v.lastGood ? `Last good: ${here(v.lastGood)}. ` : 'There is no checkpoint yet. ') + `Try: ${cmd(retry(v))}`,
      ),
    zh: (v) =>
      text(
        `第 ${count(v.step, 'zh')} 步：${v.what === 'loss' ? '损失' : '梯度范数'}变成 ${v.value}` +
          `${v.previousLoss === undefined ? '' : `（第 ${count(v.previousStep!, 'zh')} 步的损失还是 ${v.previousLoss.toPrecision(3)}）`}，本步没有更新`,
        { where: v.run && `runs/${v.run}` },
        v.where && `第一个非有限值：${v.where.replace(/^gradient of (.*)$/, '$1 的梯度')}`,
        (v.lastGood ? `最后完好：${here(v.lastGood)}。` : '还没有检查点。') + `可试：${cmd(retry(v))}`,
      ),
  },
  E150: {
    exit: 3,
    en: (v) =>
      text(
        `no run called "${v.name}".${v.runs.length ? ` Runs here: ${some(v.runs, ', ')}` : ` There are no runs in ${here(v.folder)}`}`,
        { where: v.nearest ? `did you mean ${v.nearest}?` : undefined },
        v.runs.length ? '' : `Make one: ${cmd('qkv train data=book.txt')}`,
      ),
    zh: (v) =>
      text(
        `没有名为 “${v.name}” 的运行。${v.runs.length ? `这里有：${some(v.runs, '、')}` : `${here(v.folder)} 里没有运行`}`,
        { where: v.nearest ? `是不是 ${v.nearest}？` : undefined },
        v.runs.length ? '' : `训练一个：${cmd('qkv train data=book.txt')}`,
      ),
  },
  E151: {
    exit: 2,
    en: (v) =>
      text(
        `a run called "${v.name}" exists${v.step === undefined ? '' : ` (at step ${count(v.step, 'en')})`}`,
        `Go on with it: ${cmd(`qkv train ${shellWord(v.name)} --resume`)}   or another name: ${opt(`name=${v.free}`)}`,
      ),
    zh: (v) =>
      text(
        `名为 “${v.name}” 的运行已存在${v.step === undefined ? '' : `（第 ${count(v.step, 'zh')} 步）`}`,
        `接着训练：${cmd(`qkv train ${shellWord(v.name)} --resume`)}   或换个名字：${opt(`name=${v.free}`)}`,
      ),
  },
  E152: {
    exit: 3,
    en: (v) =>
      text(`run "${v.name}" has no checkpoint`, `Begin it again: ${cmd(`qkv train ${shellWord(`runs/${v.name}/config.json`)}`)}`),
    zh: (v) => text(`运行 “${v.name}” 没有检查点`, `重新开始：${cmd(`qkv train ${shellWord(`runs/${v.name}/config.json`)}`)}`),
  },
  E153: {
    exit: 2,
    en: (v) => text(`${here(v.path)} exists and is not empty`, 'Take another name; nothing was changed'),
    zh: (v) => text(`${here(v.path)} 已存在且不为空`, '换个名字；没有改动任何东西'),
  },
  E154: {
    exit: 2,
    en: (v) =>
      text(
        `there is no template "${v.template}"`,
        `${v.nearest ? `Did you mean ${v.nearest}?  ` : ''}Templates: ${v.templates.join(', ')}`,
      ),
    zh: (v) =>
      text(`没有模板 “${v.template}”`, `${v.nearest ? `你是不是想写 ${v.nearest}？  ` : ''}模板：${v.templates.join('、')}`),
  },
  E155: {
    exit: 3,
    en: (v) =>
      text(`run "${v.name}" has no checkpoint ${v.step}`, v.steps.length ? `It has: ${v.steps.join(', ')}` : 'It has none'),
    zh: (v) => text(`运行 “${v.name}” 没有检查点 ${v.step}`, v.steps.length ? `有：${v.steps.join('、')}` : '一个也没有'),
  },
  E156: {
    exit: 2,
    en: (v) =>
      text(
        `another process trains "${v.name}" now${v.pid ? ` (${v.pid} on ${v.host})` : ''}`,
        'Stop it first with Ctrl-C in its terminal; it saves before it ends',
      ),
    zh: (v) =>
      text(
        `另一个进程正在训练 “${v.name}”${v.pid ? `（${v.host} 上的 ${v.pid}）` : ''}`,
        '先在它的终端按 Ctrl-C 停止；它会先保存',
      ),
  },
  E157: {
    exit: 2,
    en: (v) =>
      text(
        `"${v.name}" cannot be the name of a run`,
        'Letters and digits of any script, - _ and . ; at most 64, a letter or digit first',
      ),
    zh: (v) => text(`“${v.name}” 不能作运行的名字`, '可用任何文字的字母和数字、- _ 和 . ；至多 64 个，以字母或数字开头'),
  },
  E158: {
    exit: 2,
    en: (v) =>
      text(
        v.reason
          ? `${here(v.path)} holds something else: ${v.reason}; nothing was changed`
          : `the file ${here(v.path)} exists; nothing was changed`,
        v.setting
          ? `Another name after ${v.setting}=   or write over it: ${opt('--force')}`
          : `Another name: ${opt('--out NAME.json')}   or write over it: ${opt('--force')}`,
      ),
    zh: (v) =>
      text(
        v.reason ? `${here(v.path)} 里是别的内容；没有改动任何东西` : `文件 ${here(v.path)} 已存在；没有改动任何东西`,
        v.setting
          ? `换一个 ${v.setting}=   或覆盖：${opt('--force')}`
          : `换个名字：${opt('--out NAME.json')}   或覆盖：${opt('--force')}`,
      ),
  },
  E159: {
    exit: 2,
    en: (v) =>
      text(
        `${v.key} cannot change in a run that goes on (${v.before} → ${v.after})`,
        `Its weights have that shape. Begin a new run: ${cmd(`qkv train ${shellWord(`runs/${v.name}/config.json`)} ${v.key}=${v.after}`)}`,
      ),
    zh: (v) =>
      text(
        `续训时不能改 ${v.key}（${v.before} → ${v.after}）`,
        `权重的形状由它决定。开始新的运行：${cmd(`qkv train ${shellWord(`runs/${v.name}/config.json`)} ${v.key}=${v.after}`)}`,
      ),
  },
  E160: {
    exit: 2,
    en: (v) =>
      text(
        `the prompt is ${count(v.tokens, 'en')} tokens; this model was trained with context ${count(v.contextLength, 'en')}. Keep the last ${count(v.contextLength, 'en')}: ${opt('--truncate left')}`,
      ),
    zh: (v) =>
      text(
        `提示有 ${count(v.tokens, 'zh')} 个词元；此模型的上下文是 ${count(v.contextLength, 'zh')}。保留最后 ${count(v.contextLength, 'zh')} 个：${opt('--truncate left')}`,
      ),
  },
  E161: {
    exit: 2,
    en: (v) => text('the prompt is empty', `Give some text in quotes: ${cmd(`qkv ${v.verb} demo-1 "Once upon a time"`)}`),
    zh: (v) => text('提示是空的', `在引号里写点文字：${cmd(`qkv ${v.verb} demo-1 "从前"`)}`),
  },
  E162: {
    exit: 2,
    en: (v) =>
      text(
        `character ${count(v.position + 1, 'en')} of the text, "${v.char}", is not among the ${count(v.vocabSize, 'en')} that this model knows`,
        `Its tokenizer knows only the characters of its training data. Leave it out, or train with ${opt('tokenizer=bpe')}`,
      ),
    zh: (v) =>
      text(
        `文本第 ${count(v.position + 1, 'zh')} 个字符 “${v.char}” 不在此模型认识的 ${count(v.vocabSize, 'zh')} 个之中`,
        `它的词表只有训练数据里出现过的字符。去掉该字符，或用 ${opt('tokenizer=bpe')} 训练`,
      ),
  },
  E163: {
    exit: 2,
    en: (v) =>
      text(`there is no head L${v.layer}H${v.head}`, `This model has layers 0 … ${v.nLayer - 1} and heads 0 … ${v.nHead - 1}`),
    zh: (v) => text(`没有 L${v.layer}H${v.head} 这个头`, `此模型有第 0 … ${v.nLayer - 1} 层，每层第 0 … ${v.nHead - 1} 个头`),
  },
  E164: {
    exit: 2,
    en: (v) =>
      text(
        `run "${v.name}" is complete: step ${count(v.step, 'en')} of ${count(v.steps, 'en')}`,
        `Train it further: ${cmd(`qkv train ${shellWord(v.name)} --resume steps=${2 * Math.max(v.step, v.steps)}`)}`,
      ),
    zh: (v) =>
      text(
        `运行 “${v.name}” 已完成：第 ${count(v.step, 'zh')} 步，共 ${count(v.steps, 'zh')} 步`,
        `再训练下去：${cmd(`qkv train ${shellWord(v.name)} --resume steps=${2 * Math.max(v.step, v.steps)}`)}`,
      ),
  },
  W203: {
    en: (v) =>
      text(
        `the first loss is ${v.loss.toFixed(2)}; a model that knows nothing has ln V = ${v.expected.toFixed(2)}`,
        'Something is off: labels shifted, or the start too wide',
      ),
    zh: (v) =>
      text(
        `起始损失是 ${v.loss.toFixed(2)}；一无所知的模型应为 ln V = ${v.expected.toFixed(2)}`,
        '不太对劲：标签错位，或初始化过大',
      ),
  },
  W210: {
    en: (v) =>
      text(
        `validation loss rose ${v.times} times in a row (${v.from.toFixed(2)} → ${v.to.toFixed(2)}) while training still falls: overfitting`,
        `Best point: step ${count(v.bestStep, 'en')} (saved). Try ${opt('dropout=0.1')}, a smaller model, or more data`,
      ),
    zh: (v) =>
      text(
        `验证损失已连续 ${v.times} 次上升（${v.from.toFixed(2)} → ${v.to.toFixed(2)}），训练仍在降：过拟合`,
        `最佳点在第 ${count(v.bestStep, 'zh')} 步（已保存）。可加 ${opt('dropout=0.1')}、减小模型或增加数据`,
      ),
  },
  W220: {
    en: (v) =>
      text(`a checkpoint was not saved: ${v.detail}`, 'Training goes on and tries again; three failures in a row end it'),
    zh: (v) =>
      text(`有一个检查点没有存成：${reasonZh[systemCode(v.detail) ?? ''] ?? v.detail}`, '训练继续并会再试；连续三次失败则结束'),
  },
  W221: {
    en: (v) => text(`the checkpoint is saved, but: ${v.message}`),
    zh: (v) => text(`检查点已存，但：${v.message}`),
  },
  W222: {
    en: (v) => text(`a damaged checkpoint is passed over: ${v.why}`, { where: here(v.folder) }),
    zh: (v) => text(`跳过一个损坏的检查点：${damageZh(v.why)}`, { where: here(v.folder) }),
  },
};
