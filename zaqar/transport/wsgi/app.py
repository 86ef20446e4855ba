# SPDX-License-Identifier: Apache-2.0
"""The WSGI application, and what stands around it."""

from __future__ import annotations

import importlib
from typing import Any

from oslo_config import cfg

from zaqar.api.dispatch import Dispatcher
from zaqar.transport import auth
from zaqar.transport.wsgi import middleware
from zaqar.transport.wsgi.responses import App
from zaqar.transport.wsgi.router import Application, Root


def build(conf: cfg.ConfigOpts, dispatcher: Dispatcher) -> App:
    """Return the application for a loaded configuration.

    :raises ConfigurationError: an unknown ``auth_strategy``
    """
    keystone = auth.strategy(conf) == auth.KEYSTONE
    inner: App = Application(Root(dispatcher, verified=keystone))
    # Inside out. What is logged of an identity has been checked by then.
    inner = middleware.with_project_logged(inner)
    # Either a token decides who is asking ...
    app = middleware.with_keystone(inner, conf) if keystone else inner
    # ... or a signature, where there is one.
    app = middleware.with_signatures(app, inner, dispatcher.signer)
    # Documents that ask for no identity.
    app = middleware.with_public_documents(app)
    app = middleware.with_health(app, conf)
    # Answers of all layers so far carry an id.
    app = middleware.with_request_id(app)
    # Browsers ask without tokens, hence outside everything.
    app = middleware.with_cors(app, conf)
    # What WebOb did to headers in Keystone's and the CORS layer.
    return middleware.with_bare_location(app)


def __getattr__(name: str) -> Any:
    """Build ``application`` when a WSGI server first asks for it.

    ``app`` is another name for it. What builds it stands above this layer,
    hence is looked up by name.
    """
    if name not in ('application', 'app'):
        raise AttributeError(name)
    found = importlib.import_module('zaqar.service').application()
    globals().update(application=found, app=found)
    return found
