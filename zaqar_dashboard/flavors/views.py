# SPDX-License-Identifier: Apache-2.0
"""Pages about flavors."""

from __future__ import annotations

from typing import Any

from django.urls import reverse, reverse_lazy
from django.utils.translation import gettext_lazy as _
from horizon import exceptions

from zaqar_dashboard import api
from zaqar_dashboard.flavors import forms
from zaqar_dashboard.flavors.tables import FlavorsTable
from zaqar_dashboard.pages import FormView, PagedView

INDEX = 'horizon:admin:message_flavors:index'

_EXPLANATION = (
    _(
        'A flavor is a name for pools. A queue asks for it with its metadata '
        '"_flavor", and is then placed in one of them.'
    ),
    _(
        'All its pools must have drivers with the same capabilities. Flavors '
        'belong to the project that you work in.'
    ),
)


class IndexView(PagedView):
    """The flavors of the project."""

    table_class = FlavorsTable
    page_title = _('Flavors')
    template_name = 'horizon/common/_data_table_view.html'
    failure = _('Unable to list flavors: %(exc)s')

    def read(self, marker: str | None) -> api.Page:
        """Read a page."""
        return api.flavors(self.request, marker)


class CreateView(FormView):
    """A new flavor."""

    form_class = forms.CreateForm
    page_title = modal_header = _('Create Flavor')
    form_id = modal_id = 'create_flavor'
    submit_label = _('Create Flavor')
    success_url = reverse_lazy(INDEX)
    explanation = _EXPLANATION


class UpdateView(FormView):
    """An existing flavor."""

    form_class = forms.UpdateForm
    page_title = modal_header = _('Update Flavor')
    form_id = modal_id = 'update_flavor'
    submit_label = _('Save')
    success_url = reverse_lazy(INDEX)
    explanation = _EXPLANATION

    def get_initial(self) -> dict[str, Any]:
        """Return the flavor as it is."""
        if self.request.method == 'POST':
            return {}
        name = self.kwargs['name']
        try:
            flavor = api.show(self.request, 'flavors', name)
        except Exception:
            text = _('Unable to read the flavor: %(exc)s')
            exceptions.handle(
                self.request, text, redirect=reverse(INDEX), details=''
            )
            raise
        pools = ', '.join(flavor['pool_list'])
        return {'name': name, 'pool_list': pools}
