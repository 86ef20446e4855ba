// SPDX-License-Identifier: Apache-2.0
// Messages of a queue: browse, post, delete; dead letters.
import { call, limits, nextOf, queuePath } from './client.js';
import {
  body, button, el, field, form, idOf, seconds, sure, table, tell,
} from './page.js';

// Milliseconds between two looks at a redrive that is under way.
const LOOK = 1000;

// Messages of a page, unless the operator allows for fewer.
const PAGE = 10;

const FREE = { echo: true, include_claimed: false, include_delayed: false };
const ALL = { echo: true, include_claimed: true, include_delayed: true };

function stateOf(message, free) {
  if (message.visible_at) return `delayed until ${message.visible_at}`;
  return free.has(idOf(message)) ? 'not claimed' : 'claimed now';
}

function card(queue, message, free, again) {
  const id = idOf(message);
  const path = `${queuePath(queue)}/messages/${id}`;
  const facts = [
    `${seconds(message.age)} old`, `lives ${seconds(message.ttl)}`,
    `claimed ${message.claim_count === 1 ? 'once'
      : `${message.claim_count} times`}`,
    message.group && `group ${message.group}`,
  ];
  const state = stateOf(message, free);
  const letter = message.dead_letter;
  const why = el('div', { class: 'why', role: 'status' });
  return el('article', { id: `m-${id}` },
    el('h3', {}, el('code', {}, id), ' ',
      el('span', { class: 'state' }, state)),
    el('p', { class: 'hint' }, facts.filter(Boolean).join(' · ')),
    letter ? el('p', { class: 'letter' },
      `Dead letter of "${letter.queue}": ${letter.reason}, after `
      + `${letter.claim_count} claims, at ${letter.at}`) : null,
    body(message.body, id),
    el('div', { class: 'row' },
      button('Explain', async () => {
        const said = await call('GET', `${path}/explain`);
        why.textContent = `State: ${said.state}; `
          + `${said.claimable ? '' : 'not '}claimable. `
          + said.because.join(' ');
      }),
      button('Delete', async () => {
        const text = `Delete message ${id} of queue "${queue}" for good.`;
        if (!await sure(text, 'Delete')) return;
        await call('DELETE', path);
        tell(`Message ${id} was deleted.`);
        await again();
      })),
    why);
}

// Shows a queue page by page; what is free is a second list of the same place.
function browser(queue, signal, chosen = () => true, nothing = 'None here.') {
  const place = el('div', { id: 'messages' });
  const markers = [undefined];
  const limit = Math.min(PAGE, limits().max_messages_per_page);
  const list = (query) => call('GET', `${queuePath(queue)}/messages`, {
    signal, exact: true, query: { ...query, limit, marker: markers.at(-1) },
  });
  async function read() {
    const [page, unclaimed] = await Promise.all([list(ALL), list(FREE)]);
    const free = new Set((unclaimed?.messages ?? []).map(idOf));
    const messages = page?.messages ?? [];
    const next = nextOf(page, messages, limit);
    place.replaceChildren(
      ...messages.filter(chosen).map((one) => card(queue, one, free, read)),
      messages.some(chosen) ? '' : el('p', {}, nothing),
      el('div', { class: 'row' },
        button('Back', () => { markers.pop(); return read(); },
          { disabled: markers.length < 2 }),
        button('Next', () => { markers.push(next); return read(); },
          { disabled: !next }),
        button('Refresh', read),
        form(() => {
          const marker = jump.querySelector('input').value.trim();
          if (marker) markers.push(marker);
          else markers.splice(0, markers.length, undefined);
          return read();
        }, jump, el('button', {}, 'Go'))));
  }
  const jump = field('After the marker or message');
  return [place, read];
}

function poster(queue, again) {
  const content = field('Body, as JSON', { required: true }, 'textarea');
  const ttl = field('Lifetime in seconds (default of the queue)',
    { type: 'number', min: 1 });
  const delay = field('Delay in seconds', { type: 'number', min: 0 });
  return el('details', {}, el('summary', {}, 'Post a message'),
    form(async () => {
      const text = content.querySelector('textarea').value;
      let value;
      try { value = JSON.parse(text); } catch {
        throw new Error('The body is not JSON. A text needs quotes: "text".');
      }
      const message = { body: value };
      for (const [name, label] of [['ttl', ttl], ['delay', delay]]) {
        const number = label.querySelector('input').value;
        if (number !== '') message[name] = Number(number);
      }
      const text2 = `Post one message to queue "${queue}", where its `
        + 'consumers and subscribers get it.';
      if (!await sure(text2, 'Post')) return;
      await call('POST', `${queuePath(queue)}/messages`,
        { document: { messages: [message] } });
      tell('The message was posted.');
      await again();
    }, content, ttl, delay, el('button', {}, 'Post')));
}

export async function browse(queue, signal) {
  const [place, read] = browser(queue, signal);
  await read();
  return [
    poster(queue, read), place,
    button('Purge the queue', async () => {
      const text = `Delete all messages of queue "${queue}" for good, `
        + 'claimed and delayed ones as well. The queue and its '
        + 'subscriptions stay.';
      if (!await sure(text, 'Purge')) return;
      await call('POST', `${queuePath(queue)}/purge`,
        { document: { resource_types: ['messages'] } });
      tell(`Queue "${queue}" was purged.`);
      await read();
    }),
  ];
}

// Says where the dead letters of a queue go, and leads there.
async function destination(queue, signal) {
  const metadata = await call('GET', queuePath(queue), { signal });
  const name = metadata._dead_letter_queue;
  if (!name) return '';
  return el('p', { class: 'verdict' }, `The dead letters of "${queue}" are in `,
    el('a', { href: `#/${encodeURIComponent(name)}/dead` }, name), '.');
}

// Shows the redrives of a queue, until none is under way.
function history(queue, signal) {
  const place = el('div', { id: 'redrives' });
  async function look() {
    const { redrives } = await call('GET', `${queuePath(queue)}/redrives`,
      { signal });
    place.replaceChildren(redrives.length ? table('Redrives',
      ['Started', 'Status', 'Redriven', 'Matched', 'Error', ''],
      redrives.map((one) => [
        one.started_at, one.status, one.moved, one.matched, one.error,
        one.status === 'running' ? button('Stop this redrive', async () => {
          const text = 'Stop this redrive. What was redriven stays where it is '
            + 'now.';
          if (!await sure(text, 'Stop it')) return;
          await call('DELETE', `${queuePath(queue)}/redrives/${one.id}`);
          await look();
        }) : '',
      ])) : el('p', {}, 'None yet.'));
    return redrives.some((one) => one.status === 'running');
  }
  async function follow() {
    while (!signal.aborted && await look()) {
      await new Promise((resolve) => { setTimeout(resolve, LOOK); });
    }
  }
  return [place, follow];
}

export async function deadLetters(queue, signal) {
  const [place, read] = browser(queue, signal, (one) => one.dead_letter,
    `No dead letters on this page of "${queue}".`);
  const [past, follow] = history(queue, signal);
  const to = field('To queue',
    { placeholder: 'each to where it came from', size: 24 });
  const source = field('Only from queue', { placeholder: 'all' });
  const reason = field('Only of reason', { placeholder: 'all' });
  const any = { type: 'number', min: 1, placeholder: 'no limit' };
  const limit = field('At most', any);
  const rate = field('Messages a second', any);
  const said = el('p', { id: 'dry', role: 'status' });
  const valueOf = (label) => label.querySelector('input').value.trim();
  function wanted() {
    const [target, from, why, most, speed] = [
      to, source, reason, limit, rate].map(valueOf);
    const filter = {
      ...(from && { source: from }), ...(why && { reason: why }),
    };
    return {
      ...(target && { to: target }),
      ...(most && { limit: Number(most) }),
      ...(speed && { rate: Number(speed) }),
      ...(Object.keys(filter).length && { filter }),
    };
  }
  async function dry() {
    const count = await call('POST', `${queuePath(queue)}/redrive`,
      { document: { ...wanted(), dry_run: true } });
    const target = wanted().to;
    return `${count.complete ? '' : 'at least '}${count.matched} of `
      + `${count.scanned} messages that were looked at, `
      + `${target ? `to "${target}"` : 'each to where it came from'}`;
  }
  const showDry = async () => {
    said.textContent = `Would redrive ${await dry()}.`;
  };
  const [where] = await Promise.all(
    [destination(queue, signal), read(), follow()]);
  return [
    where,
    el('h3', {}, 'Redrive dead letters'),
    form(async () => {
      const text = `Redrive from "${queue}" ${await dry()}. `
        + 'There they are handed out anew.';
      if (!await sure(text, 'Redrive')) return;
      const { redrive_id: id } = await call('POST',
        `${queuePath(queue)}/redrive`, { document: wanted() });
      said.textContent = '';
      tell(`Redrive ${id} was started.`);
      await follow();
      tell(`Redrive ${id} was started, and has ended.`);
      await read();
    }, to, source, reason, limit, rate,
    button('Dry run', showDry, { id: 'dry-run' }),
    el('button', { id: 'redrive' }, 'Redrive')),
    said, el('h3', {}, 'Redrives'), past,
    el('h3', {}, 'Dead letters'), place,
  ];
}
