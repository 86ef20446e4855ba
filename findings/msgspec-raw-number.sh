#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: msgspec.Raw, which keeps a part of a document as it came, either
# looks for the end of that part only, or refuses what decoding it would.
#
# msgspec 0.22.0 does something of both: "\ud800", half of a pair, is refused
# as it is by a full decoding (and the message is that input is missing,
# though none is); 1e400, which a full decoding refuses, too, passes. Whoever
# checks a request by decoding it with Raw stores numbers that the same
# library cannot read later. RFC 8259 allows both, and json of Python reads
# both.
#
# Output:
#
#     "\ud800" as Raw: Input data was truncated
#     "\ud800" as object: Input data was truncated
#     "\ud800" by json: '\ud800'
#     1e400 as Raw: 1e400
#     1e400 as object: Number out of range
#     1e400 by json: inf

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    msgspec==0.22.0

expected='"\ud800" as Raw: Input data was truncated
"\ud800" as object: Input data was truncated
"\ud800" by json: '"'\\ud800'"'
1e400 as Raw: 1e400
1e400 as object: Number out of range
1e400 by json: inf'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import json

import msgspec

for text in (r'"\ud800"', '1e400'):
    for kind in (msgspec.Raw, object):
        try:
            result = bytes(msgspec.json.decode(text, type=kind)).decode()
        except msgspec.DecodeError as error:
            result = error
        print(f'{text} as {kind.__name__}: {result}')
    print(f'{text} by json: {json.loads(text)!r}')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
