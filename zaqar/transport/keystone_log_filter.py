# SPDX-License-Identifier: Apache-2.0
"""A filter of what keystonemiddleware logs."""

import logging


class _OneLine(logging.Filter):
    """Reduces the log of a failure in keystonemiddleware to one line.

    When Keystone refuses the service's credentials it logs the answer twice,
    and then an error that names no option.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith('Identity response: '):
            return False
        if text.startswith('Unable to validate token: '):
            record.msg, record.args = '%s', (_explained(text),)
        return True


_ONE_LINE = _OneLine()


def _explained(text: str) -> str:
    if 'rejected authorization' in text:
        return (
            'Keystone refuses the credentials of this service; no token can '
            'be validated. Check username, password, their domain and the '
            'project in [keystone_authtoken]'
        )
    return f'No token can be validated: {text.partition(": ")[2]}'


def install() -> None:
    """Shorten the log of failures in keystonemiddleware."""
    logging.getLogger('keystonemiddleware.auth_token').addFilter(_ONE_LINE)
