# SPDX-License-Identifier: Apache-2.0
"""Manage pools, which belong to the service, not to a project."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from zaqar import request_deadline
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.name_validation import is_name
from zaqar.controllers.pool_and_flavor_lookups import capabilities, named, page
from zaqar.controllers.result_types import Detailed, DetailedPage
from zaqar.errors import (
    ConfigurationError,
    Conflict,
    InvalidBody,
    InvalidRequest,
    NotFound,
    PoolInUse,
    StoreUnavailable,
)
from zaqar.pools import flavor_records
from zaqar.pools.pool_records import KIND, Pool, pool_of
from zaqar.pools.pooled_catalogue import PooledCatalogue
from zaqar.pools.registered_and_virtual_pools import Pools
from zaqar.storage import secret_masking
from zaqar.storage.abstract_stores import OUTBOX, PENDING
from zaqar.storage.driver_declaration import Driver

LOG = logging.getLogger(__name__)

#: Longest URI and flavor, in characters.
MAX_TEXT = 255

MAX_WEIGHT = 2**32 - 1


_FIELDS = ('weight', 'uri', 'flavor', 'options')


def list_(
    ctx: Context,
    *,
    detailed: bool | None,
    limit: int | None,
    marker: str | None,
) -> DetailedPage[Pool]:
    """List pools by name, byte-wise ascending."""
    records = page(ctx, KIND, '', marker, limit, ctx.limits.max_pools_per_page)
    again = {'limit': limit, 'detailed': detailed, 'marker': marker}
    pools = [pool_of(record.name, record.data) for record in records]
    shown = [_visible(ctx, pool) for pool in pools]
    return DetailedPage(shown, bool(detailed), again)


def create(ctx: Context, *, pool_name: str, document: Any) -> None:
    """Create or replace a pool."""
    pools = named(ctx, 'pool', pool_name).pools
    unknown = sorted(set(document) - set(_FIELDS))
    if unknown:
        raise InvalidBody(f'Unexpected field: "{unknown[0]}".')
    missing = [key for key in ('uri', 'weight') if key not in document]
    if missing:
        raise InvalidBody(f'The field "{missing[0]}" is required.')
    fields = {'flavor': None, 'options': {}, **_checked(document)}
    _check_place(pools, pool_name, fields, (), 'Unable to create pool')
    pools.records.put(pool_name, fields)


def show(
    ctx: Context, *, pool_name: str, detailed: bool | None
) -> Detailed[Pool]:
    pool = named(ctx, 'pool', pool_name).pools.records.get(pool_name)
    if pool is None:
        raise _missing(pool_name)
    return Detailed(_visible(ctx, pool), bool(detailed))


def update(ctx: Context, *, pool_name: str, document: Any) -> Detailed[Pool]:
    """Change fields of a pool; unknown ones are ignored."""
    pools = named(ctx, 'pool', pool_name).pools
    changes = _checked(document)
    if not changes:
        raise InvalidBody(
            'One of `uri`, `weight`, `flavor`, or `options` needs to be '
            'specified'
        )
    old = pools.records.get(pool_name)
    if old is None:
        raise _missing(pool_name)
    own = {'uri': old.uri, 'flavor': old.flavor, 'options': old.options}
    fields = {**own, **changes}
    same = [key for key in own if key not in changes]
    _check_place(pools, pool_name, fields, same, 'Unable to update pool')
    changed = pools.records.change(pool_name, changes)
    if changed is None:
        raise _missing(pool_name)
    return Detailed(_visible(ctx, changed), detailed=False)


def delete(ctx: Context, *, pool_name: str) -> None:
    """Remove an unused pool; a missing one is fine.

    :raises PoolInUse: its flavor would have none, a queue is in it, or it
        has pending notifications
    :raises StoreUnavailable: whether it has cannot be known
    """
    catalogue = named(ctx, 'pool', pool_name)
    pool = catalogue.pools.records.get(pool_name)
    if pool is None:
        return
    if _is_last(catalogue, ctx.identity.project, pool):
        raise PoolInUse(
            f'This pool is used by flavors {pool.flavor}; It cannot be '
            'deleted.'
        )
    records = catalogue.pools.records
    # From here on no queue is placed there.
    mark = records.begin_deletion(pool_name)
    try:
        _check_unused(catalogue, pool)
    except BaseException:
        with request_deadline.undoing():
            records.give_up_deletion(pool_name, mark)
        raise
    if not records.end_deletion(pool_name, mark) and records.get(pool_name):
        # By another deletion, or this one took very long.
        raise StoreUnavailable('The pool was changed meanwhile. Try again.')


def _visible(ctx: Context, pool: Pool) -> Pool:
    """Return a pool as the caller may see it.

    Policy may let others than administrators see pools, but no passwords.
    """
    if 'admin' in ctx.identity.roles:
        return pool
    return dataclasses.replace(
        pool,
        uri=secret_masking.mask(pool.uri),
        options=secret_masking.mask_options(pool.options),
    )


def _checked(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields of a body, as they are stored."""
    fields = {key: document[key] for key in _FIELDS if key in document}
    for key in ('uri', 'flavor'):
        text = fields.get(key, '')
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise InvalidBody(
                f'"{key}" must be a text of at most {MAX_TEXT} characters.'
            )
    weight = fields.get('weight', 0)
    if type(weight) is not int or not 0 <= weight <= MAX_WEIGHT:
        raise InvalidBody(
            f'"weight" must be an integer from 0 to {MAX_WEIGHT}.'
        )
    if not isinstance(fields.get('options', {}), dict):
        raise InvalidBody('"options" must be an object.')
    if 'flavor' in fields:
        fields['flavor'] = fields['flavor'] or None
    return fields


def _check_place(
    pools: Pools,
    name: str,
    fields: Mapping[str, Any],
    same: Sequence[str],
    title: str,
) -> None:
    """Check that a pool can be used, and fits the others.

    :param same: unchanged fields, which need no check
    :param title: of the error if it differs from the pools of its flavor
    """
    others = [pool for pool in pools.records.all() if pool.name != name]
    if 'uri' not in same or 'options' not in same:
        _check_connection(pools, fields)
    if 'uri' not in same and any(p.uri == fields['uri'] for p in others):
        raise Conflict('The database URI is in use by another pool.')
    if 'uri' not in same or 'flavor' not in same:
        _check_capabilities(pools, fields, others, title)


def _check_connection(pools: Pools, fields: Mapping[str, Any]) -> None:
    uri = fields['uri']
    refusal = InvalidBody(f'cannot connect to {secret_masking.mask(uri)}')
    try:
        driver = pools.opener.driver(uri)
    except ConfigurationError as error:
        LOG.warning(
            'A pool cannot be opened: %s',
            secret_masking.scrub(str(error), uri),
        )
        raise refusal from None
    try:
        pools.opener.check(uri)
    except ConfigurationError as error:
        raise InvalidBody(
            secret_masking.scrub(f'"uri": {error}.', uri)
        ) from None
    _check_options(pools, driver, fields['options'])
    try:
        store = pools.opener.open(uri, fields['options'])
    except (ConfigurationError, StoreUnavailable) as error:
        LOG.warning('A pool cannot be opened: %s', error)
        raise refusal from None
    try:
        store.ping()
    except StoreUnavailable:
        LOG.warning('A pool does not respond: %s', secret_masking.mask(uri))
        raise refusal from None
    finally:
        store.close()


def _check_options(
    pools: Pools, driver: Driver, options: Mapping[str, Any]
) -> None:
    try:
        pools.opener.settings(driver, options)
    except (TypeError, ValueError) as error:
        raise InvalidBody(f'"options": {error}.') from None
    unknown = options.keys() - {option.dest for option in driver.message_opts}
    if unknown:
        # Accepted: pools may have options for several drivers.
        LOG.warning(
            'Pool options without effect on the driver %s: %s',
            driver.name,
            ', '.join(sorted(unknown)),
        )


def _check_capabilities(
    pools: Pools, fields: Mapping[str, Any], others: Sequence[Pool], title: str
) -> None:
    own = set(capabilities(pools, fields['uri']) or ())
    for pool in others:
        theirs = capabilities(pools, pool.uri)
        if pool.flavor != fields['flavor'] or theirs is None:
            continue
        if set(theirs) != own:
            raise InvalidRequest(
                'The pool being added does not support the minimum set of '
                'capabilities',
                title=title,
            )


def _is_last(catalogue: PooledCatalogue, project: str, pool: Pool) -> bool:
    """Tell whether a flavor has no other pool."""
    name = pool.flavor
    if name is None or not is_name(name):
        return False
    if flavor_records.find(catalogue.management, project, name) is None:
        return False
    return not any(
        other.flavor == name and other.name != pool.name
        for other in catalogue.pools.records.all()
    )


def _check_unused(catalogue: PooledCatalogue, pool: Pool) -> None:
    """Refuse the deletion of a pool in use."""
    if not pool.noted or catalogue.is_used(pool.name):
        raise PoolInUse('This pool is used by queues; It cannot be deleted.')
    store = catalogue.pools.store(pool.name)
    # In the order in which notices become pending deliveries.
    for qid in (OUTBOX, PENDING):
        # A page of a listing may be empty before the end.
        if store.stats(qid, now=store.clock.now()).total:
            raise PoolInUse(
                'This pool holds notifications that have yet to be '
                'delivered; It cannot be deleted.'
            )


def _missing(name: str) -> NotFound:
    return NotFound(f'Pool {name} does not exist')
