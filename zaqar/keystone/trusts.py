# SPDX-License-Identifier: Apache-2.0
"""Trusts in Keystone with the service as trustee, and tokens for them.

:source: reference/delivery, "Trusts"
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from keystoneauth1 import exceptions, loading
from oslo_config import cfg

from zaqar import store_clock
from zaqar.controllers.trust_interface import TrustRefused
from zaqar.errors import StoreUnavailable
from zaqar.identity import Identity
from zaqar.keystone import (
    caller_as_trustor,
    service_hosts_for_webhooks_and_trust_tokens,
    service_session,
)
from zaqar.keystone.caller_as_trustor import Trustor, trustor
from zaqar.keystone.service_hosts_for_webhooks_and_trust_tokens import HostPort

LOG = logging.getLogger(__name__)

GROUP = 'trustee'

#: Seconds before its expiry at which a token is renewed, and the maximum
#: number of cached ones.
MARGIN = 60
MAX_TOKENS = 1000

#: Attempts to create a trust, each with another second of expiry.
TRIES = 5

_UNAVAILABLE = 'The identity service has not made a trust.'

_ID = re.compile(r'[0-9A-Za-z_-]{1,64}')

#: Statuses after which the same request may succeed later.
_TRANSIENT = frozenset((408, 409, 429))

#: Ids, which error texts of Keystone may hold.
_SHOWN_ID = re.compile(r'\b[0-9a-f]{32}\b')


def trustee_opts() -> list[cfg.Opt]:
    """Return the options of ``[trustee]``, for the sample."""
    options = [
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_auth_plugin_conf_options('password'),
    ]
    return [_documented(option) for option in options]


def _documented(option: cfg.Opt) -> cfg.Opt:
    """Return an option of a library with name and help in our style."""
    option = copy.copy(option)
    option.name = option.dest
    option.help = f'{str(option.help).strip().rstrip(".")}.'
    return option


@dataclass(frozen=True, slots=True)
class Token:
    """A token for a trust.

    :ivar places: hosts and ports of the services that it is for
    :ivar exempt: those of them that need no public address
    """

    text: str
    expires_at: float
    places: frozenset[HostPort]
    exempt: frozenset[HostPort]


class KeystoneTrusts:
    """Trusts with the user of ``[trustee]`` as trustee."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        wall: Callable[[], float] = lambda: store_clock.wall_ms() / 1000,
    ) -> None:
        self._conf = conf
        self._wall = wall
        self._lock = threading.Lock()
        self._tokens: LRUCache[str, Token] = LRUCache(MAX_TOKENS)
        loading.register_auth_conf_options(conf, GROUP)
        loading.register_session_conf_options(conf, GROUP)
        self._session: Any = loading.load_session_from_conf_options(
            conf, GROUP, timeout=service_session.TIMEOUT
        )
        self._auth: Any = self._plugin()
        self._user_id: str | None = None

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> KeystoneTrusts | None:
        """Return it if the user of ``[trustee]`` is configured."""
        loading.register_auth_conf_options(conf, GROUP)
        return cls(conf) if conf[GROUP].auth_type else None

    def create(
        self, identity: Identity, seconds: int
    ) -> tuple[str, datetime.datetime | None]:
        """Create a trust; see :class:`.trust_interface.Trusts`."""
        caller = trustor(identity)
        with _own_user():
            trustee = self._trustee()
        try:
            return self._create(caller, trustee, seconds)
        except exceptions.ClientException as error:
            if is_final(error):
                refused = refusal(error)
                LOG.info('%s', refused)
                raise refused from error
            LOG.error(
                'A trust could not be created: %s',
                _without_ids(error),
            )
            raise StoreUnavailable(_UNAVAILABLE) from error

    def check(
        self, identity: Identity, trust_id: str
    ) -> datetime.datetime | None:
        """Check a trust; see :class:`.trust_interface.Trusts`."""
        caller = trustor(identity)
        if caller.is_delegated:
            raise TrustRefused(
                'A caller whose token is delegated itself cannot bring a '
                'trust.'
            )
        trust = None
        if _ID.fullmatch(trust_id):
            with _own_user():
                trust = self._read(trust_id, auth=self._auth)
                trustee = self._trustee()
        if trust is None or not caller_as_trustor.admits(
            trust, caller, trustee
        ):
            raise TrustRefused(
                'The option trust_id names no trust in the user of this '
                'service that the caller has made.'
            )
        return _moment(trust.get('expires_at'))

    def delete(self, trust_id: str) -> bool:
        """End a trust on behalf of its trustor; see the interface."""
        with self._lock:
            self._tokens.pop(trust_id, None)
        try:
            self._session.delete(
                f'{self._url()}/OS-TRUST/trusts/{trust_id}',
                auth=self._plugin(trust_id),
                # The library would log the id at DEBUG.
                log=False,
            )
        except (
            exceptions.NotFound,
            exceptions.Forbidden,
            exceptions.Unauthorized,
        ):
            # Keystone answers so for expired ones, too.
            LOG.debug('A trust does not exist any more')
        except exceptions.ClientException as error:
            # Its text may name the trust.
            LOG.warning('A trust could not be ended: %s', type(error).__name__)
            return is_final(error)
        return True

    def token(self, trust_id: str) -> Token:
        """Return a token for a trust that is valid for a while yet.

        :raises ClientException: Keystone gives none
        """
        with self._lock:
            token = self._tokens.get(trust_id)
        if token is not None and token.expires_at - self._wall() > MARGIN:
            return token
        access = self._plugin(trust_id).get_access(self._session)
        entries = access.service_catalog.catalog
        token = Token(
            access.auth_token,
            access.expires.timestamp(),
            service_hosts_for_webhooks_and_trust_tokens.served(entries),
            service_hosts_for_webhooks_and_trust_tokens.exempt(entries),
        )
        with self._lock:
            self._tokens[trust_id] = token
        return token

    def drop(self, trust_id: str) -> None:
        """Forget a token that was refused."""
        with self._lock:
            self._tokens.pop(trust_id, None)

    def _create(
        self, caller: Trustor, trustee: str, seconds: int
    ) -> tuple[str, datetime.datetime | None]:
        roles, parent = caller.roles, None
        if caller.trust_id is not None:
            headers = {'X-Auth-Token': caller.token}
            parent = self._read(
                caller.trust_id, headers=headers, authenticated=False
            )
        if parent is not None:
            # The token has the roles that these imply as well.
            roles &= caller_as_trustor.roles(parent)
        trust = {
            'impersonation': True,
            'project_id': caller.project_id,
            'roles': [{'id': role} for role in sorted(roles)],
            'trustor_user_id': caller.user_id,
            'trustee_user_id': trustee,
        }
        for end, most in self._ends(parent, seconds):
            try:
                response = self._session.post(
                    f'{self._url()}/OS-TRUST/trusts',
                    json={'trust': {**trust, 'expires_at': end}},
                    headers={'X-Auth-Token': caller.token},
                    authenticated=False,
                    log=False,
                )
            except exceptions.Conflict:
                # A trust with the same expiry exists; try another second.
                continue
            return str(response.json()['trust']['id']), most
        raise exceptions.Conflict('there are as many trusts as that already')

    def _ends(
        self, parent: Mapping[str, Any] | None, seconds: int
    ) -> Iterator[tuple[str | None, datetime.datetime | None]]:
        """Yield possible expiries of a new trust, in the order to try them.

        None is for a trust that lasts until it is deleted. With each comes the
        moment at which the subscription has to end.

        :param parent: the trust that the token of the caller is for
        """
        now = datetime.datetime.fromtimestamp(self._wall(), datetime.UTC)
        most = None
        if parent is not None:
            most = _moment(parent.get('expires_at'))
            if most is None:
                # Keystone (30.0) fails where it compares an end with none.
                yield None, None
                return
        for more in range(TRIES):
            end = now + datetime.timedelta(seconds=seconds + more)
            if most is not None and end > most:
                # No later than the trust of the caller.
                end = most - datetime.timedelta(seconds=more)
            yield end.strftime('%Y-%m-%dT%H:%M:%S.000000Z'), most

    def _read(self, trust_id: str, **how: Any) -> dict[str, Any] | None:
        """Return a trust, None if it cannot be seen."""
        try:
            response = self._session.get(
                f'{self._url()}/OS-TRUST/trusts/{trust_id}', log=False, **how
            )
        except (exceptions.NotFound, exceptions.Forbidden):
            return None
        trust: dict[str, Any] = response.json()['trust']
        return trust

    def _trustee(self) -> str:
        if self._user_id is None:
            self._user_id = str(self._auth.get_user_id(self._session))
        return self._user_id

    def _url(self) -> str:
        url = str(self._conf[GROUP].auth_url or '').rstrip('/')
        return url if url.endswith('/v3') else f'{url}/v3'

    def _plugin(self, trust_id: str | None = None) -> Any:
        options = {'trust_id': trust_id} if trust_id else {}
        return loading.load_auth_from_conf_options(
            self._conf, GROUP, **options
        )


@contextlib.contextmanager
def _own_user() -> Iterator[None]:
    """Log failures of requests by the user of ``[trustee]``."""
    try:
        yield
    except exceptions.ClientException as error:
        LOG.error(
            'A request by the user of [trustee] has failed: %s',
            _without_ids(error),
        )
        raise StoreUnavailable(_UNAVAILABLE) from error


def _moment(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)


def is_final(error: exceptions.ClientException) -> bool:
    """Return whether the same request would fail again."""
    status = getattr(error, 'http_status', 0)
    return 400 <= status < 500 and status not in _TRANSIENT


def refusal(error: exceptions.ClientException) -> TrustRefused:
    """Return a refusal of Keystone as an error for the caller."""
    reason = _without_ids(error).partition(' (HTTP ')[0]
    return TrustRefused(f'The identity service has refused a trust: {reason}')


def _without_ids(error: exceptions.ClientException) -> str:
    """Return the text of an error without ids, which may be of trusts."""
    return _SHOWN_ID.sub('...', str(error))
