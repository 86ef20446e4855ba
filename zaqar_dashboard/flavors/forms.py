# SPDX-License-Identifier: Apache-2.0
"""Forms of a flavor."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from horizon import forms

from zaqar_dashboard import api
from zaqar_dashboard.pages import NAME, Form


class CreateForm(Form):
    """Creates a flavor."""

    name = forms.RegexField(NAME, label=_('Name'))
    pool_list = forms.CharField(
        label=_('Pools'),
        help_text=_('Names of pools, separated by commas or blanks.'),
    )
    done = _('Flavor "%(name)s" was created.')

    def clean_pool_list(self) -> list[str]:
        """Return the names."""
        names = re.split(r'[\s,]+', self.cleaned_data['pool_list'].strip(', '))
        for name in names:
            if not re.match(NAME, name):
                raise ValidationError(_('No name of a pool: %s') % name)
        return names

    def act(self, request: Any, data: dict[str, Any]) -> bool:
        """Create it, but replace none."""
        if api.exists(request, 'flavors', data['name']):
            self.api_error(_('There is a flavor of this name already.'))
            return False
        document = {'pool_list': data['pool_list']}
        api.put(request, 'flavors', data['name'], document)
        return True


class UpdateForm(CreateForm):
    """Changes the pools of a flavor."""

    name = forms.CharField(widget=forms.HiddenInput())
    done = _('Flavor "%(name)s" was changed.')

    def act(self, request: Any, data: dict[str, Any]) -> bool:
        """Change it."""
        document = {'pool_list': data['pool_list']}
        api.change(request, 'flavors', data['name'], document)
        return True
