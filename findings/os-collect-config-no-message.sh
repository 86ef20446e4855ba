#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: that no new metadata is in the queue of a server, which is so
# between two updates of its stack, is no warning of os-collect-config.
#
# os-collect-config 14.1.0 over HTTP: an empty queue is a StopIteration inside,
# whose text is empty. Each run logs that text, a warning without a word, and
# raises what it raises for a service that cannot be reached, for which its
# loop logs a second one. The answers come from a stub, Keystone's from an
# object.
#
# Output:
#
#     DELETE /v2/queues/server/messages?pop=1: 200, a message
#     collected: {'n': 1}
#     DELETE /v2/queues/server/messages?pop=1: 200, no message
#     WARNING ''
#     ZaqarMetadataNotAvailable

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    os-collect-config==14.1.0 \
    python-zaqarclient==4.7.0 \
    setuptools==80.9.0

expected="DELETE /v2/queues/server/messages?pop=1: 200, a message
collected: {'n': 1}
DELETE /v2/queues/server/messages?pop=1: 200, no message
WARNING ''
ZaqarMetadataNotAvailable"

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import http.server
import json
import logging
import threading

from os_collect_config import exc, keystone, zaqar
from oslo_config import cfg


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_DELETE(self):
        messages = [stored.pop()] if stored else []
        count = 'a message' if messages else 'no message'
        print(f'{self.command} {self.path}: 200, {count}')
        data = json.dumps({'messages': messages}).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Catalogue:
    def url_for(self, *_, **__):
        return url


class Keystone:
    """Keystone's client, its module and its discovery."""

    service_catalog = Catalogue()
    auth_token = 'a-token'
    url_for = Catalogue.url_for

    def Client(self, **_):
        return self


class Lines(logging.Handler):
    def emit(self, record):
        print(f'{record.levelname} {record.getMessage()!r}')


href = '/v2/queues/server/messages/m1'
message = {'id': 'm1', 'href': href, 'ttl': 300, 'age': 1, 'body': {'n': 1}}
stored = [message]
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_port}'

cfg.CONF.register_opts(zaqar.opts, 'zaqar')
cfg.CONF.register_opts(keystone.opts, 'keystone')
cfg.CONF.register_opts([cfg.MultiStrOpt('deployment-key', default=[])])
cfg.CONF([], project='nobody', default_config_files=[])
for name in ('auth_url', 'password', 'project_id', 'user_id', 'queue_id'):
    cfg.CONF.set_override(name, 'http://k', 'zaqar')
cfg.CONF.set_override('queue_id', 'server', 'zaqar')
logging.getLogger('os_collect_config').addHandler(Lines())
fake = Keystone()
for _ in range(2):
    collector = zaqar.Collector(fake, discover_class=lambda **_: fake)
    try:
        for name, data in collector.collect():
            print('collected:', data)
    except exc.ZaqarMetadataNotAvailable as error:
        print(type(error).__name__)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
