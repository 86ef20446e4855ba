// SPDX-License-Identifier: Apache-2.0
// Messages of a queue: browse, post, delete, follow; dead letters.
import { call, markerOf, queuePath } from './client.js';
import {
  body, button, el, field, form, seconds, sure, table, tell,
} from './page.js';

const PAGE = 10;

// Messages that a tail shows at most.
const NEWEST = 200;

// Seconds for which a list waits for messages.
const WAIT = 20;

const ALL = { echo: true, include_claimed: true, include_delayed: true };

const idOf = (message) => (
  message.id ?? message.href.split('?')[0].split('/').at(-1));

function card(queue, message, again) {
  const id = idOf(message);
  const path = `${queuePath(queue)}/messages/${id}`;
  const facts = [
    `${seconds(message.age)} old`, `lives ${seconds(message.ttl)}`,
    `claimed ${message.claim_count} times`,
    message.group && `group ${message.group}`,
    message.visible_at && `delayed until ${message.visible_at}`,
  ];
  const letter = message.dead_letter;
  const why = el('div', { class: 'why', role: 'status' });
  return el('article', {},
    el('h3', {}, el('code', {}, id)),
    el('p', { class: 'hint' }, facts.filter(Boolean).join(' · ')),
    letter ? el('p', { class: 'letter' },
      `Dead letter of "${letter.queue}": ${letter.reason}, after `
      + `${letter.claim_count} claims, at ${letter.at}`) : null,
    body(message.body, id),
    el('div', { class: 'row' },
      button('Explain', async () => {
        const said = await call('GET', `${path}/explain`);
        const claim = said.claim
          ? ` Claim ${said.claim.id} ends at ${said.claim.ends_at}.` : '';
        why.textContent = `State: ${said.state}; `
          + `${said.claimable ? '' : 'not '}claimable. `
          + `${said.because.join(' ')}${claim}`;
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

function browser(queue, signal, chosen = () => true) {
  const place = el('div', { id: 'messages' });
  const markers = [undefined];
  async function read() {
    const page = await call('GET', `${queuePath(queue)}/messages`, {
      signal, query: { ...ALL, limit: PAGE, marker: markers.at(-1) },
    });
    const messages = page?.messages ?? [];
    const next = markerOf(page);
    place.replaceChildren(
      ...messages.filter(chosen).map((one) => card(queue, one, read)),
      messages.some(chosen) ? '' : el('p', {}, 'None on this page.'),
      el('div', { class: 'row' },
        button('Back', () => { markers.pop(); return read(); },
          { disabled: markers.length < 2 }),
        button('Next', () => { markers.push(next); return read(); },
          { disabled: !next || messages.length === 0 }),
        button('Again', read)));
  }
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

export async function deadLetters(queue, signal) {
  const [place, read] = browser(queue, signal, (one) => one.dead_letter);
  const past = el('div', {});
  async function redrives() {
    const answer = await call('GET', `${queuePath(queue)}/redrives`,
      { signal });
    past.replaceChildren(table(
      ['Started', 'Status', 'Moved', 'Matched', 'Error'],
      answer.redrives.map((one) => [
        one.started_at, one.status, one.moved, one.matched, one.error])));
  }
  const to = field('To queue (each to where it came from)');
  const reason = field('Only of reason');
  const limit = field('At most', { type: 'number', min: 1 });
  const said = el('p', { id: 'dry', role: 'status' });
  function wanted() {
    const [target, why, most] = [to, reason, limit].map(
      (one) => one.querySelector('input').value.trim());
    return {
      ...(target && { to: target }),
      ...(most && { limit: Number(most) }),
      ...(why && { filter: { reason: why } }),
    };
  }
  async function dry() {
    const found = await call('POST', `${queuePath(queue)}/redrive`,
      { document: { ...wanted(), dry_run: true } });
    return `${found.complete ? '' : 'at least '}${found.matched} of `
      + `${found.scanned} messages that were looked at`;
  }
  const showDry = async () => {
    said.textContent = `Would move ${await dry()}.`;
  };
  await Promise.all([read(), redrives()]);
  return [
    form(async () => {
      const count = await dry();
      const text = `Move ${count} from "${queue}" to `
        + `${wanted().to ? `"${wanted().to}"` : 'where they came from'}. `
        + 'There they are handed out anew.';
      if (!await sure(text, 'Redrive')) return;
      const { redrive_id: id } = await call('POST',
        `${queuePath(queue)}/redrive`, { document: wanted() });
      tell(`Redrive ${id} was started.`);
      await redrives();
    }, to, reason, limit, button('Dry run', showDry, { id: 'dry-run' }),
    el('button', { id: 'redrive' }, 'Redrive')),
    said, el('h3', {}, 'Redrives'), past,
    button('Look again', () => Promise.all([read(), redrives()])),
    el('h3', {}, 'Dead letters'), place,
  ];
}

// Lists that wait: they pass whatever a browser may send requests through.
export async function tail(queue, signal) {
  const list = el('ol', { id: 'tail' });
  const state = el('p', { role: 'status' }, 'Waiting for new messages.');
  const stats = await call('GET', `${queuePath(queue)}/stats`, { signal });
  let marker = stats.messages.newest?.href.split('/').at(-1);
  const path = `${queuePath(queue)}/messages`;
  async function follow() {
    while (!signal.aborted) {
      const page = await call('GET', path, {
        signal,
        query: { ...ALL, marker, wait: WAIT },
      });
      for (const message of page?.messages ?? []) {
        list.prepend(el('li', {}, body(message.body, idOf(message))));
        if (list.children.length > NEWEST) list.lastChild.remove();
      }
      marker = markerOf(page) ?? marker;
      const last = page?.messages?.at(-1);
      if (last && !markerOf(page)) marker = idOf(last);
    }
  }
  follow().catch((error) => {
    if (error.name !== 'AbortError') state.textContent = error.message;
  });
  return [state, list];
}
