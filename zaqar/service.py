# SPDX-License-Identifier: Apache-2.0
"""The service put together: the one place that knows everyone."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence, Set

import oslo_policy.opts
from oslo_config import cfg
from oslo_log import log

from zaqar import version
from zaqar.api import modes
from zaqar.api.dispatch import Dispatcher
from zaqar.api.policies import Authorizer
from zaqar.controllers.encryption import Cipher
from zaqar.controllers.limits import Limits
from zaqar.controllers.signatures import Signer
from zaqar.errors import ConfigurationError
from zaqar.storage import loader, pooling
from zaqar.storage.catalogue import Catalogue
from zaqar.storage.pooled import PooledCatalogue
from zaqar.storage.sweeper import Pace, Sweeper
from zaqar.transport import auth
from zaqar.transport.wsgi import app
from zaqar.transport.wsgi.responses import App

LOG = logging.getLogger(__name__)

#: What the WSGI application is called where programs have configuration
#: files of their own; packages name their folders after it.
WSGI_PROG = 'zaqar-queues'

#: Where WSGI servers, which hand over no arguments, may name files.
FILES = 'OS_ZAQAR_CONFIG_FILES'
FOLDER = 'OS_ZAQAR_CONFIG_DIR'

#: Libraries that say more than an operator wants to read.
QUIET = (
    '_granian=WARN',
    'alembic=WARN',
    'keystoneauth=WARN',
    'keystonemiddleware=WARN',
    'oslo.policy=WARN',
    'oslo_policy=WARN',
    'sqlalchemy=WARN',
    'stevedore=WARN',
    'urllib3=WARN',
)

_LOG_FORMAT = (
    '%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s '
    '[%(global_request_id)s %(request_id)s project_id:%(project_id)s] '
    '%(message)s'
)


class Service:
    """Everything that answers requests, in this process.

    Opens connections and starts threads, hence is made after the process has
    forked.

    :raises ConfigurationError: the service cannot work like this
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
        limits = Limits.from_conf(conf)
        authorizer = _authorizer(conf)
        signer = Signer.from_conf(conf)
        cipher = Cipher.from_conf(conf)
        limits = dataclasses.replace(limits, can_encrypt=cipher.works)
        auth.strategy(conf)
        pace = Pace.from_conf(conf)
        served = modes.from_conf(conf)
        # Last, so that a fault elsewhere leaves no half-made database.
        self.catalogue = _catalogue(conf, served)
        self.dispatcher = Dispatcher(
            authorizer,
            self.catalogue,
            limits,
            signer,
            cipher,
            served,
        )
        self._sweeper = Sweeper(self.catalogue, pace)

    def application(self) -> App:
        """Return the WSGI application."""
        return app.build(self.conf, self.dispatcher)

    def start(self) -> None:
        """Begin what goes on without being asked."""
        self._sweeper.start()

    def close(self) -> None:
        """Give everything back."""
        self._sweeper.stop()
        self.catalogue.close()


def configuration(
    prog: str,
    arguments: Sequence[str],
    prepare: Callable[[cfg.ConfigOpts], None] | None = None,
    *,
    files: list[str] | None = None,
    folders: list[str] | None = None,
) -> cfg.ConfigOpts:
    """Return the configuration of a program; log as it says.

    :param prog: its name, by which files are found
    :param prepare: registers the options of its command line
    :param files: read instead of those that would be found
    :raises ConfigurationError: a file or value is not as it should be
    :raises SystemExit: help was asked for, or the usage is wrong
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    log.set_defaults(
        logging_context_format_string=_LOG_FORMAT,
        default_log_levels=[*log.get_default_log_levels(), *QUIET],
    )
    if prepare is not None:
        prepare(conf)
    with _faults_explained():
        conf(
            list(arguments),
            project='zaqar',
            prog=prog,
            version=version.version_string(),
            default_config_files=files,
            default_config_dirs=folders,
        )
        log.setup(conf, 'zaqar', version.version_string())
    return conf


def application() -> App:
    """Return the application for a WSGI server of the operator's choice.

    Reads the files named by ``OS_ZAQAR_CONFIG_FILES`` (separated by ``;``)
    and ``OS_ZAQAR_CONFIG_DIR``, else those of the usual places. What is wrong
    with them is told in one line, then the process ends.
    """
    try:
        conf = configuration(
            WSGI_PROG,
            (),
            files=_from_environment(FILES),
            folders=_from_environment(FOLDER),
        )
        service = Service(conf)
        found = service.application()
    except ConfigurationError as error:
        print(f'{WSGI_PROG}: {error}', file=sys.stderr)
        raise SystemExit(1) from None
    service.start()
    warn_if_open(conf)
    return found


def warn_if_open(conf: cfg.ConfigOpts) -> None:
    """Say once that nobody is asked for a password, if so."""
    if not auth.strategy(conf):
        LOG.warning(
            '[DEFAULT] auth_strategy is not set: whoever reaches this port '
            'is trusted to be whoever the headers say, administrators '
            'included. Set it to "keystone" where others can reach it.'
        )


def _from_environment(name: str) -> list[str] | None:
    found = [part for part in os.environ.get(name, '').split(';') if part]
    for path in found:
        if not pathlib.Path(path).exists():
            raise ConfigurationError(f'{name}: {path} does not exist')
    return found or None


def _authorizer(conf: cfg.ConfigOpts) -> Authorizer:
    oslo_policy.opts.set_defaults(conf)
    with _faults_explained('[oslo_policy] policy_file: '):
        return Authorizer(conf)


def _catalogue(conf: cfg.ConfigOpts, served: Set[modes.Mode]) -> Catalogue:
    conf.register_opts(pooling.OPTS, pooling.GROUP)
    stores = loader.open_stores(conf)
    if 'pooling' not in served:
        return Catalogue(stores.management, stores.messages)
    pools = pooling.Pools(
        stores.management,
        loader.PoolOpener(conf),
        stores.messages,
        use_virtual=conf[pooling.GROUP].enable_virtual_pool,
    )
    return PooledCatalogue(stores.management, stores.messages, pools)


@contextlib.contextmanager
def _faults_explained(blame: str = '') -> Iterator[None]:
    """Turn what libraries raise into one line for an operator.

    :raises ConfigurationError: something was raised
    """
    try:
        yield
    except (cfg.Error, log.LogConfigError, OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        text = ' '.join(line.strip() for line in lines)
        raise ConfigurationError(f'{blame}{text}') from None
