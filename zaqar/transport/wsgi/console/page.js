// SPDX-License-Identifier: Apache-2.0
// Parts of the page. Whatever comes from elsewhere is text, never HTML.

// Characters of a body that are shown; the rest is for download.
const MOST_SHOWN = 64 * 1024;

export function el(name, values = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else node.setAttribute(key, String(value));
  }
  // Texts become text nodes.
  node.append(...children.filter((child) => child !== null));
  return node;
}

export function show(...nodes) {
  document.getElementById('main').replaceChildren(...nodes);
}

export function tell(text) {
  document.getElementById('done').textContent = text;
}

export function warn(text) {
  const place = document.getElementById('trouble');
  place.textContent = text;
  place.hidden = !text;
}

// Returns a listener that shows errors.
export function guarded(action) {
  return async (event) => {
    event?.preventDefault?.();
    try {
      warn('');
      await action(event);
    } catch (error) {
      if (error.name !== 'AbortError') warn(error.message);
    }
  };
}

export function button(text, action, values = {}) {
  return el('button', { type: 'button', onclick: guarded(action), ...values },
    text);
}

export function field(text, values = {}, name = 'input') {
  return el('label', {}, text, el(name, values));
}

export function form(action, ...children) {
  return el('form', { onsubmit: guarded(action), class: 'row' }, ...children);
}

export function table(heads, rows) {
  const head = heads.map((text) => (
    el('th', { scope: 'col' }, text)));
  const body = rows.map((cells) => el('tr', {}, ...cells.map((cell) => (
    el('td', { class: typeof cell === 'number' && 'number' },
      cell instanceof Node ? cell : String(cell ?? ''))))));
  return el('div', { class: 'wide' }, el('table', {},
    el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...body)));
}

// Shows a dialog with some nodes; resolves to whether it was agreed to.
export function ask(yes, ...nodes) {
  return new Promise((resolve) => {
    const dialog = el('dialog', {},
      el('form', { method: 'dialog' }, ...nodes,
        el('div', { class: 'row' },
          el('button', { value: 'yes', id: 'yes' }, yes),
          el('button', { value: 'no', formnovalidate: true }, 'Cancel'))));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Asks once more, and says what will be done.
export function sure(text, yes) {
  return ask(yes, el('p', {}, text));
}

export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text]));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export function body(value, name) {
  const text = JSON.stringify(value, null, 2) ?? '';
  const nodes = [el('pre', { tabindex: '0' }, text.slice(0, MOST_SHOWN))];
  if (text.length > MOST_SHOWN) {
    nodes.push(el('p', { class: 'hint' },
      `Cut: ${text.length} characters in all. Download the whole.`));
  }
  nodes.push(button('Download', () => download(`${name}.json`, text)));
  return el('div', {}, ...nodes);
}

export function seconds(count) {
  if (count === null || count === undefined) return '–';
  if (count < 120) return `${count} s`;
  if (count < 7200) return `${Math.floor(count / 60)} min`;
  if (count < 172800) return `${Math.floor(count / 3600)} h`;
  return `${Math.floor(count / 86400)} d`;
}
