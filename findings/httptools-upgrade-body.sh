#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a client may offer another protocol with any request (RFC 9110,
# 7.8: Java's own client does with each, curl with --http2). The request may
# have a body, and a parser of HTTP/1.1 reads it, whatever becomes of the offer.
#
# httptools 0.9.0 says that such a request is complete without its body, and
# that the body belongs to the other protocol. A server that ignores the offer,
# as RFC 9110 allows, has to read the body of the request by itself.
#
# Output: the body, and how many bytes are left, without an offer and with one.
#
#     no offer: body of 3, 0 left
#     h2c: body of 0, 3 left

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    httptools==0.9.0

expected='no offer: body of 3, 0 left
h2c: body of 0, 3 left'

seen=$("$folder/venv/bin/python" - <<'END'
import httptools


class Reader:
    def __init__(self):
        self.body = b''

    def on_body(self, part):
        self.body += part


OFFER = b'Connection: Upgrade\r\nUpgrade: h2c\r\n'

for name, more in (('no offer', b''), ('h2c', OFFER)):
    reader, left = Reader(), 0
    data = b'POST / HTTP/1.1\r\nContent-Length: 3\r\n' + more + b'\r\nabc'
    try:
        httptools.HttpRequestParser(reader).feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        left = len(data) - upgrade.args[0]
    print(f'{name}: body of {len(reader.body)}, {left} left')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
