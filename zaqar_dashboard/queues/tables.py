# SPDX-License-Identifier: Apache-2.0
"""Tables of queues, and of messages and subscriptions of one queue."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy, npgettext_lazy
from horizon import tables

from zaqar_dashboard import api
from zaqar_dashboard.pages import PagedTable, as_text

#: Characters of a body that are shown.
SHOWN = 4096

Datum = Mapping[str, Any]

_WRAPPED = 'white-space: pre-wrap; overflow-wrap: anywhere'


def _count(name: str) -> Callable[[Datum], int | None]:
    def transform(queue: Datum) -> int | None:
        stats = queue.get('stats')
        # The store of its messages may be unreachable.
        return stats['messages'][name] if stats else None

    return transform


def _rate(name: str) -> Callable[[Datum], float | None]:
    def transform(queue: Datum) -> float | None:
        stats = queue.get('stats')
        return stats['rates'][name] if stats else None

    return transform


def _oldest(queue: Datum) -> int | None:
    stats = queue.get('stats')
    return stats['oldest_free_age'] if stats else None


def body(message: Datum) -> str:
    """Return the body of a message as HTML: text, cut where it is long."""
    text = as_text(message['body'], indent=2)
    # Horizon's own escape replaces what Angular would evaluate, which is not
    # what was posted.
    shown = html.escape(text[:SHOWN])
    pre = mark_safe(f'<pre ng-non-bindable style="{_WRAPPED}">{shown}</pre>')
    if len(text) <= SHOWN:
        return pre
    said = _('… %d characters in all') % len(text)
    return format_html('{}{}', pre, said)


def state(message: Datum) -> str:
    """Return what there is to say of a message beside its body."""
    said = []
    if message.get('visible_at'):
        said.append(_('Delayed until %s') % message['visible_at'])
    if message.get('group'):
        said.append(_('Group %s') % message['group'])
    letter = message.get('dead_letter')
    if letter:
        text = _('Dead letter of "%(queue)s": %(reason)s')
        reason = as_text(letter['reason'])
        said.append(text % {'queue': letter['queue'], 'reason': reason})
    return ' · '.join(map(str, said))


class _QueueLink(tables.LinkAction):
    """Leads to a form about one queue."""

    def get_link_url(self, datum: Datum | None = None) -> str:
        """Return the address of the form."""
        name = datum['name'] if datum else self.table.kwargs['queue_name']
        return reverse(self.url, args=[name])


class CreateQueue(tables.LinkAction):
    """Opens the form for a new queue."""

    name = 'create'
    verbose_name = _('Create Queue')
    url = 'horizon:project:queues:create'
    classes = ('ajax-modal',)
    icon = 'plus'
    policy_rules = (('messaging', 'queues:create'),)


class UpdateQueue(_QueueLink):
    """Opens the form of the metadata."""

    name = 'update'
    verbose_name = _('Update Metadata')
    url = 'horizon:project:queues:update'
    classes = ('ajax-modal',)
    icon = 'pencil'
    policy_rules = (('messaging', 'queues:update'),)


class ShareQueue(_QueueLink):
    """Opens the form for a pre-signed URL."""

    name = 'share'
    verbose_name = _('Pre-signed URL')
    url = 'horizon:project:queues:share'
    classes = ('ajax-modal',)
    icon = 'share'
    policy_rules = (('messaging', 'queues:share'),)


class PurgeQueue(tables.BatchAction):
    """Deletes all messages."""

    name = 'purge'
    action_type = 'danger'
    icon = 'trash-o'
    policy_rules = (('messaging', 'queues:purge'),)
    help_text = _(
        'All messages will be deleted for good, claimed and delayed ones '
        'included. The queue and its subscriptions stay.'
    )

    @staticmethod
    def action_present(count: int) -> str:
        """Return what it is called."""
        return npgettext_lazy(
            'of a queue', 'Delete Messages', 'Delete Messages', count
        )

    @staticmethod
    def action_past(count: int) -> str:
        """Return what was done."""
        return ngettext_lazy(
            'Deleted the messages of queue',
            'Deleted the messages of queues',
            count,
        )

    def action(self, request: Any, obj_id: str) -> None:
        """Do it."""
        api.purge_queue(request, obj_id)


class DeleteQueue(tables.DeleteAction):
    """Deletes queues."""

    policy_rules = (('messaging', 'queues:delete'),)
    help_text = _(
        'Queues are deleted with all their messages and claims. This cannot '
        'be undone.'
    )

    @staticmethod
    def action_present(count: int) -> str:
        """Return what it is called."""
        return ngettext_lazy('Delete Queue', 'Delete Queues', count)

    @staticmethod
    def action_past(count: int) -> str:
        """Return what was done."""
        return ngettext_lazy('Deleted Queue', 'Deleted Queues', count)

    def delete(self, request: Any, obj_id: str) -> None:
        """Do it."""
        api.delete_queue(request, obj_id)


class NameFilter(tables.FilterAction):
    """Searches all queues, not only those of the page."""

    name = 'contains'
    filter_type = 'server'
    filter_choices = (('name', _('Name contains'), True),)


class QueuesTable(PagedTable):
    """Queues with what they hold."""

    name = tables.Column(
        'name', verbose_name=_('Name'), link='horizon:project:queues:detail'
    )
    total = tables.Column(_count('total'), verbose_name=_('Messages'))
    free = tables.Column(_count('free'), verbose_name=_('Free'))
    claimed = tables.Column(_count('claimed'), verbose_name=_('Claimed'))
    delayed = tables.Column(_count('delayed'), verbose_name=_('Delayed'))
    oldest = tables.Column(_oldest, verbose_name=_('Oldest Free (s)'))
    posted = tables.Column(_rate('posted'), verbose_name=_('Posted/min'))
    deleted = tables.Column(_rate('deleted'), verbose_name=_('Deleted/min'))

    class Meta:
        """How it looks."""

        name = 'queues'
        verbose_name = _('Queues')
        pagination_param = 'marker'
        table_actions = (NameFilter, CreateQueue, DeleteQueue)
        row_actions = (UpdateQueue, ShareQueue, PurgeQueue, DeleteQueue)


class MessagesTable(PagedTable):
    """Messages of a queue, which are only looked at."""

    key = 'id'
    place = {'tab': 'queue__messages'}

    id = tables.Column('id', verbose_name=_('ID'))
    body = tables.Column(body, verbose_name=_('Body'))
    state = tables.Column(state, verbose_name=_('State'))
    age = tables.Column('age', verbose_name=_('Age (s)'))
    ttl = tables.Column('ttl', verbose_name=_('Lifetime (s)'))
    claims = tables.Column('claim_count', verbose_name=_('Claims'))

    class Meta:
        """How it looks."""

        name = 'messages'
        verbose_name = _('Messages')
        pagination_param = 'message_marker'
        multi_select = False


class Subscribe(_QueueLink):
    """Opens the form for a new subscription."""

    name = 'subscribe'
    verbose_name = _('Create Subscription')
    url = 'horizon:project:queues:subscribe'
    classes = ('ajax-modal',)
    icon = 'plus'
    policy_rules = (('messaging', 'subscription:create'),)


class Unsubscribe(tables.DeleteAction):
    """Deletes subscriptions."""

    policy_rules = (('messaging', 'subscription:delete'),)

    @staticmethod
    def action_present(count: int) -> str:
        """Return what it is called."""
        return ngettext_lazy(
            'Delete Subscription', 'Delete Subscriptions', count
        )

    @staticmethod
    def action_past(count: int) -> str:
        """Return what was done."""
        return ngettext_lazy(
            'Deleted Subscription', 'Deleted Subscriptions', count
        )

    def delete(self, request: Any, obj_id: str) -> None:
        """Do it."""
        api.unsubscribe(request, self.table.kwargs['queue_name'], obj_id)


class SubscriptionsTable(PagedTable):
    """Subscriptions of a queue."""

    key = 'id'
    place = {'tab': 'queue__subscriptions'}

    subscriber = tables.Column('subscriber', verbose_name=_('Subscriber'))
    confirmed = tables.Column(
        lambda one: _('Yes') if one['confirmed'] else _('No'),
        verbose_name=_('Confirmed'),
    )
    age = tables.Column('age', verbose_name=_('Age (s)'))
    ttl = tables.Column('ttl', verbose_name=_('Lifetime (s)'))
    id = tables.Column('id', verbose_name=_('ID'))

    def get_object_display(self, datum: Datum) -> str:
        """Return what users know it by."""
        return str(datum['subscriber'])

    class Meta:
        """How it looks."""

        name = 'subscriptions'
        verbose_name = _('Subscriptions')
        pagination_param = 'subscription_marker'
        table_actions = (Subscribe, Unsubscribe)
        row_actions = (Unsubscribe,)
