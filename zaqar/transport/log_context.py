# SPDX-License-Identifier: Apache-2.0
"""The context of the log entries of a request.

Few requests log anything. Each thread therefore has one context for all its
requests; what entries show of them is made when there is an entry.
"""

import re
import threading

from oslo_context import context

from zaqar.current_request import OF_THREAD
from zaqar.logging_setup import printable
from zaqar.random_bytes import token_hex

_GLOBAL_ID = re.compile(r'req-[0-9a-fA-F-]{36}')


class LogContext(context.RequestContext):
    """The context of the request that the present thread answers."""

    @property
    def request_id(self) -> str:
        """The id of the request, '' before the first one."""
        return OF_THREAD.request.request_id

    @request_id.setter
    def request_id(self, value: str) -> None:
        """Ignore what the library sets at first."""

    @property
    def project_id(self) -> str | None:
        """The project without control characters."""
        text = OF_THREAD.request.project
        if not text.isascii():
            text = text.encode('latin-1', 'replace').decode(errors='replace')
        return printable(text) or None

    @project_id.setter
    def project_id(self, value: str | None) -> None:
        """Ignore what the library sets at first."""

    @property
    def global_request_id(self) -> str | None:
        """The id that a caller has chosen, None for any other text."""
        text = OF_THREAD.request.global_id
        return text if _GLOBAL_ID.fullmatch(text) else None

    @global_request_id.setter
    def global_request_id(self, value: str | None) -> None:
        """Ignore what the library sets at first."""


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.context = LogContext(overwrite=False)


_OWN = _OfThread()


def begin(global_id: str, project: str = '') -> str:
    """Let entries of this thread be those of a new request; return its id.

    That is a random UUID behind "req-".

    :param global_id: the header of a request id that the caller has chosen
    :param project: that of the project, as WSGI passes it; '' until the
        caller is known
    """
    digits = token_hex(15)
    request_id = (
        f'req-{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}'
        f'-{digits[18:]}'
    )
    request = OF_THREAD.request
    request.request_id = request_id
    request.global_id = global_id
    request.project = project
    # A library may have replaced it meanwhile.
    _OWN.context.update_store()
    return request_id


def begin_with(request_id: str) -> None:
    """Let entries of this thread be those of a new request with an id."""
    request = OF_THREAD.request
    request.request_id = request_id
    request.global_id = request.project = ''
    _OWN.context.update_store()


def name_project(project: str) -> None:
    """Let them name the project, too, as WSGI passes it."""
    OF_THREAD.request.project = project
