# SPDX-License-Identifier: Apache-2.0
"""Errors of the messaging service, as Horizon is to handle them.

The files in ``enabled/`` announce them to Horizon.
"""


class ServiceError(Exception):
    """The service refused a request, or could not be reached."""


class NotFound(ServiceError):
    """The service does not have what was asked for."""


class Unauthorized(ServiceError):
    """The token is not valid any more: Horizon lets the user log in again."""
