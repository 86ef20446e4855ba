// SPDX-License-Identifier: Apache-2.0
// The metadata of a queue, and pre-signed URLs to it.
import { call, limits, queuePath, uuid } from './client.js';
import { body, button, el, field, form, sure, tell } from './page.js';

// Key, what it is, its type, its unit, its least value, and its greatest: a
// number, or the name of the operator's limit.
const RESERVED = [
  ['_default_message_ttl', 'Lifetime of messages', 'number', 'seconds', 60,
    'max_message_ttl'],
  ['_default_message_delay', 'Delay of messages', 'number', 'seconds', 0,
    'max_message_delay'],
  ['_max_messages_post_size', 'Size of a post', 'number', 'bytes', 1,
    'max_messages_post_size'],
  ['_max_messages', 'Messages in the queue; 0: any number', 'number',
    'messages', 0],
  ['_default_claim_ttl', 'Lifetime of claims', 'number', 'seconds', 0,
    'max_claim_ttl'],
  ['_default_wait', 'Claims wait for messages', 'number', 'seconds', 0,
    'max_wait'],
  ['_dedup_window', 'Duplicates are recognized for', 'number', 'seconds', 0,
    604800],
  ['_max_claim_count', 'Claims before a message is a dead letter', 'number',
    'claims', 0],
  ['_dead_letter_queue', 'Queue for dead letters', 'text',
    'name of another queue'],
  ['_dead_letter_queue_messages_ttl', 'Lifetime of dead letters', 'number',
    'seconds', 60, 'max_message_ttl'],
  ['_retry_policy', 'How deliveries to subscribers are repeated', 'json',
    'JSON object'],
  ['_enable_encrypt_messages', 'Encrypt messages', 'checkbox', 'on or off'],
];

const inputOf = (label) => label.querySelector('input, textarea');

function read(input) {
  if (input.type === 'checkbox') return input.checked;
  if (input.value.trim() === '') return null;
  if (input.type === 'number') return Number(input.value);
  if (input.type !== 'textarea') return input.value;
  try { return JSON.parse(input.value); } catch {
    throw new Error(`${input.name} is not JSON.`);
  }
}

function range(unit, least, most) {
  if (least === undefined) return unit;
  if (most === undefined) return `${unit}, at least ${least}`;
  return `${unit}, ${least} to ${most}`;
}

function entry([key, text, type, unit, least, bound], value) {
  const most = typeof bound === 'string' ? limits()[bound] : bound;
  const isJson = type === 'json';
  const label = field(`${text} (${range(unit, least, most)})`, {
    name: key,
    ...(!isJson && { type }),
    ...(type === 'number' && { min: least, max: most, step: 1 }),
    ...(type === 'text' && { maxlength: 64 }),
    ...(type === 'checkbox' ? { checked: value === true } : {}),
    ...(type === 'number' || type === 'text' ? { value } : {}),
  }, isJson ? 'textarea' : 'input');
  if (isJson && value !== undefined && value !== null) {
    inputOf(label).value = JSON.stringify(value);
  }
  label.append(el('code', { class: 'hint' }, key));
  return label;
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

export async function edit(queue, signal) {
  const present = await call('GET', queuePath(queue), { signal });
  const inputs = RESERVED.map((row) => entry(row, present[row[0]]));
  const save = async () => {
    const changes = inputs.map(inputOf)
      .map((input) => [input.name, read(input)])
      .filter(([key, value]) => !same(value, present[key]
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
    const changed = await call('PATCH', queuePath(queue),
      { document: changes });
    for (const key of Object.keys(present)) delete present[key];
    Object.assign(present, changed);
    whole.replaceChildren(body(present, `${queue}-metadata`));
    tell('The metadata were changed.');
  };
  const whole = el('div', {}, body(present, `${queue}-metadata`));
  return [
    el('p', { class: 'hint' }, 'An empty field means the default. The service '
      + 'shows the default of what is not set.'),
    form(save, ...inputs, el('button', { id: 'save' }, 'Save')),
    el('h3', {}, 'All metadata'), whole,
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

// What can be done with a collection by one command: a method, words after the
// path, and a body.
const COMMANDS = {
  messages: [
    ['GET', '?echo=true'],
    ['POST', '', { messages: [{ body: 'hello', ttl: 3600 }] }],
    ['DELETE', '?pop=1'],
  ],
  claims: [['POST', '?limit=1', { ttl: 300, grace: 60 }]],
  subscriptions: [
    ['GET', ''],
    ['POST', '', { subscriber: 'https://example.org/hook', ttl: 3600 }],
  ],
};

function command(share, client, path, [method, query, document]) {
  const url = new URL(path.slice(1) + query, window.document.baseURI);
  return [
    `curl -X ${method} ${quoted(url)}`,
    ...[
      ['URL-Signature', share.signature], ['URL-Expires', share.expires],
      ['URL-Methods', share.methods.join(',')],
      ['URL-Paths', share.paths.join(',')], ['X-Project-ID', share.project],
      ['OpenStack-API-Version', 'messaging 2.1'], ['Client-ID', client],
      ['Content-Type', 'application/json'],
    ].map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    ...(document ? [`-d ${quoted(JSON.stringify(document))}`] : []),
  ].join(' \\\n  ');
}

function commands(share) {
  const client = uuid();
  const texts = share.paths.flatMap((path) => (
    COMMANDS[path.split('/').at(-1)]
      .filter(([method]) => share.methods.includes(method))
      .map((one) => command(share, client, path, one))));
  return [
    ...texts.map((text) => el('div', {}, el('pre', { tabindex: '0' }, text),
      copier(text))),
    el('p', { class: 'hint' }, 'The same headers permit the chosen methods on '
      + 'members of the collections as well, such as /claims/{id}.'),
  ];
}

// Pages that came by plain HTTP from another machine have no clipboard.
function copier(text) {
  if (!navigator.clipboard) return '';
  return button('Copy', async () => {
    await navigator.clipboard.writeText(text);
    tell('The command was copied.');
  }, { 'aria-label': `Copy ${text.slice(0, text.indexOf(' \\'))}` });
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
    place.replaceChildren(...commands(made));
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
