# SPDX-License-Identifier: Apache-2.0
"""The endpoint ``/metrics`` of the processes of this machine."""

import contextlib
import os
import pathlib
import platform
import signal
import socket
import threading
import wsgiref.simple_server
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from zaqar import metrics, version

#: Connections that wait; one Prometheus asks once in a while.
BACKLOG = 16


def serve(listener: socket.socket, folder: str) -> None:
    """Serve what the processes share in a folder, until SIGTERM."""
    metrics.share(folder)
    registry = CollectorRegistry()
    registry.register(_BuildInfo())
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    server = wsgiref.simple_server.WSGIServer(
        listener.getsockname()[:2], _Quiet, bind_and_activate=False
    )
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = 'zaqar', 0
    server.setup_environ()
    server.set_app(make_wsgi_app(registry))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Wakes now and then, since a signal may be given to another thread.
    while not ended.wait(0.5):
        forget_the_dead(folder)
    server.shutdown()


class _BuildInfo(Collector):
    """The release, as labels of a series with the value 1."""

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            'zaqar_build_info',
            'Release of the service and of Python; always 1.',
            labels=('version', 'python'),
        )
        labels = version.version_string(), platform.python_version()
        info.add_metric(labels, 1)
        yield info


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, *args: object) -> None:
        """Log nothing."""


def forget_the_dead(folder: str, kind: str = 'gauge_live') -> None:
    """Remove gauges of processes that have ended.

    What they counted stays, or the sums would fall.

    :param kind: the beginning of what is removed; '' for everything, before
        the first process of a new start counts
    """
    for path in pathlib.Path(folder).glob(f'{kind}*_*.db'):
        pid = path.stem.rpartition('_')[2]
        if pid.isdigit() and not os.path.exists(f'/proc/{pid}'):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
