# SPDX-License-Identifier: Apache-2.0
"""The WSGI application, for a server of the operator's choice to load.

Importing this module reads the configuration and builds the service, so only
WSGI servers may do it. The names are bound at import: uWSGI reads the module's
dictionary and ignores a module's ``__getattr__``.
"""

import importlib

# The service is a layer above, hence looked up by name.
application = importlib.import_module('zaqar.service_assembly').application()

#: The name that guides of the reference service use.
app = application
