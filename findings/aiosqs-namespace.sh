#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a client of Amazon SQS takes messages from an answer in the namespace
# of the service, and the URL of an endpoint, with its path.
#
# aiosqs 1.0.6 returns no messages where the answer has the namespace that all
# answers of the Query protocol have; the messages are held until their
# visibility timeout is over. It knows no path either: the endpoint is a host.
#
# Output:
#
#     without a namespace: 2 messages
#     with the namespace: 0 messages
#     what it signs: /

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    aiosqs==1.0.6

expected='without a namespace: 2 messages
with the namespace: 0 messages
what it signs: /'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import inspect
import re

from aiosqs.client import SQSClient
from aiosqs.parser import parse_xml_result_response

NAMESPACE = ' xmlns="http://queue.amazonaws.com/doc/2012-11-05/"'
MESSAGE = '<Message><MessageId>m</MessageId><Body>b</Body></Message>'

for what, name in (('without a', ''), ('with the', NAMESPACE)):
    text = (
        f'<ReceiveMessageResponse{name}><ReceiveMessageResult>{MESSAGE * 2}'
        '</ReceiveMessageResult></ReceiveMessageResponse>'
    )
    messages = parse_xml_result_response('ReceiveMessage', text)
    print(f'{what} namespace: {len(messages or [])} messages')
source = inspect.getsource(SQSClient.build_signed_request)
print('what it signs:', re.search('canonical_uri = "(.*)"', source)[1])
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
