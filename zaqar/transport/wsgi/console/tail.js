// SPDX-License-Identifier: Apache-2.0
// The live tail of a queue: a stream over a WebSocket where the operator has
// named its server, else lists that wait, which pass whatever a browser may
// send requests through.
import {
  call, frameHeaders, markerOf, queuePath, socketUrl,
} from './client.js';
import { body, el, idOf } from './page.js';

// Messages that are shown at most.
const NEWEST = 200;

// Seconds for which a list waits for messages.
const WAIT = 20;

// Milliseconds before another attempt, and until one is given up.
const PAUSE = 2000;
const PATIENCE = 10000;

const ALL = { echo: true, include_claimed: true, include_delayed: true };

const pause = () => new Promise((resolve) => { setTimeout(resolve, PAUSE); });

// Follows a stream until it ends; resolves to whether it had begun.
function stream(queue, follower, signal) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(socketUrl(), 'zaqar-v2');
    const timer = setTimeout(() => socket.close(), PATIENCE);
    const close = () => socket.close();
    let begun = false;
    let fault;
    const send = (action, document) => socket.send(JSON.stringify(
      { action, headers: frameHeaders(), body: document }));
    signal.addEventListener('abort', close);
    socket.onopen = () => {
      // Requests are answered in order: no need to wait in between.
      if ('X-Auth-Token' in frameHeaders()) send('authenticate', {});
      send('message_stream',
        { queue_name: queue, marker: follower.marker, echo: true });
    };
    socket.onmessage = async (event) => {
      const frame = JSON.parse(event.data);
      if (frame.message) {
        follower.show(frame.message, frame.marker);
      } else if (!frame.request) {
        // The service has ended the stream.
        close();
      } else if (frame.headers.status === 401) {
        begun = true;
        close();
      } else if (frame.headers.status >= 400) {
        fault = new Error(`Refused (${frame.headers.status}): `
          + `${frame.body.error}`);
        close();
      } else if (frame.request.action === 'message_stream') {
        begun = true;
        clearTimeout(timer);
        follower.marker = frame.body.marker;
        follower.tell('Following by a stream.');
      }
    };
    socket.onclose = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', close);
      if (fault) reject(fault); else resolve(begun);
    };
  });
}

async function lists(queue, follower, signal) {
  const path = `${queuePath(queue)}/messages`;
  follower.tell('Following by lists that wait.');
  while (!signal.aborted) {
    const page = await call('GET', path, {
      signal, exact: true, query: { ...ALL, marker: follower.marker, wait: WAIT },
    });
    for (const message of page?.messages ?? []) {
      follower.show(message, idOf(message));
    }
    follower.marker = markerOf(page) ?? follower.marker;
  }
}

export async function tail(queue, signal) {
  const list = el('ol', { id: 'tail', reversed: true });
  const state = el('p', { role: 'status', id: 'following' });
  const stats = await call('GET', `${queuePath(queue)}/stats`, { signal });
  let count = 0;
  const follower = {
    marker: stats.messages.newest?.href.split('/').at(-1),
    tell(text) { state.textContent = text; },
    show(message, marker) {
      count += 1;
      const id = idOf(message);
      list.prepend(el('li', { value: count },
        el('code', {}, id), body(message.body, id)));
      if (list.children.length > NEWEST) list.lastChild.remove();
      follower.marker = marker;
    },
  };
  async function follow() {
    while (!signal.aborted && socketUrl()) {
      // A read first: it asks for a new token where that is needed.
      await call('GET', `${queuePath(queue)}/stats`, { signal });
      if (!await stream(queue, follower, signal)) break;
      if (signal.aborted) return;
      follower.tell('The stream has ended; connecting again.');
      await pause();
    }
    await lists(queue, follower, signal);
  }
  follow().catch((error) => {
    if (error.name !== 'AbortError') follower.tell(error.message);
  });
  return [
    state,
    el('p', { class: 'hint' }, 'New messages appear here as they come, the '
      + 'newest first. Nothing is taken from the queue.'),
    list,
  ];
}
