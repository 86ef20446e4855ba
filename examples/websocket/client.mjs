// SPDX-License-Identifier: Apache-2.0
//
// A worker: wait for messages of a queue over a WebSocket, print each and
// delete it. With a text, post that first.
//
//   node client.mjs ws://127.0.0.1:9000 demo my-queue hello
//
// With Node 22 or newer; Node 20 needs --experimental-websocket. Without
// Keystone. With it, call "authenticate" with X-Auth-Token in the headers
// first.

import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';

let [url, project, queue, text] = process.argv.slice(2);
const client = randomUUID();

// Connect; return a function that sends a request and resolves to its answer.
async function connect() {
  const socket = new WebSocket(url);
  const pending = new Map();

  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error('no connection'));
  });
  socket.onmessage = ({ data }) => {
    // A request that waits is answered after later ones: the id tells them
    // apart.
    const { headers, body } = JSON.parse(data);
    const { resolve, reject } = pending.get(headers.request_id);
    pending.delete(headers.request_id);
    if (headers.status < 400) resolve(body);
    else reject(Object.assign(new Error(body.error), headers));
  };
  socket.onclose = ({ code }) => {
    for (const { reject } of pending.values()) {
      reject(new Error(`closed: ${code}`));
    }
  };

  return (action, body) => new Promise((resolve, reject) => {
    const id = randomUUID();
    const headers = {
      'Client-ID': client,
      'X-Project-ID': project,
      'OpenStack-API-Version': 'messaging 2.1',
      'request_id': id,
    };
    pending.set(id, { resolve, reject });
    socket.send(JSON.stringify({ action, headers, body }));
  });
}

async function work(call) {
  for (;;) {
    const { claim_id, messages = [] } = await call(
      'claim_create', { queue_name: queue, wait: 60 });
    for (const { id, body } of messages) {
      console.log(`received: ${JSON.stringify(body)}`);
      await call('message_delete', {
        queue_name: queue, message_id: id, claim_id });
    }
  }
}

async function post(call) {
  if (!text) return;
  const messages = [{ body: text }];
  await call('message_post', { queue_name: queue, messages });
  console.log(`posted: ${text}`);
  text = '';
}

for (;;) {
  try {
    const call = await connect();
    await Promise.all([work(call), post(call)]);
  } catch (error) {
    if (error.status < 500) throw error;
    // What was claimed is free again when the claim ends.
    console.error(`${error.message}; connecting again in 2 s`);
    await setTimeout(2000);
  }
}
