// SPDX-License-Identifier: Apache-2.0
// Requests to the API. Tokens stay in the memory of this module.
import { ask, choice, el, field, warn } from './page.js';

const BASE = new URL('v2/', document.baseURI);
const PAUSE = 3000;
const PATCH = 'application/openstack-messaging-v2.0-json-patch';

let settings;
let token = '';
let project = '';
let signing;
let ways;
let isDown = false;

// A UUID; crypto.randomUUID is for pages that came by HTTPS.
export function uuid() {
  const random = [...crypto.getRandomValues(new Uint8Array(16))];
  return random.map((one) => one.toString(16).padStart(2, '0')).join('')
    .replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
}

const CLIENT = uuid();

// Public address of the server of streams, undefined without one. Its frames
// name the project, which this page may not know of a token.
export const socketUrl = () => (project && settings.websocket_url) || undefined;

// What the service takes at most, as its operator has configured it.
export const limits = () => settings.limits;

// Whether a subscriber gets nothing before it confirms.
export const needsConfirmation = (subscriber) => settings.confirms
  || (settings.confirms_mail && /^mailto:/i.test(subscriber));

export const headers = () => ({
  'Client-ID': CLIENT,
  'OpenStack-API-Version': 'messaging 2.1',
  ...(settings.keystone ? { 'X-Auth-Token': token }
    : { 'X-Project-ID': project }),
});

const sleep = (time) => new Promise((resolve) => {
  setTimeout(resolve, time);
});

export async function start() {
  const url = new URL('console/settings.json', document.baseURI);
  while (!settings) {
    const answer = await fetch(url).catch(() => null);
    if (answer?.ok) {
      settings = await answer.json();
    } else {
      warn('The API cannot be reached; trying again.');
      await sleep(PAUSE);
    }
  }
  warn('');
  await signIn();
}

export const frameHeaders = () => ({ ...headers(), 'X-Project-ID': project });

// Asks for credentials once, however many requests need them.
function signIn(reason = '') {
  signing ??= signInNow(reason).finally(() => { signing = undefined; });
  return signing;
}

async function signInNow(reason) {
  ways ??= waysIn();
  for (;;) {
    const said = el('p', { role: 'alert' }, reason);
    const agreed = await ask('Sign in', el('h2', {}, 'Sign in'), said,
      ...ways.nodes);
    if (!agreed) {
      reason = 'Nothing can be shown without it.';
      continue;
    }
    try {
      await use(ways.values());
      ways.forget();
      document.getElementById('leave').hidden = false;
      return;
    } catch (error) {
      reason = error.message;
    }
  }
}

const input = (text, values = {}) => field(text,
  { autocomplete: 'off', required: true, ...values });

const secret = (text) => input(text, { type: 'password' });

// Returns what a user may fill in, one way of signing in at a time.
function waysIn() {
  if (!settings.keystone) {
    return fieldsOf({ project: input('Project', { value: project }) });
  }
  const forms = {
    password: ['Password', {
      user: input('User'),
      password: secret('Password'),
      domain: input('Domain of user and project', { value: 'Default' }),
      project: input('Project'),
    }],
    credential: ['Application credential', {
      credential: input('Id of the application credential'),
      secret: secret('Its secret'),
    }],
    token: ['Token', { token: secret('Token') }],
  };
  if (!settings.identity_url) return fieldsOf(forms.token[1]);
  const parts = Object.fromEntries(Object.entries(forms).map(
    ([name, [, fields]]) => [name, fieldsOf(fields)]));
  const sets = Object.fromEntries(Object.entries(parts).map(
    ([name, part]) => [name, el('fieldset', {},
      el('legend', {}, forms[name][0]), ...part.nodes)]));
  const select = choice('Sign in with', Object.entries(forms).map(
    ([name, [text]]) => [name, text]));
  const chosen = () => select.querySelector('select').value;
  // What is not shown is neither required nor sent.
  const turn = () => Object.entries(sets).forEach(([name, set]) => {
    set.disabled = set.hidden = name !== chosen();
  });
  select.addEventListener('change', turn);
  turn();
  return {
    nodes: [select, ...Object.values(sets)],
    values: () => parts[chosen()].values(),
    forget: () => Object.values(parts).forEach((part) => part.forget()),
  };
}

function fieldsOf(labels) {
  const inputs = Object.entries(labels).map(
    ([name, label]) => [name, label.querySelector('input')]);
  return {
    nodes: Object.values(labels),
    values: () => Object.fromEntries(inputs.map(
      ([name, one]) => [name,
        one.type === 'password' ? one.value : one.value.trim()])),
    forget: () => inputs.forEach(([, one]) => {
      if (one.type === 'password') one.value = '';
    }),
  };
}

async function use(values) {
  if (!settings.keystone) {
    if (!values.project) throw new Error('Enter a project.');
    project = values.project;
  } else if (values.token) {
    token = values.token;
    project = await projectOf(token);
  } else {
    await getToken(values);
  }
}

// Returns the id of a token's project, '' if Keystone does not tell this page.
async function projectOf(shown) {
  if (!settings.identity_url) return '';
  const answer = await fetch(tokensUrl(), {
    headers: { 'X-Auth-Token': shown, 'X-Subject-Token': shown },
  }).catch(() => null);
  return answer?.ok ? (await answer.json()).token.project?.id ?? '' : '';
}

const tokensUrl = () => (
  `${settings.identity_url.replace(/\/$/, '')}/auth/tokens`);

async function getToken(values) {
  const domain = { name: values.domain };
  const auth = values.credential ? {
    identity: {
      methods: ['application_credential'],
      application_credential: { id: values.credential, secret: values.secret },
    },
  } : {
    identity: {
      methods: ['password'],
      password: {
        user: { name: values.user, domain, password: values.password },
      },
    },
    scope: { project: { name: values.project, domain } },
  };
  const answer = await fetch(tokensUrl(), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ auth }),
  }).catch(() => {
    throw new Error('Keystone cannot be reached, or does not allow this page '
      + 'to ask it ([cors] allowed_origin).');
  });
  const made = answer.headers.get('X-Subject-Token');
  if (!answer.ok) {
    throw new Error(`Keystone refuses them (${answer.status}).`);
  }
  if (!made) throw new Error('Keystone shows this page no token.');
  token = made;
  project = (await answer.json()).token.project?.id ?? '';
}

// Keeps numbers as they were written that JavaScript would change, such as
// those with more digits than it has: for bodies, which are shown as they are.
function asWritten(key, value, context) {
  const source = context?.source;
  if (typeof value !== 'number' || !source || !JSON.rawJSON) return value;
  return String(value) === source ? value : JSON.rawJSON(source);
}

// Returns the document of an answer, null without one. A read is repeated
// until the API can be reached; a change is not, since it may have been made.
// With "exact", numbers are as they were sent.
export async function call(method, path, options = {}) {
  const { query, document: sent, signal, exact } = options;
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') {
      url.searchParams.set(name, value);
    }
  }
  for (;;) {
    let answer;
    try {
      answer = await fetch(url, {
        method,
        signal,
        headers: {
          ...headers(),
          ...(sent !== undefined && {
            'Content-Type': method === 'PATCH' ? PATCH : 'application/json',
          }),
        },
        body: sent === undefined ? undefined : JSON.stringify(sent),
      });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      if (method !== 'GET') {
        throw new Error('The API cannot be reached. Look whether the change '
          + 'was made before you repeat it.');
      }
      isDown = true;
      warn('The API cannot be reached; trying again.');
      await sleep(PAUSE);
      continue;
    }
    if (answer.status === 401) {
      await signIn('Your token has expired, or is not valid.');
      continue;
    }
    if (answer.status === 503 && method === 'GET') {
      isDown = true;
      warn('The API is not available; trying again.');
      await sleep(PAUSE);
      continue;
    }
    const text = await answer.text();
    if (!answer.ok) throw new Error(reasonOf(answer, text));
    if (isDown) warn('');
    isDown = false;
    if (!text) return null;
    return JSON.parse(text, exact ? asWritten : undefined);
  }
}

function reasonOf(answer, text) {
  try {
    const { title, description } = JSON.parse(text);
    return `Refused (${answer.status}): ${description || title}`;
  } catch {
    return `Refused (${answer.status}).`;
  }
}

export const queuePath = (name) => `queues/${encodeURIComponent(name)}`;

// Returns the marker of the page after one with some items, undefined if that
// one is the last: lists have a link even behind their end. A short page ends
// a list, unless its link begins elsewhere than behind its last item, whose
// place "placeOf" gives where the page can know it.
export function nextOf(page, items, limit, placeOf) {
  const marker = markerOf(page);
  if (items.length >= limit) return marker;
  const last = items.length ? placeOf?.(items.at(-1)) : undefined;
  return placeOf && marker !== last ? marker : undefined;
}

// Returns the marker of a page's link, undefined without one.
export function markerOf(page) {
  const [next] = (page?.links ?? []).filter((one) => one.rel === 'next');
  if (!next) return undefined;
  return new URL(next.href, BASE).searchParams.get('marker') ?? undefined;
}
