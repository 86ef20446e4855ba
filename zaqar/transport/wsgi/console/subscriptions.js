// SPDX-License-Identifier: Apache-2.0
// Subscriptions of a queue: whether their messages arrive, and why not.
import { call, markerOf, queuePath } from './client.js';
import { button, el, seconds, sure, table, tell } from './page.js';

const PAGE = 10;

function attempts(path, page, again) {
  const rows = (page?.attempts ?? []).map((one) => [
    one.at, one.attempt, one.outcome, one.http_status, one.error,
    one.next_attempt_at,
    one.outcome === 'given_up' ? button('Resend', async () => {
      const text = `Send the message of attempt ${one.attempt} at ${one.at} `
        + 'to this subscriber again, under the same id.';
      if (!await sure(text, 'Resend')) return;
      await call('POST', `${path}/attempts/${encodeURIComponent(one.id)}`
        + '/resend');
      tell('It is being sent again.');
      await again();
    }) : '',
  ]);
  return table(['At', 'Attempt', 'Outcome', 'Status', 'Error', 'Next', ''],
    rows);
}

function card(queue, one) {
  const path = `${queuePath(queue)}/subscriptions/${one.id}`;
  const place = el('div', {});
  async function look() {
    const [counts, page] = await Promise.all([
      call('GET', `${path}/deliveries`),
      call('GET', `${path}/attempts`),
    ]);
    const failure = counts.last_failure;
    place.replaceChildren(
      table(['Delivered', 'Repeated', 'Given up', 'Filtered', 'Pending',
        'Oldest pending', 'Last delivery'],
      [[counts.delivered, counts.retried, counts.given_up, counts.filtered,
        counts.pending, counts.oldest_pending_at, counts.last_delivery_at]]),
      el('p', { class: 'failure' }, failure
        ? `Last failure at ${failure.at}: ${failure.reason}` : 'No failure.'),
      attempts(path, page, look));
  }
  return el('article', {},
    el('h3', {}, one.subscriber),
    el('p', { class: 'hint' }, `${one.confirmed ? '' : 'Not '}confirmed · `
      + `${seconds(one.age)} old · lives ${seconds(one.ttl)} · ${one.id}`),
    button('Deliveries', look), place);
}

export async function list(queue, signal) {
  const place = el('div', { id: 'subscriptions' });
  const markers = [undefined];
  async function read() {
    const page = await call('GET', `${queuePath(queue)}/subscriptions`, {
      signal, query: { limit: PAGE, marker: markers.at(-1) },
    });
    const next = markerOf(page);
    const found = page?.subscriptions ?? [];
    place.replaceChildren(
      ...found.map((one) => card(queue, one)),
      found.length ? '' : el('p', {}, 'No subscriptions here.'),
      el('div', { class: 'row' },
        button('Back', () => { markers.pop(); return read(); },
          { disabled: markers.length < 2 }),
        button('Next', () => { markers.push(next); return read(); },
          { disabled: !next || found.length === 0 })));
  }
  await read();
  return [place];
}
