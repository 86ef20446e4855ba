# SPDX-License-Identifier: Apache-2.0
"""Quotas of projects, as they are shown and set."""

from collections.abc import Mapping
from typing import Any

import msgspec

from zaqar import control_character_patterns
from zaqar.controllers import (
    pending_byte_usage,
    quota_limit_sources,
    stored_byte_usage,
    subscription_expiry_and_count_records,
    websocket_connection_quota,
)
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.configured_quotas import RESOURCES, UNLIMITED, Limits
from zaqar.controllers.name_validation import MAX_PROJECT
from zaqar.errors import InvalidRequest
from zaqar.objects import Data, Kind, Record
from zaqar.storage.record_updates_and_listing import update as change

_NO_UPDATE = 'Unable to update quotas'


class ProjectQuotas(msgspec.Struct, frozen=True):
    """The quotas of a project.

    :ivar limits: by resource, without those that are unlimited
    :ivar usage: by resource, None where there is no single number
    """

    project: str
    limits: Limits
    usage: Mapping[str, int | None]


def show(ctx: Context, *, project_id: str | None = None) -> ProjectQuotas:
    """Return the quotas of a project, by default those of the caller's."""
    project = ctx.identity.project if project_id is None else project_id
    _check_project(project)
    usage = _usage(ctx, project)
    return ProjectQuotas(project, ctx.quotas.limits(project), usage)


def update(
    ctx: Context, *, project_id: str, document: Mapping[str, Any]
) -> ProjectQuotas:
    """Set limits of a project; null stands for the default.

    :param document: ``{"quotas": {resource: limit, ...}}``
    :returns: its quotas afterwards
    :raises InvalidRequest: quotas of projects are not set here, or one is
        below what the project has
    """
    _check_project(project_id)
    settings = ctx.quotas.settings
    if settings.use_unified_limits:
        raise InvalidRequest(
            'Limits of projects are set in Keystone: see "openstack limit '
            'create --help".',
            title=_NO_UPDATE,
        )
    if not settings.project_quotas:
        raise InvalidRequest(
            'Projects have no quotas of their own here ([quotas] '
            'project_quotas is off).',
            title=_NO_UPDATE,
        )
    changes = _changes(document)
    usage = _usage(ctx, project_id)
    for resource, limit in changes.items():
        used = usage[resource]
        if limit is not None and used is not None and 0 <= limit < used:
            raise InvalidRequest(
                f'The quota of {resource} cannot be {limit}: the project has '
                f'{used}.',
                title=_NO_UPDATE,
            )

    def edit(record: Record | None) -> Data:
        limits = {**(record.data if record else {}), **changes}
        return {
            name: limit for name, limit in limits.items() if limit is not None
        }

    key = (quota_limit_sources.KIND, project_id, quota_limit_sources.NAME)
    change(ctx.catalogue.management, key, edit)
    ctx.quotas.forget(project_id)
    return ProjectQuotas(project_id, ctx.quotas.limits(project_id), usage)


def _changes(document: Mapping[str, Any]) -> Mapping[str, int | None]:
    wanted = document.get('quotas')
    if not isinstance(wanted, dict) or not wanted:
        raise InvalidRequest(
            'The body needs the object "quotas".', title=_NO_UPDATE
        )
    for resource, limit in wanted.items():
        if resource not in RESOURCES:
            raise InvalidRequest(
                f'There is no resource "{resource[:64]}". There are '
                f'{", ".join(RESOURCES)}.',
                title=_NO_UPDATE,
            )
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, int):
            fault = 'must be an integer or null'
        elif limit < UNLIMITED:
            fault = f'must be {UNLIMITED}, for no limit, or more'
        else:
            continue
        raise InvalidRequest(
            f'The quota of {resource} {fault}.', title=_NO_UPDATE
        )
    return wanted


def _usage(ctx: Context, project: str) -> Mapping[str, int | None]:
    store = ctx.catalogue.management
    return {
        **dict.fromkeys(RESOURCES),
        'queues': store.count(Kind.QUEUE, project),
        'topics': store.count(Kind.TOPIC, project),
        'subscriptions': subscription_expiry_and_count_records.count(
            store, project
        ),
        'message_bytes': stored_byte_usage.held(ctx.catalogue, project)
        if ctx.usage is not None
        else None,
        'delivery_bytes': pending_byte_usage.pending(ctx.catalogue, project)
        if ctx.usage is not None
        else None,
        'sockets': websocket_connection_quota.recorded(store).get(project, 0),
    }


def _check_project(project: str) -> None:
    has_controls = control_character_patterns.PATTERN.search(project)
    if not project or len(project) > MAX_PROJECT or has_controls:
        raise InvalidRequest(
            f'The id of a project has 1 to {MAX_PROJECT} characters and no '
            'control characters.',
            title='Invalid project',
        )
