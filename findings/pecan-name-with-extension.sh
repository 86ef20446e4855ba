#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a REST controller of pecan gets the part of the path that names a
# resource as it is, dots included: names may have them.
#
# pecan 1.8.0 takes what looks like an extension of a known type for a wish
# for that type (guess_content_type_from_ext is on by default). PUT
# /queues/report.json changes the queue "report", and says so with 200: two
# names fall together. report.txt is 404 where only JSON is served, and v1.0
# works, since no type is called "0".
#
# Output:
#
#     PUT report: 200, report changed
#     PUT report.json: 200, report changed
#     PUT report.txt: 404, nothing changed
#     PUT v1.0: 200, v1.0 changed

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pecan==1.8.0 \
    WebOb==1.8.11 \
    setuptools==80.9.0

expected='PUT report: 200, report changed
PUT report.json: 200, report changed
PUT report.txt: 404, nothing changed
PUT v1.0: 200, v1.0 changed'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import pecan
import webob
from pecan import rest


class Queues(rest.RestController):
    @pecan.expose('json')
    def put(self, name):
        return {'name': name}


class Root:
    queues = Queues()


app = pecan.make_app(Root())
for name in ('report', 'report.json', 'report.txt', 'v1.0'):
    request = webob.Request.blank(f'/queues/{name}', method='PUT')
    answer = request.get_response(app)
    changed = answer.json['name'] if answer.status_int == 200 else 'nothing'
    print(f'PUT {name}: {answer.status_int}, {changed} changed')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
