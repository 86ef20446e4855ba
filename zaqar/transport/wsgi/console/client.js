// SPDX-License-Identifier: Apache-2.0
// Requests to the API. Tokens stay in the memory of this module.
import { ask, el, field, warn } from './page.js';

const BASE = new URL('v2/', document.baseURI);
const PAUSE = 3000;
const PATCH = 'application/openstack-messaging-v2.0-json-patch';

let settings;
let token = '';
let project = '';
let signing;
let isDown = false;

const random = crypto.getRandomValues(new Uint8Array(16));
const digits = [...random].map((one) => one.toString(16).padStart(2, '0'));
const CLIENT = digits.join('').replace(
  /^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');

export const projectName = () => project;

const sleep = (time) => new Promise((resolve) => {
  setTimeout(resolve, time);
});

export async function start() {
  const answer = await fetch(new URL('console/settings.json',
    document.baseURI));
  settings = await answer.json();
  await signIn();
}

// Asks for credentials once, however many requests need them.
function signIn(reason = '') {
  signing ??= signInNow(reason).finally(() => { signing = undefined; });
  return signing;
}

async function signInNow(reason) {
  for (;;) {
    const said = el('p', { role: 'alert' }, reason);
    const fields = settings.keystone ? keystoneFields() : {
      project: input('Project', { value: project, required: true }),
    };
    const labels = Object.values(fields).map((one) => one.label);
    if (!await ask('Sign in', el('h2', {}, 'Sign in'), said, ...labels)) {
      reason = 'Nothing can be shown without it.';
      continue;
    }
    const values = Object.fromEntries(Object.entries(fields).map(
      ([name, one]) => [name, one.input.value.trim()]));
    try {
      await use(values);
      document.getElementById('leave').hidden = false;
      return;
    } catch (error) {
      reason = error.message;
    }
  }
}

function input(text, values) {
  const label = field(text, { autocomplete: 'off', ...values });
  return { label, input: label.querySelector('input') };
}

function keystoneFields() {
  const fields = { token: input('Token', { type: 'password' }) };
  if (!settings.identity_url) return fields;
  return {
    ...fields,
    user: input('… or user'),
    domain: input('Domain of user and project', { value: 'Default' }),
    password: input('Password', { type: 'password' }),
    project: input('Project'),
    credential: input('… or id of an application credential'),
    secret: input('Its secret', { type: 'password' }),
  };
}

async function use(values) {
  if (!settings.keystone) {
    if (!values.project) throw new Error('Enter a project.');
    project = values.project;
  } else if (values.token) {
    token = values.token;
  } else {
    token = await tokenFor(values);
  }
}

async function tokenFor(values) {
  if (!values.credential && !values.user) {
    throw new Error('Enter a token or credentials.');
  }
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
  const url = `${settings.identity_url.replace(/\/$/, '')}/auth/tokens`;
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ auth }),
  }).catch(() => { throw new Error('Keystone cannot be reached.'); });
  const made = answer.headers.get('X-Subject-Token');
  if (!answer.ok || !made) throw new Error('Keystone refuses them.');
  return made;
}

// Returns the document of an answer, null without one. A read is repeated
// until the API can be reached; a change is not, since it may have been made.
export async function call(method, path, options = {}) {
  const { query, document: sent, signal } = options;
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
          'Client-ID': CLIENT,
          'OpenStack-API-Version': 'messaging 2.1',
          ...(settings.keystone ? { 'X-Auth-Token': token }
            : { 'X-Project-ID': project }),
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
    return text ? JSON.parse(text) : null;
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

// Returns the marker of the next page, undefined without one.
export function markerOf(page) {
  const [next] = (page?.links ?? []).filter((one) => one.rel === 'next');
  if (!next) return undefined;
  return new URL(next.href, BASE).searchParams.get('marker') ?? undefined;
}
