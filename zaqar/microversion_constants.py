# SPDX-License-Identifier: Apache-2.0
"""The microversions of the API, on which its behaviour may depend."""

from typing import NamedTuple

#: The name of the service in headers.
SERVICE = 'messaging'


class Version(NamedTuple):
    """A version of the API; later ones are greater."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f'{self.major}.{self.minor}'

    @property
    def header(self) -> str:
        """The value of the header that names it."""
        return f'{SERVICE} {self}'


V2_0 = Version(2, 0)
V2_1 = Version(2, 1)
