# SPDX-License-Identifier: Apache-2.0
"""Queues, subscriptions and a notifier in this process, on a real store."""

from __future__ import annotations

import ipaddress
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs
from oslo_config import cfg

from zaqar import identity, store_clock
from zaqar.controllers import (
    message_reading_and_deletion,
    posting,
    queues,
    subscription_deliveries,
    subscriptions,
)
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.pipeline_and_confirmation_settings import Pipeline
from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.controllers.rate_limits import Throttle
from zaqar.controllers.trust_interface import Trusts
from zaqar.controllers.url_signatures import Signer
from zaqar.identity import Identity
from zaqar.keystone.service_catalog import PublicEndpoints
from zaqar.microversion_constants import V2_0, Version
from zaqar.notification.fanout import Fanout
from zaqar.notification.notifier_service import Notifier
from zaqar.notification.sender_interface import Sender
from zaqar.notification.settings import NotificationSettings
from zaqar.objects import Message, Scope
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import (
    OUTBOX,
    PENDING,
    ManagementStore,
    MessageStore,
)
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER

CLIENT = '3381af92-2b9e-11e3-b191-71861300734c'
KEY = 'a key for tests, long enough'

#: Everything of this machine may be reached.
OPEN = {
    'allowed_networks': (ipaddress.ip_network('127.0.0.0/8'),),
    'allowed_ports': ((1, 65535),),
}

#: As few attempts as there can be: two later ones, far away.
FEW = {
    'retries_with_no_delay': 0,
    'minimum_delay_retries': 0,
    'minimum_delay': 1000,
    'maximum_delay': 1010,
    'maximum_delay_retries': 0,
}

PATIENCE = 60.0


def fan_out(ctx: Context, store: MessageStore) -> int:
    """Fan out waiting notices, and finish; return how many there were."""
    expansion = Fanout(ctx).expand(store)
    if expansion is None:
        return 0
    expansion.finish()
    return expansion.count


def _nothing_configured() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar', default_config_files=[], default_config_dirs=[])
    return conf


def _sqlite(folder: pathlib.Path) -> tuple[MessageStore, ManagementStore]:
    uri = f'sqlite:///{folder}/zaqar.sqlite'
    return DRIVER.open_messages(uri, {}), DRIVER.open_management(uri, {})


class Rig:
    """A project, and the notifier.

    :param stores: of messages and of records; None for SQLite in ``folder``
    :param version: in which its user asks
    :param settings: other than usual
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        confirms: bool = False,
        confirms_mail: bool = False,
        signing_key: str | None = KEY,
        public: PublicEndpoints | None = None,
        senders: Mapping[str, Sender] | None = None,
        key: str | None = None,
        trusts: Trusts | None = None,
        throttle: Throttle | None = None,
        quotas: Quotas | None = None,
        stores: tuple[MessageStore, ManagementStore] | None = None,
        version: Version = V2_0,
        **settings: Any,
    ) -> None:
        self.ahead = 0.0
        self.store, self.management = stores or _sqlite(folder)
        for store in (self.store, self.management):
            store.clock = store_clock.Clock(wall=self.now)
        self.catalogue = Catalogue(self.management, self.store)
        self.ctx = Context(
            Identity('p', CLIENT),
            self.catalogue,
            Limits(can_encrypt=key is not None),
            signer=Signer(signing_key),
            cipher=Cipher({'': key} if key else None),
            pipeline=Pipeline(True, confirms, confirms_mail),
            trusts=trusts,
            throttle=throttle,
            quotas=quotas or Quotas(),
            version=version,
        )
        inner = structs.replace(
            self.ctx, identity=identity.service_identity('')
        )
        self.settings = NotificationSettings(
            **{**OPEN, **settings},
            require_confirmation=confirms,
            conf=_nothing_configured(),
            management=self.management,
        )
        self._make: Callable[[], Notifier] = lambda: Notifier(
            inner, self.settings, lambda: public or PublicEndpoints(), senders
        )
        self.notifier: Notifier | None = None

    def now(self) -> int:
        """Return the time as the stores have it."""
        return store_clock.wall_ms() + int(self.ahead * 1000)

    def start(self) -> None:
        """Begin to deliver."""
        self.notifier = self._make()
        self.notifier.start()

    def stop(self) -> None:
        """Deliver no more."""
        if self.notifier is not None:
            self.notifier.stop()
            self.notifier = None

    def close(self) -> None:
        """Give everything back."""
        self.stop()
        self.catalogue.close()

    def queue(self, name: str = 'q', **metadata: Any) -> None:
        """Make a queue."""
        queues.create(self.ctx, scope=Scope('p', name), document=metadata)

    def subscribe(
        self, uri: str, queue: str = 'q', ttl: int = 3600, **options: Any
    ) -> str:
        """Subscribe; return the id."""
        return subscriptions.create(
            self.ctx,
            scope=Scope('p', queue),
            document={'subscriber': uri, 'ttl': ttl, 'options': options},
        ).id

    def post(self, *bodies: Any, queue: str = 'q', **fields: Any) -> None:
        """Post messages."""
        document = {'messages': [{'body': body, **fields} for body in bodies]}
        posting.post(
            self.ctx,
            scope=Scope('p', queue),
            document=msgspec.json.decode(
                json.dumps(document).encode(), type=posting.Post
            ),
        )

    def post_raw(self, *bodies: bytes, queue: str = 'q') -> None:
        """Post JSON texts as they are."""
        items = [
            posting.PostedMessage(body=msgspec.Raw(body)) for body in bodies
        ]
        scope = Scope('p', queue)
        posting.post(self.ctx, scope=scope, document=posting.Post(items))

    def bodies(self, queue: str) -> list[Any]:
        """Return what the messages of a queue hold."""
        return [json.loads(one.body) for one in self.messages(queue)]

    def messages(self, queue: str) -> Sequence[Message]:
        """Return the messages of a queue."""
        page = message_reading_and_deletion.list_(
            self.ctx,
            scope=Scope('p', queue),
            marker=None,
            limit=20,
            echo=True,
            include_claimed=True,
            include_delayed=True,
            ids=None,
        )
        return page.messages

    def deliveries(self, subscription: str, queue: str = 'q') -> Any:
        """Return what the owner sees of a subscription's deliveries."""
        return subscription_deliveries.show(
            self.ctx, scope=Scope('p', queue), subscription_id=subscription
        )

    def waiting(self) -> Sequence[Message]:
        """Return what is still in the outbox."""
        message_reading_and_deletion: list[Message] = []
        for qid in (OUTBOX, PENDING):
            message_reading_and_deletion += self.store.list(
                qid,
                now=self.now(),
                limit=1000,
                include_claimed=True,
                include_delayed=True,
            ).messages
        return message_reading_and_deletion

    def put_off(self) -> None:
        """Wait until a delivery waits for a later attempt, and no other.

        Before the time changes: claims on what was sent, but is not written
        yet, would lapse, and it would be sent again.
        """

        def is_put_off() -> bool:
            waiting = self.waiting()
            return all(one.visible_at for one in waiting) and any(
                b'"attempt":' in one.body for one in waiting
            )

        self.until(is_put_off)

    def rests(self) -> None:
        """Wait until nothing is left to do."""
        self.until(lambda: not self.waiting())

    def stored(self, qid: str) -> Sequence[Message]:
        """Return what a queue has, held and delayed messages included."""
        return self.store.list(
            qid,
            now=self.now(),
            limit=100,
            include_claimed=True,
            include_delayed=True,
        ).messages

    def until(self, true: Callable[[], Any]) -> Any:
        """Wait for what must come true."""
        end = time.monotonic() + PATIENCE
        while not (result := true()):
            assert time.monotonic() < end, 'it does not come'
            time.sleep(0.02)
        return result
