# SPDX-License-Identifier: Apache-2.0
"""Pages about pools."""

from __future__ import annotations

from typing import Any

from django.urls import reverse, reverse_lazy
from django.utils.translation import gettext_lazy as _
from horizon import exceptions

from zaqar_dashboard import api
from zaqar_dashboard.pages import FormView, PagedView
from zaqar_dashboard.pools import forms
from zaqar_dashboard.pools.tables import PoolsTable

INDEX = 'horizon:admin:message_pools:index'

_EXPLANATION = (
    _(
        'A pool is a store of messages. New queues are spread over the pools '
        'of their flavor by weight; a queue stays where it is.'
    ),
    _('The service connects to the store before it accepts the pool.'),
)


class IndexView(PagedView):
    """The pools of the service."""

    table_class = PoolsTable
    page_title = _('Pools')
    template_name = 'horizon/common/_data_table_view.html'
    failure = _('Unable to list pools: %(exc)s')

    def read(self, marker: str | None) -> api.Page:
        """Read a page."""
        return api.pools(self.request, marker)


class CreateView(FormView):
    """A new pool."""

    form_class = forms.CreateForm
    page_title = modal_header = _('Create Pool')
    form_id = modal_id = 'create_pool'
    submit_label = _('Create Pool')
    success_url = reverse_lazy(INDEX)
    explanation = _EXPLANATION


class UpdateView(FormView):
    """An existing pool."""

    form_class = forms.UpdateForm
    page_title = modal_header = _('Update Pool')
    form_id = modal_id = 'update_pool'
    submit_label = _('Save')
    success_url = reverse_lazy(INDEX)
    explanation = _EXPLANATION

    def get_initial(self) -> dict[str, Any]:
        """Return the pool as it is, without what may be secret."""
        if self.request.method == 'POST':
            return {}
        name = self.kwargs['name']
        try:
            pool = api.show(self.request, 'pools', name)
        except Exception:
            text = _('Unable to read the pool: %(exc)s')
            exceptions.handle(
                self.request, text, redirect=reverse(INDEX), details=''
            )
            raise
        fields = ('weight', 'flavor')
        return {'name': name, **{field: pool[field] for field in fields}}
