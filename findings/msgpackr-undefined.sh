#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a key whose value is undefined is left out, as JSON.stringify does
# it, or sent as null.
#
# msgpackr 2.1.4 sends it as an extension of type 0, which means nothing to
# other libraries (types from 0 up belong to applications): a service that
# does not know it refuses the whole document, or shows an opaque value where
# the sender has none. @msgpack/msgpack 3.1.3 sends null. The bytes are shown,
# and what @msgpack/msgpack reads from those of msgpackr.
#
# Output:
#
#     msgpackr de0001a374746cd40000
#     @msgpack/msgpack 81a374746cc0
#     read back ExtData

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

npm install --silent --no-fund --no-audit --prefix "$folder" \
    msgpackr@2.1.4 \
    @msgpack/msgpack@3.1.3

expected='msgpackr de0001a374746cd40000
@msgpack/msgpack 81a374746cc0
read back ExtData'

seen=$(cd "$folder" && node --input-type=module - <<'END'
import { pack } from 'msgpackr';
import { decode, encode } from '@msgpack/msgpack';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const message = { ttl: undefined };
console.log('msgpackr', hex(pack(message)));
console.log('@msgpack/msgpack', hex(encode(message)));
console.log('read back', decode(pack(message)).ttl.constructor.name);
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
