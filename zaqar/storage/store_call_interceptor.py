# SPDX-License-Identifier: Apache-2.0
"""A proxy that passes the calls of a store through a function."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from zaqar.event_loop_greenlets import offload_to

Store = TypeVar('Store')


class _Proxy:
    def __init__(self, store: Any, run: Callable[..., Any]) -> None:
        self._store = store
        self._run = run

    def __getattr__(self, attribute: str) -> Any:
        method = getattr(self._store, attribute)
        if not callable(method):
            return method
        through = functools.partial(self._run, attribute, method)
        # Next time it is found at once.
        self.__dict__[attribute] = through
        return through


def offloaded(store: Store) -> Store:
    """Return a store whose calls never block the loop of a greenlet.

    No more of them are under way than a worker has threads for requests: they
    would wait for connections.
    """
    return through(store, functools.partial(_offload, store))


def _offload(
    store: object,
    name: str,
    method: Callable[..., Any],
    *arguments: Any,
    **options: Any,
) -> Any:
    return offload_to(store, method, *arguments, **options)


def through(store: Store, run: Callable[..., Any]) -> Store:
    """Return a store whose calls go through a function.

    :param run: takes the name of the method, the method and its arguments
    """
    return cast(Store, _Proxy(store, run))
