# SPDX-License-Identifier: Apache-2.0
"""Forms about one queue."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from horizon import forms

from zaqar_dashboard import api
from zaqar_dashboard.pages import NAME, Form, JsonObjectField

#: Names of collections, as pre-signed URLs know them.
COLLECTIONS = (
    ('messages', _('Messages')),
    ('claims', _('Claims')),
    ('subscriptions', _('Subscriptions')),
)

METHODS = (
    ('GET', _('Read (GET)')),
    ('POST', _('Add (POST)')),
    ('PATCH', _('Change (PATCH)')),
    ('DELETE', _('Remove (DELETE)')),
)


def _number(label: Any, least: int = 0) -> forms.IntegerField:
    # The service knows the greatest: operators choose it.
    return forms.IntegerField(label=label, required=False, min_value=least)


class MetadataForm(Form):
    """What a queue does with its messages.

    The name of a field is that of a reserved key without its underscore.
    """

    default_message_ttl = _number(_('Lifetime of Messages (seconds)'), 60)
    default_message_delay = _number(_('Delay of Messages (seconds)'))
    max_messages_post_size = _number(_('Maximum Size of a Post (bytes)'), 1)
    max_messages = _number(_('Maximum Number of Messages'))
    default_claim_ttl = _number(_('Lifetime of Claims (seconds)'))
    default_wait = _number(_('Claims Wait (seconds)'))
    dedup_window = _number(_('Duplicates Are Recognized For (seconds)'))
    max_claim_count = _number(_('Claims Before a Message Is a Dead Letter'))
    dead_letter_queue = forms.RegexField(
        NAME, label=_('Queue for Dead Letters'), required=False
    )
    dead_letter_queue_messages_ttl = _number(
        _('Lifetime of Dead Letters (seconds)'), 60
    )
    flavor = forms.RegexField(NAME, label=_('Flavor'), required=False)
    enable_encrypt_messages = forms.BooleanField(
        label=_('Encrypt Messages'), required=False
    )
    further = JsonObjectField(
        label=_('Further Metadata'),
        required=False,
        help_text=_('A JSON object, as in {"owner": "billing"}.'),
    )

    @staticmethod
    def values(data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata that the form shows, without empty fields."""
        named = {
            f'_{name}': data[name]
            for name in RESERVED
            if data[name] not in (None, '') and data[name] is not False
        }
        return {**data['further'], **named}

    @staticmethod
    def shown(metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the form shows of metadata."""
        named = {name: metadata.get(f'_{name}') for name in RESERVED}
        further = {
            key: value
            for key, value in metadata.items()
            if key.removeprefix('_') not in RESERVED and value is not None
        }
        return {**named, 'further': further}


#: Fields of the form that are reserved keys.
RESERVED = tuple(
    name for name in MetadataForm.base_fields if name != 'further'
)


class CreateForm(MetadataForm):
    """Creates a queue."""

    name = forms.RegexField(
        NAME,
        label=_('Name'),
        help_text=_('1 to 64 letters, digits, underscores, dots, hyphens.'),
    )
    field_order = ('name',)
    done = _('Queue "%(name)s" was created.')

    def act(self, request: Any, data: dict[str, Any]) -> bool:
        """Create it; one that exists is an error of the form."""
        if api.create_queue(request, data['name'], self.values(data)):
            return True
        self.api_error(_('This queue exists already. It was not changed.'))
        return False


class UpdateForm(MetadataForm):
    """Changes the metadata of a queue."""

    name = forms.CharField(widget=forms.HiddenInput())
    # Comes back with the form: somebody may have changed other keys meanwhile.
    before = JsonObjectField(widget=forms.HiddenInput(), required=False)
    done = _('Metadata of queue "%(name)s" were changed.')

    @classmethod
    def first(cls, name: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the form shows first."""
        shown = cls.shown(metadata)
        return {'name': name, **shown, 'before': cls.values(shown)}

    def act(self, request: Any, data: dict[str, Any]) -> bool:
        """Send what differs from what the form has shown."""
        present, wanted = data['before'], self.values(data)
        changes = {
            key: wanted.get(key)
            for key in present.keys() | wanted.keys()
            if present.get(key) != wanted.get(key)
        }
        if changes:
            api.change_metadata(request, data['name'], changes)
        return True


class ShareForm(Form):
    """Creates a pre-signed URL."""

    queue = forms.CharField(widget=forms.HiddenInput())
    paths = forms.MultipleChoiceField(
        label=_('Collections'),
        choices=COLLECTIONS,
        initial=['messages'],
        widget=forms.ThemableCheckboxSelectMultiple(),
    )
    methods = forms.MultipleChoiceField(
        label=_('Methods'),
        choices=METHODS,
        initial=['GET'],
        widget=forms.ThemableCheckboxSelectMultiple(),
    )
    hours = forms.IntegerField(
        label=pgettext_lazy('a pre-signed URL', 'Valid For (hours)'),
        initial=24,
        min_value=1,
    )

    def act(self, request: Any, data: dict[str, Any]) -> dict[str, Any]:
        """Return what users of the URL have to send."""
        lifetime = datetime.timedelta(hours=data['hours'])
        expires = datetime.datetime.now(datetime.UTC) + lifetime
        return api.share_queue(
            request,
            data['queue'],
            paths=data['paths'],
            methods=data['methods'],
            expires=expires.strftime('%Y-%m-%dT%H:%M:%S'),
        )


class SubscribeForm(Form):
    """Subscribes to a queue."""

    queue = forms.CharField(widget=forms.HiddenInput())
    subscriber = forms.CharField(
        label=_('Subscriber'),
        help_text=_(
            'A URL or a mail address, as in https://example.com/hook, '
            'trust+https://example.com/hook or mailto:jan@example.com.'
        ),
    )
    ttl = forms.IntegerField(
        label=_('Lifetime (seconds)'),
        required=False,
        min_value=60,
        help_text=_('Empty for as long as the service permits.'),
    )
    options = JsonObjectField(
        label=_('Options'),
        required=False,
        help_text=_('A JSON object, as in {"_filter": {"type": ["order"]}}.'),
    )
    done = _('"%(subscriber)s" is subscribed to queue "%(queue)s".')

    def act(self, request: Any, data: dict[str, Any]) -> bool:
        """Create the subscription."""
        fields = ('subscriber', 'ttl', 'options')
        document = {name: data[name] for name in fields if data[name]}
        api.subscribe(request, data['queue'], document)
        return True
