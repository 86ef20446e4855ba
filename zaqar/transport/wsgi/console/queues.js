// SPDX-License-Identifier: Apache-2.0
// The queues of the project, with what they hold.
import { call, limits, nextOf, queuePath } from './client.js';
import {
  button, el, field, form, seconds, show, sure, tell, wide,
} from './page.js';

const PERIOD = 15 * 60 * 1000;
const REFRESH = 5000;
const PAGE = 20;

// Milliseconds after which what was seen tells more than rates.
const SEEN = 8000;

// Queues that are read to be sorted all together, and how often they are.
const MOST = 2000;
const REFRESH_OF_ALL = 60000;

// Milliseconds to the second time, which shows which ones grow.
const FIRST_REFRESH_OF_ALL = 10000;

// Depths of the last minutes, by queue: kept in this page alone.
const history = new Map();

// By how many messages it grows in a minute: as this page has seen it, or by
// the rates before it has seen enough.
function growth(one) {
  const past = history.get(one.name) ?? [];
  const [first, last] = [past[0], past.at(-1)];
  const time = last ? last[0] - first[0] : 0;
  if (time >= SEEN) return Math.round((last[1] - first[1]) * (60000 / time));
  const { posted, deleted } = one.stats?.rates ?? {};
  const isKnown = Number.isFinite(posted) && Number.isFinite(deleted);
  return isKnown ? Math.round(posted - deleted) : undefined;
}

const signed = (count) => {
  if (count === undefined) return '–';
  return count > 0 ? `+${count}` : String(count);
};

const COLUMNS = [
  ['Name', (one) => one.name],
  ['Depth', (one) => one.stats?.messages.total],
  ['Free', (one) => one.stats?.messages.free],
  ['Claimed', (one) => one.stats?.messages.claimed],
  ['Delayed', (one) => one.stats?.messages.delayed],
  ['Oldest', (one) => one.stats?.oldest_free_age, seconds],
  ['In / min', (one) => one.stats?.rates.posted],
  ['Out / min', (one) => one.stats?.rates.deleted],
  ['Growth / min', growth, signed],
];

const shown = {
  column: 0, down: false, markers: [undefined], prefix: '', all: false, page: 0,
};

// Lets the next list begin with the first of all queues.
export function forget() {
  Object.assign(shown, { markers: [undefined], prefix: '', page: 0 });
}

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
    const [one, other] = [value(a) ?? -Infinity, value(b) ?? -Infinity];
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
    shown.page = 0;
    draw();
  }, { id: `sort-${place}` });
  return el('th', {
    scope: 'col',
    class: place > 0 && 'number',
    'aria-sort': is && (shown.down ? 'descending' : 'ascending'),
  }, sort);
}

function row(one) {
  // The id keeps the focus there when the list is drawn anew.
  const link = el('a', {
    href: `#/${encodeURIComponent(one.name)}/messages`,
    id: `q-${one.name}`,
  }, one.name);
  const cells = COLUMNS.slice(1).map(([, value, text]) => el('td',
    { class: 'number' }, String((text ?? ((it) => it ?? '–'))(value(one)))));
  return el('tr', {}, el('td', {}, link), ...cells,
    el('td', {}, trend(one.name)));
}

export async function list(signal) {
  const place = el('div', {});
  let queues = [];
  let next;
  let isCut = false;
  let readings = 0;
  let begun = 0;
  let isNew = false;
  let timer;

  // All queues together, or page by page.
  function extent() {
    if (!shown.all) {
      return ['The heads of columns sort this page.',
        button('Sort all queues', () => {
          shown.all = true;
          readings = 0;
          return read();
        }, {
          disabled: shown.markers.length < 2 && !next,
          id: 'all',
        })];
    }
    const many = queues.length === 1 ? '1 queue' : `${queues.length} queues`;
    const when = isNew ? 'Growth is shown after the next reading, in 10 s.'
      : 'They are read again every minute.';
    return [
      `${isCut ? 'The first ' : ''}${many}, sorted all together. ${when}`,
      button('Page by page', () => {
        shown.all = false;
        return read();
      }, { id: 'all' }),
    ];
  }

  // Leads to other pages of what is shown.
  function turns() {
    if (!shown.all) {
      return [
        button('Back', () => { shown.markers.pop(); return read(); },
          { disabled: shown.markers.length < 2, id: 'back' }),
        button('Next', () => { shown.markers.push(next); return read(); },
          { disabled: !next, id: 'next' }),
      ];
    }
    const last = Math.ceil(queues.length / PAGE) - 1;
    return [
      button('Back', () => { shown.page -= 1; draw(); },
        { disabled: shown.page < 1, id: 'back' }),
      button('Next', () => { shown.page += 1; draw(); },
        { disabled: shown.page >= last, id: 'next' }),
    ];
  }

  function draw() {
    const focused = document.activeElement?.id;
    const heads = COLUMNS.map((_, at) => head(at, draw));
    const first = shown.all ? shown.page * PAGE : 0;
    const rows = sorted(queues).slice(first, first + PAGE).map(row);
    place.replaceChildren(
      el('div', { class: 'row', id: 'extent' }, ...extent()),
      wide('Queues', el('table', { id: 'queues' },
        el('thead', {}, el('tr', {}, ...heads,
          el('th', { scope: 'col' }, 'Depth, 15 min'))),
        el('tbody', {}, ...rows))),
      rows.length ? '' : el('p', {}, 'No queues here.'),
      el('div', { class: 'row' }, ...turns()),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  const limit = Math.min(PAGE, limits().max_queues_per_page);
  const following = (one) => nextOf(one, one.queues, limit, (it) => it.name);
  const page = (marker) => call('GET', 'queues', {
    signal,
    query: {
      with_stats: true,
      limit,
      marker,
      prefix: shown.prefix,
    },
  });

  async function everything() {
    const all = [];
    let marker;
    do {
      const one = await page(marker);
      all.push(...one.queues);
      marker = following(one);
      tell(`${all.length} queues were read.`);
    } while (marker && all.length < MOST && !signal.aborted);
    isCut = Boolean(marker);
    tell('');
    return all;
  }

  async function read() {
    clearTimeout(timer);
    begun += 1;
    const number = begun;
    const { all } = shown;
    const one = all ? { queues: await everything() }
      : await page(shown.markers.at(-1));
    // What was asked for since then is shown, whichever is answered last.
    if (signal.aborted || number !== begun) return;
    if (all) readings += 1;
    else next = following(one);
    queues = one.queues;
    remember(queues);
    isNew = readings === 1 && queues.some((it) => growth(it) === undefined);
    draw();
    again();
  }

  function pause() {
    if (!shown.all) return REFRESH;
    return isNew ? FIRST_REFRESH_OF_ALL : REFRESH_OF_ALL;
  }

  function again() {
    timer = setTimeout(() => {
      if (document.hidden) again();
      else read().catch(() => { if (!signal.aborted) again(); });
    }, pause());
  }

  const prefix = field('Names that begin with', { value: shown.prefix });
  const name = field('New queue', {
    required: true, pattern: '[A-Za-z0-9_.\\-]{1,64}',
  });
  show(
    form(() => {
      shown.prefix = prefix.querySelector('input').value.trim();
      shown.markers = [undefined];
      shown.page = 0;
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
  signal.addEventListener('abort', () => clearTimeout(timer));
  await read();
}
