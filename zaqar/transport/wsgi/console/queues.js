// SPDX-License-Identifier: Apache-2.0
// The queues of the project, with what they hold.
import { call, markerOf, queuePath } from './client.js';
import {
  button, el, field, form, seconds, show, sure, tell,
} from './page.js';

const PERIOD = 15 * 60 * 1000;
const REFRESH = 5000;
const PAGE = 20;

// Depths of the last minutes, by queue: kept in this page alone.
const history = new Map();

const COLUMNS = [
  ['Name', (one) => one.name],
  ['Depth', (one) => one.stats?.messages.total],
  ['Free', (one) => one.stats?.messages.free],
  ['Claimed', (one) => one.stats?.messages.claimed],
  ['Delayed', (one) => one.stats?.messages.delayed],
  ['Oldest', (one) => one.stats?.oldest_free_age, seconds],
  ['In / min', (one) => one.stats?.rates.posted],
  ['Out / min', (one) => one.stats?.rates.deleted],
];

const shown = { column: 0, down: false, markers: [undefined], prefix: '' };

function remember(queues) {
  const now = Date.now();
  for (const one of queues) {
    if (!one.stats) continue;
    const past = history.get(one.name) ?? [];
    past.push([now, one.stats.messages.total]);
    history.set(one.name, past.filter(([at]) => now - at <= PERIOD));
  }
}

function trend(name) {
  const past = history.get(name) ?? [];
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 100 22');
  svg.setAttribute('role', 'img');
  const depths = past.map(([, depth]) => depth);
  svg.setAttribute('aria-label', depths.length
    ? `from ${depths[0]} to ${depths.at(-1)}` : 'unknown');
  const start = past[0]?.[0] ?? 0;
  const span = Math.max((past.at(-1)?.[0] ?? 0) - start, 1);
  const most = Math.max(...depths, 1);
  const line = document.createElementNS(space, 'polyline');
  line.setAttribute('points', past.map(([at, depth]) => (
    `${(100 * (at - start)) / span},${21 - (20 * depth) / most}`)).join(' '));
  svg.append(line);
  return svg;
}

function sorted(queues) {
  const value = COLUMNS[shown.column][1];
  const sign = shown.down ? -1 : 1;
  return [...queues].sort((a, b) => {
    const [one, other] = [value(a) ?? -1, value(b) ?? -1];
    if (one === other) return 0;
    return one < other ? -sign : sign;
  });
}

function head(place, draw) {
  const [text] = COLUMNS[place];
  const is = shown.column === place;
  const sort = button(text, () => {
    shown.down = is ? !shown.down : place > 0;
    shown.column = place;
    draw();
  }, { id: `sort-${place}` });
  return el('th', {
    scope: 'col',
    class: place > 0 && 'number',
    'aria-sort': is && (shown.down ? 'descending' : 'ascending'),
  }, sort);
}

function row(one) {
  const link = el('a', {
    href: `#/${encodeURIComponent(one.name)}/messages`,
  }, one.name);
  const cells = COLUMNS.slice(1).map(([, value, text]) => el('td',
    { class: 'number' }, String((text ?? ((it) => it ?? '–'))(value(one)))));
  return el('tr', {}, el('td', {}, link), ...cells,
    el('td', {}, trend(one.name)));
}

export async function list(signal) {
  const place = el('div', {});
  let page = { queues: [] };

  function draw() {
    const focused = document.activeElement?.id;
    const heads = COLUMNS.map((_, at) => head(at, draw));
    const rows = sorted(page.queues).map(row);
    const next = markerOf(page);
    place.replaceChildren(
      el('div', { class: 'wide' }, el('table', { id: 'queues' },
        el('thead', {}, el('tr', {}, ...heads,
          el('th', { scope: 'col' }, 'Depth, 15 min'))),
        el('tbody', {}, ...rows))),
      rows.length ? '' : el('p', {}, 'No queues here.'),
      el('div', { class: 'row' },
        button('Back', () => { shown.markers.pop(); return read(); },
          { disabled: shown.markers.length < 2, id: 'back' }),
        button('Next', () => { shown.markers.push(next); return read(); },
          { disabled: !next || rows.length < PAGE, id: 'next' })),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  async function read() {
    page = await call('GET', 'queues', {
      signal,
      query: {
        with_stats: true,
        limit: PAGE,
        marker: shown.markers.at(-1),
        prefix: shown.prefix,
      },
    });
    remember(page.queues);
    if (!signal.aborted) draw();
  }

  const prefix = field('Names that begin with', { value: shown.prefix });
  const name = field('New queue', {
    required: true, pattern: '[A-Za-z0-9_.\\-]{1,64}',
  });
  show(
    form(() => {
      shown.prefix = prefix.querySelector('input').value.trim();
      shown.markers = [undefined];
      return read();
    }, prefix, el('button', {}, 'Show')),
    place,
    form(async () => {
      const wanted = name.querySelector('input').value.trim();
      if (!await sure(`Create the queue "${wanted}".`, 'Create')) return;
      await call('PUT', queuePath(wanted));
      tell(`Queue "${wanted}" was created.`);
      await read();
    }, name, el('button', {}, 'Create')),
  );
  await read();
  const timer = setInterval(() => {
    if (!document.hidden) read().catch(() => {});
  }, REFRESH);
  signal.addEventListener('abort', () => clearInterval(timer));
}
