# SPDX-License-Identifier: Apache-2.0
"""The table of pools."""

from __future__ import annotations

import re
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy
from horizon import tables

from zaqar_dashboard import api
from zaqar_dashboard.pages import PagedTable

#: Passwords of URIs, before the host and in the query.
_SECRETS = re.compile(r'(?<=:)[^:/@]*(?=@)|(?<=password=)[^&]*', re.I)


def masked(uri: str) -> str:
    """Return a URI without passwords."""
    return _SECRETS.sub('***', uri)


class CreatePool(tables.LinkAction):
    """Opens the form for a new pool."""

    name = 'create'
    verbose_name = _('Create Pool')
    url = 'horizon:admin:message_pools:create'
    classes = ('ajax-modal',)
    icon = 'plus'
    policy_rules = (('messaging', 'pools:create'),)


class UpdatePool(tables.LinkAction):
    """Opens the form of a pool."""

    name = 'update'
    verbose_name = _('Update Pool')
    url = 'horizon:admin:message_pools:update'
    classes = ('ajax-modal',)
    icon = 'pencil'
    policy_rules = (('messaging', 'pools:update'),)


class DeletePool(tables.DeleteAction):
    """Deletes pools that are not in use."""

    policy_rules = (('messaging', 'pools:delete'),)

    @staticmethod
    def action_present(count: int) -> str:
        """Return what it is called."""
        return ngettext_lazy('Delete Pool', 'Delete Pools', count)

    @staticmethod
    def action_past(count: int) -> str:
        """Return what was done."""
        return ngettext_lazy('Deleted Pool', 'Deleted Pools', count)

    def delete(self, request: Any, obj_id: str) -> None:
        """Do it."""
        api.delete(request, 'pools', obj_id)


class PoolsTable(PagedTable):
    """Pools."""

    name = tables.Column('name', verbose_name=_('Name'))
    uri = tables.Column(
        lambda pool: masked(pool['uri']), verbose_name=_('URI')
    )
    weight = tables.Column('weight', verbose_name=_('Weight'))
    flavor = tables.Column('flavor', verbose_name=_('Flavor'))

    class Meta:
        """How it looks."""

        name = 'pools'
        verbose_name = _('Pools')
        pagination_param = 'marker'
        table_actions = (CreatePool, DeletePool)
        row_actions = (UpdatePool, DeletePool)
