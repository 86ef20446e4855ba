# SPDX-License-Identifier: Apache-2.0
"""The table of flavors."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy
from horizon import tables

from zaqar_dashboard import api
from zaqar_dashboard.pages import PagedTable


class CreateFlavor(tables.LinkAction):
    """Opens the form for a new flavor."""

    name = 'create'
    verbose_name = _('Create Flavor')
    url = 'horizon:admin:message_flavors:create'
    classes = ('ajax-modal',)
    icon = 'plus'
    policy_rules = (('messaging', 'flavors:create'),)


class UpdateFlavor(tables.LinkAction):
    """Opens the form of a flavor."""

    name = 'update'
    verbose_name = _('Update Flavor')
    url = 'horizon:admin:message_flavors:update'
    classes = ('ajax-modal',)
    icon = 'pencil'
    policy_rules = (('messaging', 'flavors:update'),)


class DeleteFlavor(tables.DeleteAction):
    """Deletes flavors; their pools stay."""

    policy_rules = (('messaging', 'flavors:delete'),)

    @staticmethod
    def action_present(count: int) -> str:
        """Return what it is called."""
        return ngettext_lazy('Delete Flavor', 'Delete Flavors', count)

    @staticmethod
    def action_past(count: int) -> str:
        """Return what was done."""
        return ngettext_lazy('Deleted Flavor', 'Deleted Flavors', count)

    def delete(self, request: Any, obj_id: str) -> None:
        """Do it."""
        api.delete(request, 'flavors', obj_id)


class FlavorsTable(PagedTable):
    """Flavors with their pools."""

    name = tables.Column('name', verbose_name=_('Name'))
    pools = tables.Column(
        lambda flavor: ', '.join(flavor['pool_list']), verbose_name=_('Pools')
    )

    class Meta:
        """How it looks."""

        name = 'flavors'
        verbose_name = _('Flavors')
        pagination_param = 'marker'
        table_actions = (CreateFlavor, DeleteFlavor)
        row_actions = (UpdateFlavor, DeleteFlavor)
