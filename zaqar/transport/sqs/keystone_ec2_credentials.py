# SPDX-License-Identifier: Apache-2.0
"""EC2 credentials in Keystone: access keys and secrets of its users.

Keystone proves a signature and answers with a token. Then the secret is read,
with the right of the service's user, and proves the signatures of its access
key in this process for a while.

:source: Keystone, ``POST /v3/ec2tokens`` and ``GET /v3/credentials/{id}``
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from keystoneauth1 import exceptions
from oslo_config import cfg

from zaqar.bounded_cache import BoundedCache
from zaqar.errors import one_line
from zaqar.identity import Identity
from zaqar.keystone import service_session
from zaqar.transport.sqs import caller_by_signature, settings
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.signature_v4 import Scope, Signature

LOG = logging.getLogger(__name__)

#: Access keys that are remembered, and signing keys of each: clients have
#: another one every day, and for each region.
MOST_KNOWN = 10_000
MOST_KEYS = 4

#: Seconds before the end of a token at which it is not used any more.
MARGIN = 5.0


class _Known:
    """A secret and whom it proves; its text shows neither.

    :ivar until: when it is forgotten, on the clock that never goes back
    """

    __slots__ = ('_keys', '_secret', 'identity', 'until')

    def __init__(self, secret: str, identity: Identity, until: float) -> None:
        self._secret = secret
        self._keys: BoundedCache[Scope, bytes] = BoundedCache(MOST_KEYS)
        self.identity = identity
        self.until = until

    def proves(self, signature: Signature) -> bool:
        """Tell whether a signature is one of the secret."""
        key = self._keys.get(signature.scope)
        if key is not None:
            return signature.is_made_with(key)
        key = signature.signing_key(self._secret)
        is_proved = signature.is_made_with(key)
        if is_proved:
            # Only those of scopes that somebody with the secret uses.
            self._keys[signature.scope] = key
        return is_proved


class Ec2Credentials:
    """Proves signatures by EC2 credentials.

    :param session: of the service's user
    :param seconds: for which a secret is remembered
    """

    def __init__(
        self,
        session: Any,
        filters: Mapping[str, Any],
        seconds: int,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._filters = dict(filters)
        self._seconds = seconds
        self._timer = timer
        self._known: BoundedCache[str, _Known] = BoundedCache(MOST_KNOWN)
        self._has_warned = False

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Ec2Credentials:
        session = service_session.open_session(conf)
        conf.register_opts(settings.OPTS, settings.GROUP)
        group = conf[service_session.GROUP]
        filters = {
            'service_type': 'identity',
            'interface': group.interface,
            'region_name': group.region_name,
            'min_version': (3, 0),
            'max_version': (3, 'latest'),
        }
        return cls(
            session, filters, conf[settings.GROUP].secret_cache_duration
        )

    def prove(self, signature: Signature) -> Identity:
        """Return who has made a signature.

        :raises Fault: it is not valid, or Keystone does not answer
        """
        if signature.method == 'POST' and signature.query:
            raise Fault(
                'IncompleteSignature',
                'A POST request cannot have a query. Send its parameters in '
                'the body.'
                if signature.expires is None
                else 'A POST request cannot be pre-signed. Sign it for GET, '
                'or in its headers.',
            )
        known = self._known.get(signature.access)
        if known is not None and self._timer() < known.until:
            if known.proves(signature):
                return known.identity
            raise _mismatch()
        self._known.pop(signature.access, None)
        identity, seconds = self._proved(signature)
        lifetime = min(self._seconds, seconds - MARGIN)
        secret = self._secret(signature.access) if lifetime > 0 else None
        if secret is not None:
            known = _Known(secret, identity, self._timer() + lifetime)
            # What is read now may be another one than Keystone has just used.
            if known.proves(signature):
                self._known[signature.access] = known
        return identity

    def _proved(self, signature: Signature) -> tuple[Identity, float]:
        """Have Keystone prove a signature.

        :returns: who has made it, and the seconds for which that holds
        """
        try:
            answer = self._session.post(
                '/ec2tokens',
                json={'credentials': _credentials(signature)},
                endpoint_filter=self._filters,
                # Neither signatures nor tokens are logged.
                log=False,
            )
        except exceptions.NotFound as error:
            raise Fault(
                'InvalidClientTokenId', 'The access key does not exist.'
            ) from error
        except exceptions.Unauthorized as error:
            raise self._refusal(signature.access) from error
        except exceptions.ClientException as error:
            raise _unavailable('prove a signature', error) from error
        token = answer.json()['token']
        return _identity(token, answer.headers.get('X-Subject-Token'))

    def _refusal(self, access: str) -> Fault:
        """Return why Keystone refuses a request of an access key."""
        if self._blob(access) is None:
            # There is none, or nobody may tell.
            return Fault(
                'InvalidClientTokenId',
                'The access key or its signature is not valid.',
            )
        return _mismatch()

    def _secret(self, access: str) -> str | None:
        blob = self._blob(access)
        return None if blob is None else blob.get('secret')

    def _blob(self, access: str) -> Mapping[str, str] | None:
        """Return a credential, None if there is none or it is not readable."""
        name = hashlib.sha256(access.encode()).hexdigest()
        try:
            answer = self._session.get(
                f'/credentials/{name}',
                endpoint_filter=self._filters,
                log=False,
            )
            blob = msgspec.json.decode(
                answer.json()['credential']['blob'], type=dict[str, Any]
            )
        except exceptions.NotFound:
            return None
        except exceptions.Forbidden:
            self._warn()
            return None
        except (exceptions.ClientException, KeyError, ValueError) as error:
            LOG.warning('A credential cannot be read: %s', one_line(error))
            return None
        return blob

    def _warn(self) -> None:
        if not self._has_warned and self._seconds:
            self._has_warned = True
            LOG.warning(
                'The user of [%s] may not read credentials of others: '
                'Keystone proves every request of clients of Amazon SQS. '
                'Give it a role that may read them, such as reader in the '
                'system, or set [%s] secret_cache_duration = 0.',
                service_session.GROUP,
                settings.GROUP,
            )


def _credentials(signature: Signature) -> Mapping[str, Any]:
    """Return what Keystone proves a signature by."""
    headers = dict(signature.headers)
    query = dict(signature.query)
    if signature.expires is None:
        headers['Authorization'] = signature.authorization
        headers.pop('x-amz-date', None)
        headers['X-Amz-Date'] = signature.moment
    return {
        'access': signature.access,
        'signature': signature.value,
        'host': headers.get('host', ''),
        'verb': signature.method,
        'path': signature.path,
        'params': query,
        'headers': headers,
        'body_hash': signature.body_hash,
    }


def _identity(
    token: Mapping[str, Any], text: str | None
) -> tuple[Identity, float]:
    """Return the caller that a token is for, and the seconds it is valid."""
    if (token.get('application_credential') or {}).get(
        'access_rules'
    ) is not None:
        raise Fault(
            'AccessDenied',
            'The credential has access rules, none of which is about '
            'Amazon SQS.',
        )
    user, project = token['user'], token.get('project')
    if project is None:
        raise Fault('AccessDenied', 'The credential is for no project.')
    values = {
        'user_id': user['id'],
        'user_domain_id': user['domain']['id'],
        'project_domain_id': project['domain']['id'],
    }
    end = datetime.datetime.fromisoformat(token['expires_at'])
    left = (end - datetime.datetime.now(datetime.UTC)).total_seconds()
    identity = Identity(
        project=project['id'],
        client=caller_by_signature.client_id(user['id']),
        roles=tuple(role['name'].lower() for role in token['roles']),
        values=values,
        token=text,
        validated={k: v for k, v in token.items() if k != 'catalog'},
    )
    return identity, left


def _mismatch() -> Fault:
    return Fault(
        'SignatureDoesNotMatch',
        'The request signature is not the one that was calculated. Check '
        'the secret key and the signing method.',
    )


def _unavailable(what: str, error: Exception) -> Fault:
    LOG.error('Keystone did not %s: %s', what, one_line(error))
    return Fault(
        'ServiceUnavailable', 'The identity service is not available.'
    )
