#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: whoever has been given a trust without an end, and may hand it on,
# can hand it on until some day: an end makes it less.
#
# Keystone 30.0.0: with expires_at the second trust is refused with 400 and a
# message of Python about a comparison. Without, it is created, and does not
# expire either. Only if the first trust expires, the second one can.
#
# Output:
#
#     first trust, expires_at None: 201
#     handed on without an end: 201
#     handed on with an end: 400
#     '<' not supported between instances of 'NoneType' and 'datetime.datetime'
#     first trust, expires_at 2099-01-01T00:00:00.000000Z: 201
#     handed on with an earlier end: 201

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    keystone==30.0.0 \
    setuptools==80.9.0

expected="first trust, expires_at None: 201
handed on without an end: 201
handed on with an end: 400
'<' not supported between instances of 'NoneType' and 'datetime.datetime'
first trust, expires_at 2099-01-01T00:00:00.000000Z: 201
handed on with an earlier end: 201"

# Whatever has its default in /etc/keystone is named.
mkdir "$folder/conf.d"
cat >"$folder/keystone.conf" <<END
[DEFAULT]
log_file = $folder/log
[database]
connection = sqlite:///$folder/keystone.sqlite
[identity]
domain_config_dir = $folder/domains
password_hash_rounds = 4
[fernet_tokens]
key_repository = $folder/token-keys
[fernet_receipts]
key_repository = $folder/receipt-keys
[credential]
key_repository = $folder/credential-keys
END
options=(--config-file "$folder/keystone.conf" --config-dir "$folder/conf.d")
manage() {
    (cd "$folder" && venv/bin/keystone-manage "${options[@]}" "$@") \
        >/dev/null 2>&1
}

manage db_sync
manage fernet_setup \
    --keystone-user "$(id -u)" --keystone-group "$(id -g)"
manage bootstrap --bootstrap-password a-password

seen=$("$folder/venv/bin/python" - "${options[@]}" 2>/dev/null <<'END'
import json

import webob
from keystone.wsgi.api import application


def call(path, token=None, method='POST', **body):
    request = webob.Request.blank(f'/v3{path}', method=method)
    request.content_type = 'application/json'
    request.body = json.dumps(body).encode()
    if token:
        request.headers['X-Auth-Token'] = token
    return request.get_response(application)


def token_of(name, scope):
    user = {'name': name, 'password': 'a-password'}
    user['domain'] = {'id': 'default'}
    how = {'methods': ['password'], 'password': {'user': user}}
    return call('/auth/tokens', auth={'identity': how, 'scope': scope})


def make(kind, name):
    body = {'name': name, 'domain_id': 'default', 'password': 'a-password'}
    if kind == 'project':
        del body['password']
    return call(f'/{kind}s', admin, **{kind: body}).json[kind]['id']


def trust(token, trustee, roles, **more):
    body = {'trustor_user_id': users[0], 'trustee_user_id': trustee}
    body |= {'project_id': project, 'impersonation': True}
    body |= {'roles': [{'name': name} for name in roles], **more}
    return call('/OS-TRUST/trusts', token, trust=body)


scope = {'project': {'name': 'admin', 'domain': {'id': 'default'}}}
admin = token_of('admin', scope).headers['X-Subject-Token']
project = make('project', 'a-project')
users = [make('user', name) for name in ('first', 'second', 'third')]
role = call('/roles?name=member', admin, 'GET').json['roles'][0]['id']
path = f'/projects/{project}/users/{users[0]}/roles/{role}'
call(path, admin, 'PUT')

answer = token_of('first', {'project': {'id': project}})
owner = answer.headers['X-Subject-Token']
made = trust(owner, users[1], ['member'], allow_redelegation=True)
parent = made.json['trust']
answer = token_of('second', {'OS-TRUST:trust': {'id': parent['id']}})
by_trust = answer.headers['X-Subject-Token']
print(f"first trust, expires_at {parent['expires_at']}: {made.status_code}")
answer = trust(by_trust, users[2], ['member'])
print('handed on without an end:', answer.status_code)
end = '2098-01-01T00:00:00.000000Z'
answer = trust(by_trust, users[2], ['member'], expires_at=end)
print('handed on with an end:', answer.status_code)
print(answer.json['error']['message'])

later = {'expires_at': '2099-01-01T00:00:00.000000Z'}
more = {'allow_redelegation': True, **later}
made = trust(owner, users[1], ['member'], **more)
parent = made.json['trust']
print(f"first trust, expires_at {parent['expires_at']}: {made.status_code}")
answer = token_of('second', {'OS-TRUST:trust': {'id': parent['id']}})
by_trust = answer.headers['X-Subject-Token']
answer = trust(by_trust, users[2], ['member'], expires_at=end)
print('handed on with an earlier end:', answer.status_code)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
