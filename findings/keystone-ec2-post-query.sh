#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: Signature V4 covers the query of a request, whatever its method:
# with another query the signature is another one.
#
# keystoneclient 6.0.0, by which Keystone verifies EC2 credentials, leaves the
# query of a POST out: one to which somebody has added parameters is verified,
# and one that botocore has signed with its query is not. Of a header that is
# signed twice it sees one.
#
# Output:
#
#     GET without a query: verified
#     GET with its query: verified
#     GET with another query: refused
#     POST without a query: verified
#     POST with its query: refused
#     POST with an added query: verified

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    botocore==1.44.8 \
    python-keystoneclient==6.0.0 \
    setuptools==80.9.0

expected='GET without a query: verified
GET with its query: verified
GET with another query: refused
POST without a query: verified
POST with its query: refused
POST with an added query: verified'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import hashlib

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from keystoneclient.contrib.ec2.utils import Ec2Signer


def verified(method, signed, sent):
    query = '&'.join(f'{name}={value}' for name, value in signed.items())
    url = 'http://h/sqs' + (f'?{query}' if query else '')
    request = AWSRequest(method, url, data=b'', headers={'Host': 'h'})
    SigV4Auth(Credentials('key', 'secret'), 'sqs', 'r').add_auth(request)
    headers = dict(request.headers.items())
    seen = Ec2Signer('secret').generate(
        {
            'host': 'h',
            'verb': method,
            'path': '/sqs',
            'params': sent,
            'headers': headers,
            'body_hash': hashlib.sha256(b'').hexdigest(),
        }
    )
    match = headers['Authorization'].endswith(f'Signature={seen}')
    return 'verified' if match else 'refused'


one, other = {'Action': 'ListQueues'}, {'Action': 'PurgeQueue'}
print('GET without a query:', verified('GET', {}, {}))
print('GET with its query:', verified('GET', one, one))
print('GET with another query:', verified('GET', one, other))
print('POST without a query:', verified('POST', {}, {}))
print('POST with its query:', verified('POST', one, one))
print('POST with an added query:', verified('POST', {}, other))
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
