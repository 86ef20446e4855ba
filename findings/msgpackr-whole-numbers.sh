#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a library of MessagePack for JavaScript writes a whole number as an
# integer, as long as JavaScript holds it exactly (up to 2^53).
#
# msgpackr 2.1.4 and msgpack-lite 0.2.2 write whole numbers from 2^32 up, and
# below -2^31, as floating point numbers; @msgpack/msgpack 3.1.3 writes
# integers. A service that wants an integer, for a time in milliseconds or a
# size in bytes, sees 4294967296.0 from some clients only, and only from a
# certain size on. The first byte of each is shown: cb is a double, cf and d3
# are integers.
#
# Output:
#
#     4294967295 ce ce ce
#     4294967296 cb cf cb
#     -2147483648 d2 d2 d2
#     -2147483649 cb d3 cb

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

npm install --silent --no-fund --no-audit --prefix "$folder" \
    msgpackr@2.1.4 \
    @msgpack/msgpack@3.1.3 \
    msgpack-lite@0.2.2

expected='4294967295 ce ce ce
4294967296 cb cf cb
-2147483648 d2 d2 d2
-2147483649 cb d3 cb'

seen=$(cd "$folder" && node --input-type=module - <<'END'
import { pack } from 'msgpackr';
import { encode } from '@msgpack/msgpack';
import lite from 'msgpack-lite';

const kind = (bytes) => Buffer.from(bytes.subarray(0, 1)).toString('hex');
const numbers = [2 ** 32 - 1, 2 ** 32, -(2 ** 31), -(2 ** 31) - 1];
for (const number of numbers) {
  const kinds = [pack(number), encode(number), lite.encode(number)].map(kind);
  console.log(String(number), kinds.join(' '));
}
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
