# SPDX-License-Identifier: Apache-2.0
"""``OS::Zaqar::SignalWait``: let a stack wait for signals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib import parse

from heat.common import exception
from heat.engine import attributes, constraints, properties, support
from oslo_log import log

from . import zaqar_base, zaqar_rest

LOG = log.getLogger(__name__)

SIGNAL, COUNT, TIMEOUT = 'signal', 'count', 'timeout'

_SUCCESS, _FAILURE = 'SUCCESS', 'FAILURE'

#: Messages of a page, and every how many polls all pages are read. The other
#: polls read only new messages, and so miss those that were delayed.
_PAGE, _ALL_EVERY = 20, 10


class SignalFailure(exception.Error):
    """A signal reported a failure."""


class SignalTimeout(exception.Error):
    """Signals have not arrived in time."""


# No dataclass: those need their module in sys.modules, where Heat's loader
# does not put it.
class Wait:
    """A wait in progress, in the memory of one engine.

    :ivar count: number of signals to wait for
    :ivar timeout: how long, in seconds
    :ivar ends: when to give up, on the monotonic clock, in seconds
    :ivar marker: id of the last message seen
    :ivar polls: how often the queue was read
    """

    def __init__(self, count: int, timeout: int) -> None:
        self.count = count
        self.timeout = timeout
        self.ends = time.monotonic() + timeout
        self.marker: str | None = None
        self.polls = 0


class SignalWait(zaqar_base.ZaqarResource):
    """Waits for signals, which are messages in a queue.

    A signal is a message whose body is a map of ``status`` (SUCCESS by
    default, or FAILURE), ``reason``, ``data`` and ``id`` (by default that of
    the message). Any other body is a success with the body as its data. Of
    several with one id the last one counts. While the service is unreachable,
    it is polled again until the timeout.

    Signals stay in the queue, so several resources can wait for the same ones;
    a failure is removed after it has failed the stack, so that the next
    attempt starts over.
    """

    support_status = support.SupportStatus(status=support.SUPPORTED)

    queue_properties = (SIGNAL,)

    named_types = {SIGNAL: ('OS::Zaqar::Queue', 'OS::Zaqar::Signal')}

    properties_schema = {
        SIGNAL: zaqar_base.queue_schema(
            'Where the signals arrive: an OS::Zaqar::Signal or a queue.',
            required=True,
        ),
        COUNT: properties.Schema(
            properties.Schema.INTEGER,
            'Number of signals to wait for. Signals with one id count once.',
            default=1,
            constraints=[constraints.Range(min=1)],
            update_allowed=True,
        ),
        TIMEOUT: properties.Schema(
            properties.Schema.INTEGER,
            'Seconds to wait before the resource fails.',
            default=3600,
            constraints=[constraints.Range(min=1)],
            update_allowed=True,
        ),
    }

    attributes_schema = {
        'data': attributes.Schema(
            'Data of the signals by their ids.',
            type=attributes.Schema.MAP,
            cache_mode=attributes.Schema.CACHE_NONE,
        ),
        'reasons': attributes.Schema(
            'Reasons of the signals by their ids.',
            type=attributes.Schema.MAP,
            cache_mode=attributes.Schema.CACHE_NONE,
        ),
    }

    def handle_create(self) -> Wait:
        """Start to wait."""
        self.resource_id_set(self.physical_resource_name())
        return _wait(self.properties)

    def check_create_complete(self, wait: Wait) -> bool:
        """Return whether enough signals have arrived.

        :raises SignalFailure: one reports a failure
        :raises SignalTimeout: the time is over
        """
        fault = ''
        try:
            self._read(wait)
        except zaqar_rest.UNAVAILABLE as error:
            # Signals stay in the queue, where the next poll finds them all.
            wait.marker = None
            LOG.warning('Queue %s cannot be read: %s', self._queue(), error)
            fault = f'; it cannot be read now: {error}'
        arrived = len(self._seen())
        if arrived >= wait.count:
            return True
        if time.monotonic() > wait.ends:
            raise SignalTimeout(
                f'{arrived} of {wait.count} signals arrived in queue '
                f'{self._queue()} within {wait.timeout} seconds{fault}'
            )
        return False

    def _read(self, wait: Wait) -> None:
        """Record the signals that have arrived since the last poll."""
        if wait.polls % _ALL_EVERY == 0:
            wait.marker = None
        wait.polls += 1
        before = self._seen()
        seen = dict(before)
        for message in self._messages(wait):
            self._take(message, seen)
        if seen != before:
            self.metadata_set({'signals': seen})

    def handle_update(
        self, json_snippet: Any, tmpl_diff: Any, prop_diff: Any
    ) -> Wait:
        """Wait for the new number of signals."""
        return _wait(
            json_snippet.properties(self.properties_schema, self.context)
        )

    def check_update_complete(self, wait: Wait) -> bool:
        """Return whether enough signals have arrived."""
        return self.check_create_complete(wait)

    def handle_delete(self) -> None:
        """Keep the queue and its signals."""

    def metadata_update(self, new_metadata: Any = None) -> None:
        """Store the signals as the metadata of the resource."""

    def _queue(self) -> str:
        return str(self.properties[SIGNAL])

    def _seen(self) -> dict[str, Any]:
        """Return the signals that have arrived, by id."""
        metadata = self.metadata_get(refresh=True) or {}
        return dict(metadata.get('signals') or {})

    def _messages(self, wait: Wait) -> Iterator[dict[str, Any]]:
        """Read the messages behind the marker, and move it."""
        while True:
            query = {'echo': 'true', 'include_claimed': 'true', 'limit': _PAGE}
            if wait.marker is not None:
                query['marker'] = wait.marker
            path = f'queues/{self._queue()}/messages'
            page = self.zaqar().get(path, **query)
            yield from page['messages']
            marker = _marker(page)
            if not page['messages'] or marker is None:
                return
            wait.marker = marker

    def _take(self, message: dict[str, Any], seen: dict[str, Any]) -> None:
        """Record the signal of a message.

        :raises SignalFailure: a failure
        """
        body = message['body']
        if not isinstance(body, dict):
            body = {'data': body}
        own_id = body.get('id')
        name = str(message['id'] if own_id in (None, '') else own_id)
        status = body.get('status') or _SUCCESS
        reason = body.get('reason')
        if status == _SUCCESS:
            seen[name] = {'data': body.get('data'), 'reason': reason}
            return
        self.zaqar().delete(f'queues/{self._queue()}/messages/{message["id"]}')
        if status == _FAILURE:
            raise SignalFailure(f'{name} signals failure: {reason or "none"}')
        raise SignalFailure(
            f"{name} signals the status '{status}', which is neither "
            f'{_SUCCESS} nor {_FAILURE}'
        )

    def _resolve_attribute(self, name: str) -> Any:
        if self.resource_id is None:
            return None
        key = 'reason' if name == 'reasons' else name
        return {which: one[key] for which, one in self._seen().items()}


def _wait(props: Any) -> Wait:
    return Wait(props[COUNT], props[TIMEOUT])


def _marker(page: dict[str, Any]) -> str | None:
    """Return the marker of the page that follows."""
    for link in page['links']:
        query = parse.parse_qs(parse.urlsplit(str(link['href'])).query)
        if link['rel'] == 'next' and 'marker' in query:
            return query['marker'][0]
    return None


def resource_mapping() -> dict[str, type]:
    """Return the resource types."""
    return {'OS::Zaqar::SignalWait': SignalWait}
