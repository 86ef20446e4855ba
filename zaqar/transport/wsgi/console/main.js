// SPDX-License-Identifier: Apache-2.0
// Which view is shown, by the fragment of the address.
import { start } from './client.js';
import * as messages from './messages.js';
import * as metadata from './metadata.js';
import { el, guarded, show, tell, warn } from './page.js';
import * as queues from './queues.js';
import * as subscriptions from './subscriptions.js';
import { tail } from './tail.js';

const VIEWS = [
  ['messages', 'Messages', messages.browse],
  ['dead', 'Dead letters', messages.deadLetters],
  ['subscriptions', 'Subscriptions', subscriptions.list],
  ['tail', 'Live tail', tail],
  ['metadata', 'Metadata', metadata.edit],
  ['share', 'Pre-signed URLs', metadata.share],
];

let leaving = new AbortController();

function tabs(queue, current) {
  return el('nav', { 'aria-label': 'Of this queue' },
    ...VIEWS.map(([name, text]) => el('a', {
      href: `#/${encodeURIComponent(queue)}/${name}`,
      'aria-current': name === current && 'page',
    }, text)));
}

const draw = guarded(async () => {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const isFirst = !document.getElementById('main').hasChildNodes();
  warn('');
  tell('');
  const parts = window.location.hash.replace(/^#\/?/, '').split('/');
  const [queue, wanted] = parts.map(decodeURIComponent);
  if (!queue) {
    document.title = 'Queues';
    await queues.list(signal);
    return;
  }
  const view = VIEWS.find(([name]) => name === wanted) ?? VIEWS[0];
  document.title = `${queue}: ${view[1]}`;
  const heading = el('h2', { tabindex: '-1' }, queue);
  const place = el('section', { 'aria-label': view[1], id: view[0] },
    'Reading …');
  show(heading, tabs(queue, view[0]), place);
  // What was pressed is gone: keys, and those who listen, begin here.
  if (!isFirst) heading.focus();
  const nodes = await view[2](queue, signal);
  if (!signal.aborted) place.replaceChildren(...nodes);
});

document.getElementById('leave').addEventListener('click', () => {
  // Whatever the page knew is gone with it.
  window.location.replace(window.location.pathname);
});
// Leads to all queues again; where the address stays, nothing else draws them.
document.querySelector('h1 a').addEventListener('click', () => {
  queues.forget();
  if (window.location.hash === '#/') draw();
});
window.addEventListener('hashchange', draw);
guarded(async () => {
  await start();
  await draw();
})();
