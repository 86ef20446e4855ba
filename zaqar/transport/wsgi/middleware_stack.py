# SPDX-License-Identifier: Apache-2.0
"""The WSGI application, and what stands around it."""

from __future__ import annotations

from collections.abc import Callable

from oslo_config import cfg

from zaqar.api.dispatch import Dispatcher
from zaqar.transport import auth
from zaqar.transport.wsgi import confirm_page, middleware, v1_1_compat
from zaqar.transport.wsgi.router import PecanApplication, RootController
from zaqar.transport.wsgi_types import App


def build(
    conf: cfg.ConfigOpts,
    dispatcher: Dispatcher,
    traced: Callable[[App], App],
) -> App:
    """Return the application for a loaded configuration.

    :param traced: returns an application that traces requests
    :raises ConfigurationError: an unknown ``auth_strategy``
    """
    keystone = auth.strategy(conf) == auth.KEYSTONE
    inner: App = PecanApplication(
        RootController(dispatcher, verified=keystone)
    )
    # Inside out. Only what is let in is traced.
    inner = traced(inner)
    # What is logged of an identity has been checked by then.
    inner = middleware.with_project_logged(inner)
    # Either a token decides who is asking ...
    app = middleware.with_keystone(inner, conf) if keystone else inner
    # ... or a signature, where there is one.
    app = middleware.with_signatures(app, inner, dispatcher.signer)
    # Whoever asks in the old way is let in, or not, as in the new one.
    app = v1_1_compat.with_old_paths(app, conf)
    # Documents that ask for no identity.
    app = middleware.with_public_documents(app)
    app = confirm_page.with_confirmation(app, dispatcher)
    app = middleware.with_health(app, conf)
    app = middleware.with_short_accept(app)
    # Answers of all layers so far carry an id.
    app = middleware.with_request_id(app)
    # Browsers ask without tokens, hence outside everything.
    app = middleware.with_cors(app, conf)
    # What WebOb did to headers in Keystone's and the CORS layer.
    return middleware.with_bare_location(app)
