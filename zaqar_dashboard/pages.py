# SPDX-License-Identifier: Apache-2.0
"""What the tables of all panels have in common: pages, and modal forms.

The service shows JSON objects, page by page; the marker of the next page is
part of the page before, and there are none of earlier pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from horizon import exceptions, forms, messages, tables

from zaqar_dashboard.api import Page

#: What the service takes for names of queues, pools and flavors.
NAME = r'^[A-Za-z0-9_.\-]{1,64}$'


def as_text(value: Any, indent: int | None = None) -> str:
    """Return a JSON value as text that any page can hold.

    JSON may have halves of surrogate pairs, which UTF-8 has not; they are
    shown as JSON writes them.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text.encode(errors='backslashreplace').decode()


class PagedTable(tables.DataTable):
    """A table of JSON objects.

    :cvar key: the member that says which object it is
    """

    key = 'name'
    page = Page()
    #: Parameters that links to other pages have besides the marker.
    place: Mapping[str, str] = {}

    def get_object_id(self, datum: Mapping[str, Any]) -> str:
        """Return what the object is known by."""
        return str(datum[self.key])

    def get_object_display(self, datum: Mapping[str, Any]) -> str:
        """Return what users know it by."""
        return str(datum[self.key])

    def get_pagination_string(self) -> str:
        """Return the query of a link to the next page."""
        marker = {self._meta.pagination_param: self.page.marker or ''}
        return urlencode({**self.place, **marker})


class PagedData:
    """For views and tabs: reads a page, and says so if there is none."""

    failure = _('Unable to read it: %(exc)s')
    page = Page()
    request: Any

    def read_page(self, table_class: type[PagedTable]) -> list[Any]:
        """Return the objects of the page that the request asks for."""
        marker = self.request.GET.get(table_class._meta.pagination_param)
        try:
            self.page = self.read(marker)
        except Exception:
            exceptions.handle(self.request, self.failure, details='')
        return list(self.page.items)

    def read(self, marker: str | None) -> Page:
        """Read the page after a marker."""
        raise NotImplementedError

    def has_more_data(self, table: PagedTable) -> bool:
        """Tell whether there is a next page."""
        table.page = self.page
        return self.page.marker is not None


class PagedView(PagedData, tables.DataTableView):
    """A view of one table."""

    def get_data(self) -> list[Any]:
        """Return the rows."""
        return self.read_page(self.table_class)


class JsonObjectField(forms.CharField):
    """A JSON object as text; empty for an empty one."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        """Return the text for the form."""
        if isinstance(value, dict):
            return json.dumps(value, indent=2, sort_keys=True) if value else ''
        return value

    def clean(self, value: str) -> dict[str, Any]:
        """Return the object."""
        text = super().clean(value)
        if not text:
            return {}
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ValidationError(_('This must be a JSON object.'))
        return document


class Form(forms.SelfHandlingForm):
    """A form that does one thing, and says whether that worked.

    :cvar done: what to say then, with the data of the form
    """

    done = ''

    def act(self, request: Any, data: dict[str, Any]) -> Any:
        """Do it, and return something true."""
        raise NotImplementedError

    def handle(self, request: Any, data: dict[str, Any]) -> Any:
        """Do it; what the service refuses can be corrected in the form."""
        try:
            result = self.act(request, data)
        except Exception:
            text = _('The service has refused it: %(exc)s')
            exceptions.handle(request, text, details='')
            return False
        if result and self.done:
            messages.success(request, self.done % data)
        return result


class FormView(forms.ModalFormView):
    """A modal form.

    :cvar explanation: paragraphs beside the form
    """

    template_name = 'zaqar_dashboard/form.html'
    ajax_template_name = 'zaqar_dashboard/_form.html'
    explanation: tuple[Any, ...] = ()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the template needs."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context['explanation'] = self.explanation
        context['submit_url'] = self.request.get_full_path()
        return context
