# SPDX-License-Identifier: Apache-2.0
"""Pages about queues."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import Any

from django.http import HttpResponse
from django.urls import reverse, reverse_lazy
from django.utils.translation import gettext_lazy as _
from horizon import exceptions, tabs

from zaqar_dashboard import api
from zaqar_dashboard.pages import FormView, PagedView
from zaqar_dashboard.queues import forms
from zaqar_dashboard.queues.tables import QueuesTable
from zaqar_dashboard.queues.tabs import QueueTabs

INDEX = 'horizon:project:queues:index'
DETAIL = 'horizon:project:queues:detail'


#: What follows the path of a collection, and a document to send.
_USAGE = {
    ('messages', 'GET'): ('', ''),
    ('messages', 'POST'): ('', '{"messages": [{"body": "hello"}]}'),
    ('messages', 'DELETE'): ('/ID', ''),
    ('claims', 'GET'): ('/ID', ''),
    ('claims', 'POST'): ('', '{"ttl": 300}'),
    ('claims', 'PATCH'): ('/ID', '{"ttl": 300}'),
    ('claims', 'DELETE'): ('/ID', ''),
    ('subscriptions', 'GET'): ('', ''),
    ('subscriptions', 'POST'): ('', '{"subscriber": "https://example.com"}'),
    ('subscriptions', 'PATCH'): ('/ID', '{"ttl": 3600}'),
    ('subscriptions', 'DELETE'): ('/ID', ''),
}


class IndexView(PagedView):
    """The queues of the project."""

    table_class = QueuesTable
    page_title = _('Queues')
    template_name = 'horizon/common/_data_table_view.html'
    failure = _('Unable to list queues: %(exc)s')

    def read(self, marker: str | None) -> api.Page:
        """Read a page of those that the user has filtered."""
        contains = self.get_filters().get('name', '')
        return api.queues(self.request, marker, contains)


class CreateView(FormView):
    """A new queue."""

    form_class = forms.CreateForm
    page_title = modal_header = _('Create Queue')
    form_id = modal_id = 'create_queue'
    submit_label = _('Create Queue')
    success_url = reverse_lazy(INDEX)
    explanation = (
        _('A queue takes messages that consumers claim, process and delete.'),
        _(
            'Only the name is required. Empty fields mean the defaults of the '
            'service, which also sets their maximum.'
        ),
    )


class QueueFormView(FormView):
    """A form about the queue in the address."""

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return str(self.kwargs['queue_name'])

    def get_initial(self) -> dict[str, Any]:
        """Return what the form shows first."""
        return {'queue': self.queue}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the template needs."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context['modal_header'] = f'{self.modal_header}: {self.queue}'
        return context


class UpdateView(QueueFormView):
    """The metadata of a queue."""

    form_class = forms.UpdateForm
    page_title = modal_header = _('Update Metadata')
    form_id = modal_id = 'update_queue'
    submit_label = _('Save')
    success_url = reverse_lazy(INDEX)
    explanation = (
        _(
            'Only changes are sent. An emptied field returns to the default '
            'of the service.'
        ),
    )

    def get_initial(self) -> dict[str, Any]:
        """Return the metadata as they are."""
        if self.request.method == 'POST':
            return {}
        metadata = read_metadata(self.request, self.queue)
        return forms.UpdateForm.first(self.queue, metadata)


class ShareView(QueueFormView):
    """A pre-signed URL, which is shown once."""

    form_class = forms.ShareForm
    page_title = modal_header = _('Pre-signed URL')
    form_id = modal_id = 'share_queue'
    submit_label = _('Create')
    success_url = reverse_lazy(INDEX)
    explanation = (
        _(
            'Whoever has the URL may do what you choose here with this queue, '
            'without credentials, until it expires. It cannot be withdrawn '
            'alone.'
        ),
    )

    def form_valid(self, form: forms.ShareForm) -> HttpResponse:
        """Show what was made instead of going anywhere."""
        made = form.handle(self.request, form.cleaned_data)
        if not made:
            return self.form_invalid(form)
        origin = api.endpoint(self.request, 'publicURL')
        context = {
            **self.get_context_data(form=form),
            'made': made,
            'commands': list(commands(origin, made)),
        }
        self.template_name = 'zaqar_dashboard/shared.html'
        self.ajax_template_name = 'zaqar_dashboard/_shared.html'
        return self.render_to_response(context)


class SubscribeView(QueueFormView):
    """A new subscription."""

    form_class = forms.SubscribeForm
    page_title = modal_header = _('Create Subscription')
    form_id = modal_id = 'create_subscription'
    submit_label = _('Create Subscription')
    explanation = (
        _(
            'Every message that is posted to the queue is sent to its '
            'subscribers. A mail address, and with some operators every '
            'subscriber, has to confirm first.'
        ),
    )

    def get_success_url(self) -> str:
        """Return to the list of subscriptions."""
        place = reverse(DETAIL, args=[self.queue])
        return f'{place}?tab=queue__subscriptions'


class DetailView(tabs.TabbedTableView):
    """One queue."""

    tab_group_class = QueueTabs
    template_name = 'zaqar_dashboard/detail.html'
    page_title = '{{ queue }}'

    def get_tabs(self, request: Any, *args: Any, **kwargs: Any) -> QueueTabs:
        """Return the tabs, once it is known that there is such a queue."""
        if self._tab_group is None:
            queue = kwargs['queue_name']
            kwargs['metadata'] = read_metadata(request, queue)
        return super().get_tabs(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the template needs."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context['queue'] = self.kwargs['queue_name']
        return context


def read_metadata(request: Any, queue: str) -> dict[str, Any]:
    """Return the metadata of a queue, or go back to the list."""
    try:
        return api.metadata(request, queue)
    except Exception:
        text = _('Unable to read the queue: %(exc)s')
        exceptions.handle(request, text, redirect=reverse(INDEX), details='')
        raise


def commands(origin: str, made: dict[str, Any]) -> Iterator[str]:
    """Yield ``curl`` commands for everything that a URL permits."""
    headers = {
        'URL-Signature': made['signature'],
        'URL-Expires': made['expires'],
        'URL-Methods': ','.join(made['methods']),
        'URL-Paths': ','.join(made['paths']),
        'X-Project-ID': made['project'],
        'OpenStack-API-Version': api.VERSION,
        'Content-Type': 'application/json',
    }
    common = [f'-H {quote(f"{name}: {headers[name]}")}' for name in headers]
    for path in made['paths']:
        for method in made['methods']:
            usage = _USAGE.get((path.rpartition('/')[2], method))
            if usage is None:
                continue
            place, document = usage
            lines = [f'curl -X {method} {quote(origin + path + place)}']
            lines += [*common, '-H "Client-ID: $(uuidgen)"']
            if document:
                lines.append(f'-d {quote(document)}')
            yield ' \\\n  '.join(lines)
