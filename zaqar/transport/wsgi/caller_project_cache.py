# SPDX-License-Identifier: Apache-2.0
"""A cache of the projects of callers, before they are authenticated.

Only an earlier answer to the same caller tells. What a caller has proved its
project by is remembered as a number, so that it cannot be read from memory.

A client of Amazon SQS is known by its access key, since each signature is
another one. Who sends that of others without their secret is refused, but
waits for that in their line.
"""

from zaqar.bounded_cache import BoundedCache
from zaqar.transport import sqs_path
from zaqar.transport.wsgi_types import Environ

#: Callers that are remembered.
MOST = 10_000


class CallerProjectCache(BoundedCache[int, str]):
    """The projects of callers."""

    def __init__(self) -> None:
        super().__init__(MOST)

    def project(self, environ: Environ) -> str:
        """Return the project of a request, '' if that is not known."""
        return self.get(caller(environ), '')

    def note(self, environ: Environ, project: str) -> None:
        """Note that a caller has been answered on behalf of a project."""
        number = caller(environ)
        if not number:
            # Others who show nothing are not of this project.
            return
        if number not in self or self[number] != project:
            self[number] = project


def caller(environ: Environ) -> int:
    """Return the number of the caller of a request, 0 for nobody."""
    if sqs_path.is_below(environ.get('PATH_INFO', '')):
        # The credential ends with the first comma. Links have it in their
        # query, and are rare.
        credential = environ.get('HTTP_AUTHORIZATION', '').partition(',')[0]
        return hash(credential) if credential else 0
    if 'HTTP_X_AUTH_TOKEN' in environ:
        return hash(environ['HTTP_X_AUTH_TOKEN'])
    if 'HTTP_URL_SIGNATURE' in environ:
        return hash(environ['HTTP_URL_SIGNATURE'])
    if 'HTTP_X_PROJECT_ID' in environ:
        return hash(environ['HTTP_X_PROJECT_ID'])
    return 0
