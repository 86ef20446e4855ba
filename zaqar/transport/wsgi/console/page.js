// SPDX-License-Identifier: Apache-2.0
// Parts of the page. Whatever comes from elsewhere is text, never HTML.

// Bytes of a body that are shown; the rest is for download.
const MOST_SHOWN = 64 * 1024;

// Characters that show nothing, or turn the direction of a text around.
const UNSEEN = new RegExp('[\\u007f-\\u009f\\u00ad\\u061c\\u200b-\\u200f'
  + '\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]', 'g');

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

export function choice(text, options) {
  return el('label', {}, text, el('select', {}, ...options.map(
    ([value, shown]) => el('option', { value }, shown))));
}

export function form(action, ...children) {
  return el('form', { onsubmit: guarded(action), class: 'row' }, ...children);
}

export function table(name, heads, rows) {
  const head = heads.map((text) => (
    el('th', { scope: 'col' }, text)));
  const body = rows.map((cells) => el('tr', {}, ...cells.map((cell) => (
    el('td', {}, cell instanceof Node ? cell : String(cell ?? ''))))));
  return wide(name, el('table', {},
    el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...body)));
}

// Lets a table that is wider than the screen be moved, by keys as well.
export function wide(name, content) {
  return el('div', {
    class: 'wide', role: 'region', tabindex: '0', 'aria-label': name,
  }, content);
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

const escaped = (text) => text.replaceAll(UNSEEN, (one) => (
  `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`));

// Shows JSON as text. What cannot be seen is escaped, as JSON may be.
export function body(value, name) {
  const text = JSON.stringify(value, null, 2) ?? '';
  const bytes = new TextEncoder().encode(text);
  const isCut = bytes.length > MOST_SHOWN;
  const first = isCut ? new TextDecoder().decode(
    bytes.subarray(0, MOST_SHOWN), { stream: true }) : text;
  return el('div', {},
    el('pre', { tabindex: '0' }, escaped(first)),
    isCut ? el('p', { class: 'hint' },
      `Cut after 64 KiB of ${bytes.length.toLocaleString('en')} bytes. `
      + 'Download the whole.') : null,
    button('Download', () => download(`${name}.json`, text),
      { 'aria-label': `Download ${name}` }));
}

export const idOf = (message) => (
  message.id ?? message.href.split('?')[0].split('/').at(-1));

export function seconds(count) {
  if (count === null || count === undefined) return '–';
  if (count < 120) return `${count} s`;
  if (count < 7200) return `${Math.floor(count / 60)} min`;
  if (count < 172800) return `${Math.floor(count / 3600)} h`;
  return `${Math.floor(count / 86400)} d`;
}
