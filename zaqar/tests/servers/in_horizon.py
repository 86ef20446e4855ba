# SPDX-License-Identifier: Apache-2.0
"""What runs inside Horizon's environment: its server, and its static files.

A program for the interpreter there, started by
:mod:`zaqar.tests.servers.horizon` and ``tools/horizon-venv``; nothing of ours
but the panels can be imported in it.
"""

from __future__ import annotations

import json
import mimetypes
import os
import pathlib
import sys
import tempfile
import types
from collections.abc import Callable, Iterable
from typing import Any

_SETTINGS = """\
DEBUG = False
SECRET_KEY = 'of no use to anybody'
ALLOWED_HOSTS = ['127.0.0.1']
STATIC_ROOT = {static!r}
COMPRESS_OFFLINE = True
# Without a cache that responds one block is left out.
CACHES = {{
    'default': {{'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}
}}
"""


def prepare(static: str) -> None:
    """Collect and compress the static files of Horizon in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        local = pathlib.Path(folder)
        (local / 'local_settings.py').write_text(
            _SETTINGS.format(static=static)
        )
        _read_settings_from(folder)
        from django.core import management

        management.execute_from_command_line(
            ['manage', 'collectstatic', '--noinput', '--verbosity=0']
        )
        management.execute_from_command_line(['manage', 'compress', '--force'])


def serve(folder: str, port: str) -> None:
    """Serve Horizon on a port of 127.0.0.1.

    :param folder: has ``local``, in the place of Horizon's own folder of that
        name, and ``packages``, which are as if they were installed
    """
    sys.path.insert(0, f'{folder}/packages')
    _read_settings_from(f'{folder}/local')
    import waitress
    from django.conf import settings
    from openstack_dashboard.wsgi import application

    waitress.serve(
        _with_files(application, settings.STATIC_URL, settings.STATIC_ROOT),
        host='127.0.0.1',
        port=port,
        threads=4,
    )


def purge(packages: str, catalogue: str, *cases: str) -> None:
    """Purge a queue under several settings, and print how each ends.

    The user works in "RegionTwo".

    :param packages: folder that the panels are in
    :param catalogue: the service catalogue of the user, as JSON
    :param cases: each an object of settings, as JSON
    """
    sys.path.insert(0, packages)
    with tempfile.TemporaryDirectory() as folder:
        text = _SETTINGS.format(static=folder)
        (pathlib.Path(folder) / 'local_settings.py').write_text(text)
        _read_settings_from(folder)
        import django
        from django.test.utils import override_settings

        django.setup()
    from zaqar_dashboard import api, errors

    user = types.SimpleNamespace(
        token=types.SimpleNamespace(id='a-token'),
        service_catalog=json.loads(catalogue),
        services_region='RegionTwo',
    )
    request: Any = types.SimpleNamespace(
        user=user, META={'REMOTE_ADDR': '192.0.2.7'}
    )
    for case in cases:
        with override_settings(**json.loads(case)):
            try:
                api.purge_queue(request, 'jobs')
                print('done')
            except errors.ServiceError as error:
                print(error)


def _read_settings_from(local: str) -> None:
    import openstack_dashboard.local as package

    # The environment is not written to: tests run at the same time.
    package.__path__.insert(0, local)
    # Horizon knows it by two names.
    sys.modules['local'] = package
    os.environ['DJANGO_SETTINGS_MODULE'] = 'openstack_dashboard.settings'


def _with_files(
    app: Any, url: str, root: str
) -> Callable[..., Iterable[bytes]]:
    """Serve files as the web server before Horizon does."""

    def call(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ['PATH_INFO']
        if not path.startswith(url):
            return app(environ, start)
        file = pathlib.Path(root, path[len(url) :]).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            start('404 Not Found', [])
            return []
        kind = mimetypes.guess_type(file.name)[0]
        start(
            '200 OK',
            [
                ('Content-Type', kind or 'application/octet-stream'),
                ('Cache-Control', 'max-age=3600'),
            ],
        )
        return [file.read_bytes()]

    return call


#: What can be asked for.
PROGRAMS = {'prepare': prepare, 'serve': serve, 'purge': purge}

if __name__ == '__main__':
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
