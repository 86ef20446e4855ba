// SPDX-License-Identifier: Apache-2.0
//
// Subscribe over a WebSocket, post a message, and wait for its push.
//
//   node client.mjs ws://127.0.0.1:9000 demo my-queue
//
// With Node 22 or newer; Node 20 needs --experimental-websocket. Without
// Keystone. With it, send "authenticate" with X-Auth-Token first.

import { randomUUID } from 'node:crypto';

const [url, project, queue] = process.argv.slice(2);
const headers = { 'Client-ID': randomUUID(), 'X-Project-ID': project };
const socket = new WebSocket(url);

function ask(action, body) {
  socket.send(JSON.stringify({ action, headers, body }));
}

socket.addEventListener('open', () => {
  ask('subscription_create', { queue_name: queue, ttl: 300 });
  ask('message_post', {
    queue_name: queue,
    messages: [{ ttl: 60, body: 'hello from Node' }],
  });
});

socket.addEventListener('message', ({ data }) => {
  const frame = JSON.parse(data);
  if (frame.request) {
    // An answer repeats its request; a push does not.
    console.log(`${frame.request.action}: ${frame.headers.status}`);
    return;
  }
  console.log(`pushed: ${JSON.stringify(frame.body)}`);
  socket.close();
});

socket.addEventListener('error', (event) => {
  console.error(`failed: ${event.message ?? 'no connection'}`);
  process.exitCode = 1;
});
