# SPDX-License-Identifier: Apache-2.0
"""The HTML page that confirmation mails link to.

A GET changes nothing, since mail scanners follow every link; only the buttons
do. The link has the values of the headers of a pre-signed request, and is
verified in the same way.

:source: reference/delivery, "Confirmation"
"""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from zaqar import identity
from zaqar.api import operation_table
from zaqar.api.dispatch import Dispatcher, Received
from zaqar.controllers.url_signatures import Grant
from zaqar.errors import NotFound, ZaqarError
from zaqar.identity import Identity
from zaqar.objects import Kind, Scope
from zaqar.transport import caller_identity
from zaqar.transport.wsgi.responses import Response
from zaqar.transport.wsgi_types import App, Environ, StartResponse

PATH = '/confirm'

#: Bytes of a form, at most.
MOST = 16 * 1024

_TARGET = re.compile(
    r'/v2/(queue|topic)s/([A-Za-z0-9_.-]{1,64})'
    r'/subscriptions/([0-9a-f]{32})/confirm'
)

_FIELDS = ('Signature', 'Methods', 'Paths', 'Project', 'Expires')

_HEADERS = {
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'none'; style-src "
    "'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 sans-serif; margin: 3rem auto; max-width: 34rem;
  padding: 0 1rem; overflow-wrap: anywhere; }}
button {{ font: inherit; margin: 0 1rem 1rem 0; padding: .5rem 1rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""

_FORM = """<p>Notifications of queue <strong>{queue}</strong> of project
<strong>{project}</strong>: do you want to receive them?</p>
<form method="post" action="confirm">
{fields}
<button name="confirmed" value="true">Confirm the subscription</button>
<button name="confirmed" value="false">Unsubscribe</button>
</form>
"""


@dataclass(frozen=True, slots=True)
class _Link:
    """A verified link, with the values of its query for the form."""

    scope: Scope
    subscription_id: str
    values: Mapping[str, str]


def with_confirmation(app: App, dispatcher: Dispatcher) -> App:
    """Serve the page, without authentication."""

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if environ.get('PATH_INFO') != PATH:
            return app(environ, start)
        return _answer(environ, dispatcher)(environ, start)

    return call


def _answer(environ: Environ, dispatcher: Dispatcher) -> Response:
    method = environ['REQUEST_METHOD']
    if method in ('GET', 'HEAD'):
        link = _link(_parsed(environ.get('QUERY_STRING', '')), dispatcher)
        return _invalid() if link is None else _question(link)
    if method != 'POST':
        answer = _page(405, 'Method not allowed', '')
        answer.headers = {**_HEADERS, 'Allow': 'GET, HEAD, POST'}
        return answer
    form = _parsed(_body(environ))
    link = _link(form, dispatcher)
    wanted = form.get('confirmed')
    if link is None or wanted not in ('true', 'false'):
        return _invalid()
    return _act(link, wanted, dispatcher)


def _act(link: _Link, wanted: str, dispatcher: Dispatcher) -> Response:
    body = f'{{"confirmed": {wanted}}}'.encode()
    name = 'subscription_confirm'
    if link.scope.kind is Kind.TOPIC:
        name = f'topic_{name}'
    try:
        dispatcher.run(
            operation_table.BY_ACTION[name],
            Identity(
                link.scope.project,
                identity.SERVICE_CLIENT,
                signed=caller_identity.access(
                    link.values['Expires'], link.values['Signature']
                ),
            ),
            scope=link.scope,
            path={'subscription_id': link.subscription_id},
            values={},
            read_body=lambda _body, _most: Received(body, len(body)),
        )
    except NotFound:
        return _invalid()
    except ZaqarError as error:
        text = '<p>Please try again in a moment.</p>'
        return _page(error.status, 'That did not work', text)
    queue = f'<strong>{html.escape(link.scope.name)}</strong>'
    if wanted == 'true':
        text = f'<p>You will receive the messages of queue {queue}.</p>'
        return _page(200, 'Subscription confirmed', text)
    text = f'<p>You will receive no messages of queue {queue}.</p>'
    return _page(200, 'Unsubscribed', text)


def _question(link: _Link) -> Response:
    fields = '\n'.join(
        f'<input type="hidden" name="{name}" '
        f'value="{html.escape(link.values[name])}">'
        for name in _FIELDS
    )
    form = _FORM.format(
        queue=html.escape(link.scope.name),
        project=html.escape(link.scope.project),
        fields=fields,
    )
    return _page(200, 'Confirm a subscription', form)


def _invalid() -> Response:
    return _page(
        404,
        'This link is not valid',
        '<p>It is incomplete, has expired, or the subscription has ended.</p>',
    )


def _page(status: int, title: str, content: str) -> Response:
    body = _PAGE.format(title=html.escape(title), content=content).encode()
    return Response(status, body, _HEADERS, 'text/html; charset=utf-8')


def _link(values: Mapping[str, str], dispatcher: Dispatcher) -> _Link | None:
    """Return a verified link, None if its signature is not valid."""
    if not all(values.get(name) for name in _FIELDS):
        return None
    path = values['Paths']
    target = _TARGET.fullmatch(path)
    grant = Grant(
        path.split(','),
        values['Methods'].split(','),
        values['Project'],
        values['Expires'],
    )
    if target is None or not dispatcher.signer.admits(
        grant, values['Signature'], 'PUT', path
    ):
        return None
    scope = Scope(values['Project'], target[2], Kind(target[1]))
    return _Link(scope, target[3], values)


def _parsed(text: str) -> Mapping[str, str]:
    """Return the first value of each field."""
    try:
        pairs = parse_qsl(text, errors='strict', max_num_fields=20)
    except ValueError:
        return {}
    # Reversed, since the last of a name wins.
    return dict(reversed(pairs))


def _body(environ: Environ) -> str:
    size = environ.get('CONTENT_LENGTH') or '0'
    if not size.isdecimal() or int(size) > MOST:
        return ''
    try:
        return str(environ['wsgi.input'].read(int(size)).decode())
    except UnicodeDecodeError:
        return ''
