// The annotation page: draws what the server says, sends what is decided. It keeps nothing but the cursor and the spans of the item on the screen.

const texts = {
  en: {
    annotator: 'annotator',
    newAnnotator: 'other…',
    newAnnotatorAsk: 'Name of the annotator',
    keysOn: 'keys on',
    keysOff: 'keys off',
    keysTitle: 'single-key shortcuts on or off',
    history: 'just now',
    agreement: 'agreement',
    agreementNote: '1: always the same · 0: as chance would · over items of two or more annotators',
    export: 'export',
    skip: 'skip',
    undo: 'undo',
    done: 'done',
    helpTitle: 'Keys',
    close: 'Close',
    helpTip: 'help',
    language: '中文',
    skipped: 'skipped',
    allDone: 'All done',
    allDoneMore: (n) => `${n} labelled. Undo brings the last one back; another annotator can start.`,
    counts: (p) => `${p.labelled} of ${p.items} labelled${p.skipped ? ` · ${p.skipped} skipped` : ''} · ${p.left} left`,
    question: {
      class: 'Which label fits?',
      span: 'Mark the spans',
      pair: 'How do the two belong together?',
      rating: 'How good is it?',
      preference: 'Which one is better?',
    },
    guess: (g) => `The classifier says ${g.label} (${Math.round(100 * g.probability)} %): Enter accepts`,
    agree: { items: 'items', fleiss: 'Fleiss κ', nominal: 'Krippendorff α', ordinal: 'α, ordinal', interval: 'α, interval' },
    noSpans: 'no spans',
    spans: (n) => `${n} span${n === 1 ? '' : 's'}`,
    now: (t) => `Next: ${t}`,
    said: (l) => `${l}.`,
    offline: 'The server does not answer. Is the command still running? Nothing that was shown as done is lost.',
    keyRows: {
      common: [
        ['1 … 9, 0', 'the label with this number; a label of one letter by its letter too'],
        ['u', 'undo the last decision'],
        ['s', 'skip'],
        ['+ −', 'larger, smaller text'],
        ['?', 'this help'],
      ],
      guess: [['Enter', 'accept the suggestion']],
      preference: [['← →', 'the left, the right one']],
      span: [
        ['← → or h l', 'move by a token'],
        ['Shift + ← →', 'select several'],
        ['v', 'mark the beginning, then move'],
        ['digit', 'label what is selected'],
        ['⌫ or x', 'remove the span under the cursor'],
        ['Enter', 'done, on to the next'],
        ['Home, End', 'first, last token'],
      ],
    },
    hints: {
      move: 'move',
      select: 'select',
      label: 'label',
      remove: 'remove',
      accept: 'accept suggestion',
      help: 'all keys',
      choose: 'choose',
    },
    current: 'now shown',
    left: 'left',
    right: 'right',
    tie: 'tie',
    cursorAt: (t, l) => (l ? `${t}, ${l}` : t),
    context: 'context',
  },
  zh: {
    annotator: '标注者',
    newAnnotator: '换人…',
    newAnnotatorAsk: '标注者的名字',
    keysOn: '快捷键开',
    keysOff: '快捷键关',
    keysTitle: '单键快捷键的开关',
    history: '刚才',
    agreement: '一致程度',
    agreementNote: '1：完全一致 · 0：与随机相当 · 只算两人以上标注过的条目',
    export: '导出',
    skip: '跳过',
    undo: '撤销',
    done: '完成',
    helpTitle: '按键',
    close: '关闭',
    helpTip: '帮助',
    language: 'English',
    skipped: '跳过',
    allDone: '全部完成',
    allDoneMore: (n) => `已标注 ${n} 条。撤销可取回上一条；也可以换一位标注者。`,
    counts: (p) => `${p.items} 条中已标 ${p.labelled}${p.skipped ? ` · 跳过 ${p.skipped}` : ''} · 还剩 ${p.left}`,
    question: {
      class: '哪个标签合适？',
      span: '标出片段',
      pair: '这两段是什么关系？',
      rating: '质量如何？',
      preference: '哪一个更好？',
    },
    guess: (g) => `分类器认为是 ${g.label}（${Math.round(100 * g.probability)} %）：回车采纳`,
    agree: { items: '条目', fleiss: 'Fleiss κ', nominal: 'Krippendorff α', ordinal: 'α（有序）', interval: 'α（等距）' },
    noSpans: '没有片段',
    spans: (n) => `${n} 个片段`,
    now: (t) => `下一条：${t}`,
    said: (l) => `${l}。`,
    offline: '服务器没有回应。命令还在运行吗？已显示完成的都不会丢。',
    keyRows: {
      common: [
        ['1 … 9、0', '选这个编号的标签；单个字母的标签也可按该字母'],
        ['u', '撤销上一步'],
        ['s', '跳过'],
        ['+ −', '放大、缩小文字'],
        ['?', '这份帮助'],
      ],
      guess: [['回车', '采纳建议']],
      preference: [['← →', '左边、右边的']],
      span: [
        ['← → 或 h l', '移动一个词元'],
        ['Shift + ← →', '选择多个'],
        ['v', '标记起点，再移动'],
        ['数字', '给选中的加标签'],
        ['⌫ 或 x', '删除光标所在的片段'],
        ['回车', '完成，下一条'],
        ['Home、End', '首、末词元'],
      ],
    },
    hints: {
      move: '移动',
      select: '选择',
      label: '加标签',
      remove: '删除',
      accept: '采纳建议',
      help: '全部按键',
      choose: '选择',
    },
    current: '正在显示',
    left: '左',
    right: '右',
    tie: '平',
    cursorAt: (t, l) => (l ? `${t}，${l}` : t),
    context: '上文',
  },
};

const $ = (id) => document.getElementById(id);
const element = (tag, attributes = {}, ...children) => {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name === 'on') for (const [event, listener] of Object.entries(value)) e.addEventListener(event, listener);
    else if (name === 'class') e.className = value;
    else e.setAttribute(name, value === true ? '' : value);
  }
  e.append(...children.filter((c) => c !== undefined && c !== null)); // strings become text nodes: nothing of the data is ever HTML
  return e;
};

let state;
let lang = 'en';
let t = texts.en;
let keysOn = true;
let busy = false;
// Of a span task.
let spans = [];
let cursor = 0;
let anchor; // where the selection began
let before = []; // the spans before each change

const store = {
  get: (k) => {
    try {
      return localStorage.getItem(k);
    } catch {
      return null;
    }
  },
  set: (k, v) => {
    try {
      localStorage.setItem(k, v);
    } catch {
      /* private window */
    }
  },
};

async function ask(path, body) {
  const response = await fetch(
    path,
    body ? { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {},
  );
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

async function step(request, said) {
  if (busy) return;
  busy = true;
  $('error').textContent = '';
  try {
    const shown = state?.item?.id;
    state = await request();
    if (state.item?.id !== shown || said !== undefined) begin();
    draw();
    announce(said);
  } catch (error) {
    $('error').textContent = error instanceof TypeError ? t.offline : error.message;
  } finally {
    busy = false;
  }
}
const load = (more = '') => step(() => ask(`/api/state?annotator=${encodeURIComponent(state.annotator)}${more}`));
const decide = (what, said) => step(() => ask('/api/decision', { annotator: state.annotator, ...what }), said);

/** A new item on the screen. */
function begin() {
  const said = state.item?.draft ?? state.item?.said;
  before = [];
  spans = Array.isArray(said) ? said.map((s) => ({ ...s })) : [];
  cursor = 0;
  anchor = undefined;
  $('item').scrollTop = 0;
}

function announce(said) {
  const words = state.item ? t.now(state.item.text.slice(0, 200)) : t.allDone;
  $('live').textContent = said ? `${t.said(said)} ${words}` : words;
}

const isPreference = () => state.task.kind === 'preference';
/** What is under a key: of a preference left, right, then the rest; else the labels in order. */
function choices() {
  const { labels } = state.task;
  if (!isPreference() || !state.item?.columns) return labels.map((value) => ({ value, shown: value }));
  const [a, b] = state.item.columns.slice(-2).map((c) => c.name);
  return [
    { value: a, shown: `← ${t.left}` },
    { value: b, shown: `${t.right} →` },
    ...labels.filter((l) => l !== a && l !== b).map((value) => ({ value, shown: value === 'tie' ? t.tie : value })),
  ];
}
const shownLabel = (label) => {
  if (label === undefined) return t.skipped;
  if (Array.isArray(label)) return label.length ? t.spans(label.length) : t.noSpans;
  return label === 'tie' ? t.tie : String(label);
};

function draw() {
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
  document.title = `${state.title} · qkv annotate`;
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = t[e.dataset.t];
  $('title').textContent = state.title;
  $('language').textContent = t.language;
  $('language').lang = lang === 'zh' ? 'en' : 'zh-CN';
  $('keys').textContent = keysOn ? t.keysOn : t.keysOff;
  $('keys').title = t.keysTitle;
  $('keys').setAttribute('aria-pressed', String(keysOn));
  $('help').setAttribute('aria-label', t.helpTip);
  $('annotator').replaceChildren(...state.annotators.map((a) => element('option', { selected: a === state.annotator }, a)));
  const { progress, item, task } = state;
  const percent = (n) => `${(100 * n) / Math.max(1, progress.items)}%`;
  $('bar-labelled').style.width = percent(progress.labelled);
  $('bar-skipped').style.width = percent(progress.skipped);
  $('progress').setAttribute('aria-valuemax', progress.items);
  $('progress').setAttribute('aria-valuenow', progress.labelled);
  $('progress').setAttribute('aria-label', t.counts(progress));
  $('counts').textContent = t.counts(progress);
  $('place').textContent = item ? `${item.source}:${item.line}` : '';
  $('question').textContent = t.question[task.kind];
  for (const [id, key, disabled] of [
    ['skip', 's', !item],
    ['undo', 'u', state.history.length === 0],
    ['done', '⏎', !item],
  ]) {
    $(id).replaceChildren(element('kbd', {}, key), t[id]);
    $(id).disabled = disabled;
  }
  $('done').hidden = task.kind !== 'span' || !item;
  drawItem();
  drawLabels();
  drawHints();
  $('just-now').hidden = state.history.length === 0;
  $('history').replaceChildren(
    ...state.history.map((h) =>
      element(
        'li',
        {},
        element(
          'button',
          {
            type: 'button',
            title: h.text,
            'aria-current': h.id === item?.id && 'true',
            on: { click: () => load(`&item=${h.id}`) },
          },
          element('span', { class: 'text' }, h.text.replace(/\s+/g, ' ')),
          element('span', { class: h.label === undefined ? 'label none' : 'label' }, shownLabel(h.label)),
          h.id === item?.id ? element('span', { class: 'visually-hidden' }, t.current) : undefined,
        ),
      ),
    ),
  );
  $('conll').hidden = task.kind !== 'span';
  drawAgreement();
}

function drawItem() {
  const { item, task } = state;
  $('undo').disabled = state.history.length === 0 && before.length === 0;
  const box = $('item');
  box.className = '';
  box.removeAttribute('role');
  if (!item) {
    box.className = 'done';
    box.replaceChildren(element('strong', {}, t.allDone), element('span', {}, t.allDoneMore(state.progress.labelled)));
    return;
  }
  if (task.kind === 'span') {
    box.className = 'spans';
    box.replaceChildren(...spanNodes());
    box.querySelector('.cursor')?.scrollIntoView({ block: 'nearest' });
    return;
  }
  if (!item.columns) {
    box.replaceChildren(item.text);
    return;
  }
  box.className = 'columns';
  const sides = isPreference() || task.kind === 'pair' ? 2 : item.columns.length;
  const first = item.columns.length - sides;
  box.replaceChildren(
    ...item.columns.map((c, i) =>
      // Of a preference the name of the column is not shown: it would say which one is meant to be better.
      element(
        'div',
        { class: i < first ? 'column context' : 'column' },
        element('h3', {}, i < first || !isPreference() ? c.name : i === first ? t.left : t.right),
        element('div', {}, c.text),
      ),
    ),
  );
}

/** The text with its spans, the cursor and the selection. */
function spanNodes() {
  const { text, tokens } = state.item;
  const [from, to] = selection();
  const nodes = [];
  let parent; // the mark that is open, with its span
  let at = 0;
  const add = (node) => (parent ? parent.mark.append(node) : nodes.push(node));
  tokens.forEach((token, i) => {
    if (token.from > at) {
      const selected = i > from && i <= to && to > from;
      add(element('span', { class: selected ? 'gap selected' : 'gap' }, text.slice(at, token.from)));
    }
    const span = spans.find((s) => token.from >= s.from && token.from < s.to);
    if (span && !parent) {
      parent = { span, mark: element('mark', { class: colour(span.label) }) };
      nodes.push(parent.mark);
    }
    const classes = ['token', i === cursor && 'cursor', i >= from && i <= to && to > from && 'selected']
      .filter(Boolean)
      .join(' ');
    add(element('span', { class: classes, 'data-i': i }, text.slice(token.from, token.to)));
    at = token.to;
    if (parent && token.to >= parent.span.to) {
      parent.mark.append(element('b', {}, parent.span.label));
      parent = undefined;
    }
  });
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}
const colour = (label) => `c${(Math.max(0, state.task.labels.indexOf(label)) % 5) + 1}`;
const selection = () => (anchor === undefined ? [cursor, cursor] : [Math.min(anchor, cursor), Math.max(anchor, cursor)]);

function drawLabels() {
  const { item, task } = state;
  $('labels').className = task.kind === 'rating' || task.kind === 'preference' ? task.kind : '';
  const guess = item?.said === undefined ? item?.suggestion : undefined;
  $('guess').hidden = !guess;
  if (guess)
    $('guess').textContent = t.guess({ ...guess, label: choices().find((c) => c.value === guess.label)?.shown ?? guess.label });
  $('labels').replaceChildren(
    ...choices().map(({ value, shown }, i) => {
      const p = guess?.all.find((a) => a.label === value)?.probability;
      const said = item && !Array.isArray(item.said) && item.said !== undefined && String(item.said) === value;
      return element(
        'button',
        {
          type: 'button',
          disabled: !item,
          class: [guess?.label === value && 'suggested', said && 'said'].filter(Boolean).join(' '),
          'aria-pressed': said ? 'true' : undefined,
          on: { click: () => choose(i) },
        },
        element('kbd', {}, String((i + 1) % 10)),
        task.kind === 'span' ? element('span', { class: `dot ${colour(value)}` }) : undefined,
        element('span', {}, shown),
        p !== undefined ? shareBar(p) : undefined,
      );
    }),
  );
}
function shareBar(p) {
  const bar = element('span', { class: 'share', 'aria-hidden': 'true' });
  bar.style.width = `${100 * p}%`; // the CSP allows styles set by scripts, not style attributes
  return bar;
}

function drawHints() {
  const hint = (key, words) => element('span', {}, element('kbd', {}, key), ` ${words}`);
  const n = Math.min(10, state.task.labels.length);
  const digits = n > 1 ? `1–${n % 10}` : '1';
  $('hints').replaceChildren(
    ...(state.task.kind === 'span'
      ? [hint('← →', t.hints.move), hint('⇧ ← →', t.hints.select), hint(digits, t.hints.label), hint('⌫', t.hints.remove)]
      : [hint(isPreference() ? '← →' : digits, t.hints.choose), ...(state.item?.suggestion ? [hint('⏎', t.hints.accept)] : [])]),
    hint('?', t.hints.help),
  );
}

function drawAgreement() {
  const a = state.agreement;
  $('agreement').hidden = !a;
  if (!a) return;
  const number = (x) => (x === null || x === undefined ? '–' : x.toFixed(2)); // NaN is null in JSON
  const rows = [
    [t.agree.items, a.items],
    ...a.cohen.map((c) => [`Cohen κ  ${c.a} · ${c.b}`, number(c.kappa)]),
    ...(a.fleiss === undefined ? [] : [[t.agree.fleiss, number(a.fleiss)]]),
    ...Object.entries(a.alpha).map(([level, value]) => [t.agree[level], number(value)]),
  ];
  $('agreement-rows').replaceChildren(
    ...rows.map(([name, value]) => element('tr', {}, element('td', {}, name), element('td', {}, String(value)))),
  );
}

function choose(i) {
  const choice = choices()[i];
  if (!choice || !state.item || busy) return;
  if (state.task.kind === 'span') return labelSpan(choice.value);
  $('labels').children[i]?.classList.add('flash');
  decide({ do: 'label', id: state.item.id, label: choice.value }, choice.shown);
}

function labelSpan(label) {
  const { tokens } = state.item;
  if (tokens.length === 0) return;
  const [a, b] = selection();
  const span = { from: tokens[a].from, to: tokens[b].to, label };
  before.push(spans);
  spans = [...spans.filter((s) => s.to <= span.from || s.from >= span.to), span].sort((x, y) => x.from - y.from);
  anchor = undefined;
  cursor = Math.min(tokens.length - 1, b + 1);
  drawItem();
  $('live').textContent = `${state.item.text.slice(span.from, span.to)}: ${label}`;
}

function move(to, extend) {
  const { tokens } = state.item;
  if (tokens.length === 0) return;
  if (extend) anchor ??= cursor;
  else if (!marking) anchor = undefined;
  cursor = Math.max(0, Math.min(tokens.length - 1, to));
  drawItem();
  const token = tokens[cursor];
  $('live').textContent = t.cursorAt(
    state.item.text.slice(token.from, token.to),
    spans.find((s) => token.from >= s.from && token.from < s.to)?.label,
  );
}
let marking = false; // after `v`, moving selects

function spanKey(event) {
  const { key, shiftKey } = event;
  if (key === 'ArrowRight' || key === 'l') move(cursor + 1, shiftKey);
  else if (key === 'ArrowLeft' || key === 'h') move(cursor - 1, shiftKey);
  else if (key === 'Home') move(0, shiftKey);
  else if (key === 'End') move(Infinity, shiftKey);
  else if (key === 'v') {
    marking = anchor === undefined;
    anchor = marking ? cursor : undefined;
    drawItem();
  } else if (key === 'Escape') {
    marking = false;
    anchor = undefined;
    drawItem();
  } else if (key === 'Backspace' || key === 'x') {
    const token = state.item.tokens[cursor];
    before.push(spans);
    if (token) spans = spans.filter((s) => !(token.from >= s.from && token.from < s.to));
    drawItem();
  } else if (key === 'Enter') finish();
  else return false;
  return true;
}
/** A change of the spans on the screen, else the last decision. */
function undo() {
  const last = before.pop();
  if (last === undefined) return decide({ do: 'undo' }, t.undo);
  spans = last;
  drawItem();
}
const finish = () => decide({ do: 'label', id: state.item.id, label: spans }, t.spans(spans.length));

document.addEventListener('keydown', (event) => {
  if (!state || event.ctrlKey || event.metaKey || event.altKey || $('help-dialog').open) return;
  const onControl = event.target instanceof HTMLElement && event.target.closest('select, input, textarea');
  if (onControl) return;
  const onButton = event.target instanceof HTMLElement && event.target.closest('button, a');
  const { key } = event;
  if (onButton && (key === 'Enter' || key === ' ')) return; // the button itself
  if (!keysOn && key.length === 1) return;
  const handled = () => event.preventDefault();
  if (key === '?') {
    handled();
    return help();
  }
  if (key === '+' || key === '=' || key === '-') {
    handled();
    return resize(key === '-' ? -1 : 1);
  }
  if (key === 'u' || (key === 'Backspace' && state.task.kind !== 'span')) {
    handled();
    return undo();
  }
  if (!state.item) return;
  if (key === 's') {
    handled();
    return decide({ do: 'skip', id: state.item.id }, t.skipped);
  }
  if (/^\d$/.test(key)) {
    handled();
    const i = (Number(key) + 9) % 10;
    choose(i);
    marking = false;
    return;
  }
  if (state.task.kind === 'span') {
    if (spanKey(event)) handled();
    return;
  }
  if (isPreference() && (key === 'ArrowLeft' || key === 'ArrowRight')) {
    handled();
    return choose(key === 'ArrowLeft' ? 0 : 1);
  }
  if (key === 'Enter' && state.item.suggestion) {
    handled();
    return choose(choices().findIndex((c) => c.value === state.item.suggestion.label));
  }
  const letter = state.task.labels.indexOf(key);
  if (letter >= 0 && key.length === 1) {
    handled();
    choose(letter);
  }
});

// The mouse works too: press on a token, drag to another.
let dragging = false;
const tokenAt = (event) => (event.target instanceof HTMLElement ? event.target.closest('.token')?.dataset.i : undefined);
$('item').addEventListener('pointerdown', (event) => {
  const i = tokenAt(event);
  if (i === undefined || state.task.kind !== 'span') return;
  dragging = true;
  anchor = undefined;
  cursor = Number(i);
  drawItem();
});
$('item').addEventListener('pointerover', (event) => {
  const i = tokenAt(event);
  if (!dragging || i === undefined) return;
  anchor ??= cursor;
  cursor = Number(i);
  drawItem();
});
document.addEventListener('pointerup', () => {
  dragging = false;
});

function resize(by) {
  const size = Math.min(2.4, Math.max(0.85, Number(store.get('size') ?? 1.15) + 0.1 * by));
  store.set('size', String(size));
  document.documentElement.style.setProperty('--size', `${size}rem`);
}

function help() {
  const { kind } = state.task;
  const rows = [
    ...(kind === 'span' ? t.keyRows.span : []),
    ...(isPreference() ? t.keyRows.preference : []),
    ...(state.item?.suggestion ? t.keyRows.guess : []),
    ...t.keyRows.common,
  ];
  $('help-rows').replaceChildren(
    ...rows.map(([key, words]) => element('tr', {}, element('td', {}, element('kbd', {}, key)), element('td', {}, words))),
  );
  $('help-dialog').showModal();
}

$('skip').addEventListener('click', () => decide({ do: 'skip', id: state.item.id }, t.skipped));
$('undo').addEventListener('click', undo);
$('done').addEventListener('click', finish);
$('help').addEventListener('click', help);
$('language').addEventListener('click', () => {
  setLanguage(lang === 'zh' ? 'en' : 'zh');
  draw();
});
$('keys').addEventListener('click', () => {
  keysOn = !keysOn;
  draw();
});
function useAnnotator(name) {
  state.annotator = name;
  sessionStorage.setItem('annotator', name);
  load();
}
$('annotator').addEventListener('change', (event) => useAnnotator(event.target.value));
$('new-annotator').addEventListener('click', () => {
  const name = prompt(t.newAnnotatorAsk)?.trim();
  if (name) useAnnotator(name);
});
function setLanguage(next) {
  lang = next;
  t = texts[lang];
  store.set('language', lang);
}

if (store.get('size')) resize(0);
const earlier = sessionStorage.getItem('annotator');
state = await ask(`/api/state${earlier ? `?annotator=${encodeURIComponent(earlier)}` : ''}`).catch((error) => {
  $('error').textContent = error.message;
});
if (state) {
  setLanguage(store.get('language') ?? state.language);
  begin();
  draw();
  announce();
}
