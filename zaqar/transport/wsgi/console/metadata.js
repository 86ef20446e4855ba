// SPDX-License-Identifier: Apache-2.0
// The metadata of a queue, and pre-signed URLs to it.
import { call, queuePath } from './client.js';
import { body, button, el, field, form, sure, tell } from './page.js';

// Key, what it is, its type and its least value. The service knows the
// greatest: operators choose it.
const RESERVED = [
  ['_default_message_ttl', 'Lifetime of messages, seconds', 'number', 60],
  ['_default_message_delay', 'Delay of messages, seconds', 'number', 0],
  ['_max_messages_post_size', 'Size of a post, bytes at most', 'number', 1],
  ['_max_messages', 'Messages at most; 0 for any number', 'number', 0],
  ['_default_claim_ttl', 'Lifetime of claims, seconds', 'number', 0],
  ['_default_wait', 'Claims wait, seconds', 'number', 0],
  ['_dedup_window', 'Duplicates are recognized for, seconds, at most 604800',
    'number', 0],
  ['_max_claim_count', 'Claims before a message is a dead letter', 'number',
    0],
  ['_dead_letter_queue', 'Queue for dead letters', 'text'],
  ['_dead_letter_queue_messages_ttl', 'Lifetime of dead letters, seconds',
    'number', 60],
  ['_enable_encrypt_messages', 'Encrypt messages', 'checkbox'],
];

function read(input) {
  if (input.type === 'checkbox') return input.checked;
  if (input.value === '') return null;
  return input.type === 'number' ? Number(input.value) : input.value;
}

export async function edit(queue, signal) {
  const present = await call('GET', queuePath(queue), { signal });
  const inputs = RESERVED.map(([key, text, type, min]) => {
    const value = present[key];
    const label = field(`${text} (${key})`, {
      type,
      min,
      step: type === 'number' && 1,
      name: key,
      maxlength: type === 'text' && 64,
      ...(type === 'checkbox' ? { checked: value === true } : { value }),
    });
    return label;
  });
  const save = async () => {
    const changes = inputs.map((label) => label.querySelector('input'))
      .map((input) => [input.name, read(input)])
      .filter(([key, value]) => value !== (present[key]
        ?? (typeof value === 'boolean' ? false : null)))
      .map(([key, value]) => (value === null
        ? { op: 'remove', path: `/metadata/${key}` }
        : { op: 'add', path: `/metadata/${key}`, value }));
    if (!changes.length) {
      tell('Nothing was changed.');
      return;
    }
    const lines = changes.map((one) => (one.op === 'remove'
      ? `unset ${one.path.slice(10)}`
      : `set ${one.path.slice(10)} to ${JSON.stringify(one.value)}`));
    const text = `Queue "${queue}": ${lines.join('; ')}.`;
    if (!await sure(text, 'Save')) return;
    // A queue that was never posted to has to exist first.
    await call('PUT', queuePath(queue));
    Object.assign(present, await call('PATCH', queuePath(queue),
      { document: changes }));
    tell('The metadata were changed.');
  };
  return [
    form(save, ...inputs, el('button', { id: 'save' }, 'Save')),
    el('h3', {}, 'All metadata'), body(present, `${queue}-metadata`),
    button('Delete the queue', async () => {
      const text = `Delete queue "${queue}" with all its messages and claims `
        + 'for good.';
      if (!await sure(text, 'Delete')) return;
      await call('DELETE', queuePath(queue));
      tell(`Queue "${queue}" was deleted.`);
      window.location.hash = '#/';
    }),
  ];
}

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

function command(share, path, method) {
  const url = new URL(path.slice(1), document.baseURI);
  const lines = [
    `curl -X ${quoted(method)} ${quoted(url)}`,
    ...[
      ['URL-Signature', share.signature], ['URL-Expires', share.expires],
      ['URL-Methods', share.methods.join(',')],
      ['URL-Paths', share.paths.join(',')], ['X-Project-ID', share.project],
      ['OpenStack-API-Version', 'messaging 2.1'],
      ['Content-Type', 'application/json'],
    ].map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    '-H "Client-ID: $(uuidgen)"',
  ];
  if (method === 'POST' && path.endsWith('/messages')) {
    lines.push(`-d ${quoted('{"messages": [{"body": "hello"}]}')}`);
  }
  return lines.join(' \\\n  ');
}

export async function share(queue) {
  const check = (name, value, text, checked) => el('label', {},
    el('input', { type: 'checkbox', name, value, checked }), ` ${text}`);
  const hours = field('Valid for, hours',
    { type: 'number', min: 1, value: 24, required: true });
  const place = el('div', { id: 'commands' });
  const make = async (event) => {
    const chosen = (name) => [...event.target.querySelectorAll(
      `input[name=${name}]:checked`)].map((one) => one.value);
    const [paths, methods] = [chosen('paths'), chosen('methods')];
    if (!paths.length || !methods.length) {
      throw new Error('Choose one collection and one method at least.');
    }
    const time = Number(hours.querySelector('input').value) * 3600000;
    const expires = new Date(Date.now() + time).toISOString().slice(0, 19);
    const text = `Whoever has the URL may ${methods.join(', ')} the `
      + `${paths.join(', ')} of queue "${queue}" until ${expires} UTC. `
      + 'It cannot be taken back alone.';
    if (!await sure(text, 'Make it')) return;
    const made = await call('POST', `${queuePath(queue)}/share`,
      { document: { paths, methods, expires } });
    place.replaceChildren(...made.paths.flatMap((path) => (
      made.methods.map((method) => el('pre', { tabindex: '0' },
        command(made, path, method))))));
  };
  return [
    form(make,
      el('fieldset', {}, el('legend', {}, 'Collections'),
        check('paths', 'messages', 'messages', true),
        check('paths', 'claims', 'claims'),
        check('paths', 'subscriptions', 'subscriptions')),
      el('fieldset', {}, el('legend', {}, 'Methods'),
        check('methods', 'GET', 'GET (read)', true),
        check('methods', 'POST', 'POST (add)'),
        check('methods', 'PATCH', 'PATCH (change)'),
        check('methods', 'DELETE', 'DELETE (remove)')),
      hours, el('button', { id: 'share' }, 'Make a pre-signed URL')),
    place,
  ];
}
