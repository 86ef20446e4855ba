# SPDX-License-Identifier: Apache-2.0
"""The order of middleware around the WSGI application."""

from collections.abc import Callable

from oslo_config import cfg

from zaqar.api.dispatch import Dispatcher
from zaqar.api.operation import Operation
from zaqar.transport import caller_identity
from zaqar.transport.wsgi import (
    authentication_middleware,
    confirm_page,
    console_page,
    event_stream_requests,
    microversion_headers,
    middleware,
    middleware_shortcut,
    public_documents,
    v1_1_compat,
)
from zaqar.transport.wsgi.minimal_pecan_application import PecanApplication
from zaqar.transport.wsgi.request_handler import RootController
from zaqar.transport.wsgi.waiting_requests_in_threads import WaitingInThreads
from zaqar.transport.wsgi_types import App


def build(
    conf: cfg.ConfigOpts,
    dispatcher: Dispatcher,
    traced: Callable[[App], App],
    waiting: WaitingInThreads,
    offers: Callable[[Operation], bool] = lambda _: True,
) -> App:
    """Return the application for a loaded configuration.

    :param traced: returns an application that traces requests
    :param waiting: has requests wait where they hold a thread
    :param offers: tells which operations there are
    """
    outer, inner = layers(conf, dispatcher, traced, waiting, offers)
    return middleware_shortcut.with_shortcut(
        outer,
        inner,
        names_project=not _has_keystone(conf),
    )


def _has_keystone(conf: cfg.ConfigOpts) -> bool:
    return caller_identity.strategy(conf) == caller_identity.KEYSTONE


def layers(
    conf: cfg.ConfigOpts,
    dispatcher: Dispatcher,
    traced: Callable[[App], App],
    waiting: WaitingInThreads,
    offers: Callable[[Operation], bool] = lambda _: True,
) -> tuple[App, App]:
    """Return the application within all layers, and within the inner ones.

    Those begin with authentication. Most requests concern none of the others:
    see :mod:`zaqar.transport.wsgi.middleware_shortcut`, to be changed with
    them.
    """
    keystone = _has_keystone(conf)
    root = RootController(dispatcher, offers, waiting, verified=keystone)
    # Inside out. Only authenticated requests are traced.
    bare = PecanApplication(root)
    authenticated = with_traces = traced(bare)
    # The identity in logs is verified by then.
    inner = middleware.with_project_logged(with_traces)
    # Callers authenticate by a token ...
    app = inner
    if keystone:
        app = authenticated = authentication_middleware.with_keystone(
            inner, conf
        )
    if authenticated is not bare:
        authenticated = middleware.with_bare_location(authenticated)
    # ... or by a signature.
    app = authentication_middleware.with_signatures(
        app, inner, dispatcher.signer
    )
    app = event_stream_requests.with_signed_queries(app)
    # Before authentication, which depends on the path.
    app = v1_1_compat.with_v1_1(app, conf)
    # Documents without authentication.
    app = public_documents.with_public_documents(app)
    app = confirm_page.with_confirmation(app, dispatcher)
    app = console_page.with_console(app, conf, dispatcher)
    app = middleware.with_health(app, conf)
    app = middleware.with_short_accept(app)
    # Responses of all middleware so far carry an id.
    app = middleware.with_request_id(app)
    # CORS preflights carry no token, hence outside authentication.
    app = middleware.with_cors(app, conf)
    # The CORS middleware replaces Vary.
    app = microversion_headers.with_version(app)
    # Keystone's and the CORS middleware use WebOb, which changes Location.
    return middleware.with_bare_location(app), authenticated
