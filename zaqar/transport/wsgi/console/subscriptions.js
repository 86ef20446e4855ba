// SPDX-License-Identifier: Apache-2.0
// Subscriptions of a queue: whether their messages arrive, and why not.
import {
  call, limits, needsConfirmation, nextOf, queuePath,
} from './client.js';
import { button, el, seconds, sure, table, tell } from './page.js';

// Subscriptions of a page, unless the operator allows for fewer.
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
  return table('Attempts', ['At', 'Attempt', 'Outcome', 'Status', 'Error', 'Next', ''],
    rows);
}

// Says in a sentence what becomes of messages for a subscriber.
function verdict(one, counts) {
  const waits = counts.pending ? ` ${counts.pending} wait, the oldest since `
    + `${counts.oldest_pending_at}.` : '';
  const failure = counts.last_failure;
  const last = counts.last_delivery_at;
  if (needsConfirmation(one.subscriber) && !one.confirmed) {
    const why = failure ? ` The request has failed: ${failure.reason}.` : '';
    return 'Gets nothing: it has not been confirmed. The subscriber was sent a '
      + `request for confirmation, and has to answer it.${why}`;
  }
  if (failure && !(last > failure.at)) {
    const count = counts.given_up;
    const lost = count ? ` ${count} ${count === 1 ? 'message was'
      : 'messages were'} given up.` : '';
    return `Fails: ${failure.reason} (at ${failure.at}).${lost}${waits}`;
  }
  if (last) return `Gets messages, the last one at ${last}.${waits}`;
  if (counts.filtered) {
    return `Got nothing yet: its filter left out ${counts.filtered} `
      + `messages.${waits}`;
  }
  return `Nothing was sent to it yet.${waits}`;
}

function card(queue, one) {
  const path = `${queuePath(queue)}/subscriptions/${one.id}`;
  const said = el('p', { class: 'verdict' }, 'Reading …');
  const figures = el('div', {});
  const tries = el('div', {});
  async function look() {
    const counts = await call('GET', `${path}/deliveries`);
    said.textContent = verdict(one, counts);
    const failure = counts.last_failure;
    figures.replaceChildren(
      table('Deliveries', ['Delivered', 'Repeated', 'Given up', 'Filtered',
        'Pending', 'Oldest pending', 'Last delivery'],
      [[counts.delivered, counts.retried, counts.given_up, counts.filtered,
        counts.pending, counts.oldest_pending_at, counts.last_delivery_at]]),
      el('p', { class: 'failure' }, failure
        ? `Last failure at ${failure.at}: ${failure.reason}`
        : 'No failure.'));
  }
  async function lookCloser() {
    const [page] = await Promise.all([call('GET', `${path}/attempts`), look()]);
    tries.replaceChildren(page?.attempts.length
      ? attempts(path, page, lookCloser) : el('p', {}, 'No attempts.'));
  }
  const { _filter: filter } = one.options ?? {};
  const node = el('article', {},
    el('h3', {}, one.subscriber), said,
    el('p', { class: 'hint' },
      `${seconds(one.age)} old · lives ${seconds(one.ttl)} · ${one.id}`),
    filter ? el('p', {}, `Filter: ${JSON.stringify(filter)}`) : null,
    figures,
    button('Attempts', lookCloser,
      { 'aria-label': `Attempts for ${one.subscriber}` }),
    tries);
  return [node, look];
}

export async function list(queue, signal) {
  const place = el('div', { id: 'subscriptions' });
  const markers = [undefined];
  const limit = Math.min(PAGE, limits().max_subscriptions_per_page);
  async function read() {
    const page = await call('GET', `${queuePath(queue)}/subscriptions`, {
      signal, query: { limit, marker: markers.at(-1) },
    });
    const subscriptions = page?.subscriptions ?? [];
    const next = nextOf(page, subscriptions, limit, (one) => one.id);
    const cards = subscriptions.map((one) => card(queue, one));
    place.replaceChildren(
      ...cards.map(([node]) => node),
      cards.length ? '' : el('p', {}, 'No subscriptions here.'),
      el('div', { class: 'row' },
        button('Back', () => { markers.pop(); return read(); },
          { disabled: markers.length < 2 }),
        button('Next', () => { markers.push(next); return read(); },
          { disabled: !next }),
        button('Refresh', read)));
    await Promise.all(cards.map(([, look]) => look()));
  }
  await read();
  return [place];
}
