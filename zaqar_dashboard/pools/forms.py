# SPDX-License-Identifier: Apache-2.0
"""Forms of a pool."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from horizon import forms

from zaqar_dashboard import api
from zaqar_dashboard.pages import NAME, Form, JsonObjectField

_WEIGHT = _('Share of new queues that go to the pool; 0 for none.')
_FLAVOR = _('Flavor of the pool, if it has one.')
_OPTIONS = _('Options of the driver for this pool, a JSON object.')
_FIELDS = ('uri', 'weight', 'flavor', 'options')


class CreateForm(Form):
    """Creates a pool."""

    name = forms.RegexField(NAME, label=_('Name'))
    uri = forms.CharField(
        label=_('URI'),
        max_length=255,
        help_text=_('Of the store, as in redis://192.0.2.7:6379.'),
    )
    weight = forms.IntegerField(
        label=_('Weight'),
        min_value=0,
        max_value=2**32 - 1,
        initial=100,
        help_text=_WEIGHT,
    )
    flavor = forms.RegexField(
        NAME, label=_('Flavor'), required=False, help_text=_FLAVOR
    )
    options = JsonObjectField(
        label=_('Options'), required=False, help_text=_OPTIONS
    )
    done = _('Pool "%(name)s" was created.')

    def act(self, request: Any, data: dict[str, Any]) -> bool:
        """Create it, but replace none."""
        if api.exists(request, 'pools', data['name']):
            self.api_error(_('There is a pool of this name already.'))
            return False
        document = {name: data[name] for name in _FIELDS if data[name] != ''}
        api.put(request, 'pools', data['name'], document)
        return True


class UpdateForm(CreateForm):
    """Changes a pool.

    Passwords in URI and options are not shown: what is empty stays.
    """

    name = forms.CharField(widget=forms.HiddenInput())
    uri = forms.CharField(
        label=_('URI'),
        max_length=255,
        required=False,
        help_text=_('Empty for the present one.'),
    )
    options = JsonObjectField(
        label=_('Options'),
        required=False,
        help_text=_('Empty for the present ones.'),
    )
    done = _('Pool "%(name)s" was changed.')

    def act(self, request: Any, data: dict[str, Any]) -> bool:
        """Change it."""
        document = {name: data[name] for name in ('weight', 'flavor')}
        for name in ('uri', 'options'):
            if data[name]:
                document[name] = data[name]
        api.change(request, 'pools', data['name'], document)
        return True
