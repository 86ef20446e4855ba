# SPDX-License-Identifier: Apache-2.0
"""The parts of the page of one queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext_lazy as _
from horizon import exceptions, tabs

from zaqar_dashboard import api
from zaqar_dashboard.pages import PagedData, as_text
from zaqar_dashboard.queues.tables import MessagesTable, SubscriptionsTable


class OverviewTab(tabs.Tab):
    """Statistics and metadata."""

    name = _('Overview')
    slug = 'overview'
    template_name = 'zaqar_dashboard/_overview.html'
    preload = False

    def get_context_data(self, request: Any) -> dict[str, Any]:
        """Return what the template needs."""
        queue = self.tab_group.kwargs['queue_name']
        context: dict[str, Any] = {'queue': queue}
        try:
            context['stats'] = api.stats(request, queue)
            context['console'] = api.console(request)
        except Exception:
            text = _('Unable to count messages: %(exc)s')
            exceptions.handle(request, text, details='')
        context['metadata'] = [
            (key, as_text(value))
            for key, value in sorted(self.tab_group.kwargs['metadata'].items())
            if value is not None
        ]
        return context


class _TableTab(PagedData, tabs.TableTab):
    """A tab with one table, which is read when it is opened."""

    template_name = 'horizon/common/_detail_table.html'
    preload = False

    def read_rows(self) -> Sequence[Any]:
        """Return the rows."""
        return self.read_page(self.table_classes[0])


class MessagesTab(_TableTab):
    """Messages, all that there are, without taking them."""

    name = _('Messages')
    slug = 'messages'
    table_classes = (MessagesTable,)
    failure = _('Unable to list messages: %(exc)s')
    policy_rules = (('messaging', 'messages:get_all'),)
    get_messages_data = _TableTab.read_rows

    def read(self, marker: str | None) -> api.Page:
        """Read a page."""
        queue = self.tab_group.kwargs['queue_name']
        return api.messages(self.request, queue, marker)


class SubscriptionsTab(_TableTab):
    """Subscriptions."""

    name = _('Subscriptions')
    slug = 'subscriptions'
    table_classes = (SubscriptionsTable,)
    failure = _('Unable to list subscriptions: %(exc)s')
    policy_rules = (('messaging', 'subscription:get_all'),)
    get_subscriptions_data = _TableTab.read_rows

    def read(self, marker: str | None) -> api.Page:
        """Read a page."""
        queue = self.tab_group.kwargs['queue_name']
        return api.subscriptions(self.request, queue, marker)


class QueueTabs(tabs.TabGroup):
    """All parts."""

    slug = 'queue'
    tabs = (OverviewTab, MessagesTab, SubscriptionsTab)
