# SPDX-License-Identifier: Apache-2.0
"""The WSGI application, for a server of the operator's choice to load.

Importing this module reads the configuration and builds everything, so only
WSGI servers may do it. The names are bound here and now: uWSGI looks into the
module's dictionary, and never asks a module's ``__getattr__``.
"""

from __future__ import annotations

import importlib

# What builds it stands above this layer, hence is looked up by name.
application = importlib.import_module('zaqar.service').application()

#: Another name for it, which guides of the reference service use.
app = application
