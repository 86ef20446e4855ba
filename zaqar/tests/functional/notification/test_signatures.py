# SPDX-License-Identifier: Apache-2.0
"""Signatures of webhooks: reference/delivery, "Signatures"."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from zaqar.controllers import subscription_signing_keys, subscriptions
from zaqar.objects import Scope
from zaqar.tests.functional.notification.conftest import MakeRig
from zaqar.tests.functional.notification.rig import Rig
from zaqar.tests.servers.receivers import Receiver


@pytest.mark.parametrize('own', [True, False])
@pytest.mark.parametrize('prefix', ['whsec_', ''])
def test_a_secret_signs_what_receivers_can_verify(
    make_rig: MakeRig, receiver: Receiver, own: bool, prefix: str
) -> None:
    key = b'a key of 24 bytes, no less'
    secret = f'{prefix}{base64.b64encode(key).decode()}'
    rig = make_rig(signing_secret='another' if own else secret)
    one = rig.subscribe(
        receiver.url, **({'_signing_secret': secret} if own else {})
    )
    rig.post('x')
    (got,) = receiver.wait(1)
    assert got.headers['webhook-id'].startswith(f'p.{one}.')
    verifier = Webhook(secret)
    document = verifier.verify(got.body, dict(got.headers))
    assert document['body'] == 'x'
    with pytest.raises(WebhookVerificationError):
        verifier.verify(got.body.replace(b'"x"', b'"y"'), dict(got.headers))


def test_a_key_and_its_former_one_and_the_shared_one_sign(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    shared = f'whsec_{base64.b64encode(bytes(24)).decode()}'
    rig = make_rig(signing_secret=shared)
    place: Any = {
        'scope': Scope('p', 'q'),
        'subscription_id': rig.subscribe(receiver.url, ttl=200_000),
    }
    former = subscription_signing_keys.show(rig.ctx, **place).secret
    current = subscription_signing_keys.rotate(rig.ctx, **place).secret
    rig.post('x')
    (got,) = receiver.wait(1)
    for secret in (former, current, shared):
        Webhook(secret).verify(got.body, dict(got.headers))
    assert len(got.headers['webhook-signature'].split()) == 3
    # What is signed names whom it is for.
    other = got.headers['webhook-id'].replace('p.', 'other.', 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(current).verify(got.body, {**got.headers, 'webhook-id': other})
    rig.rests()
    rig.ahead = 86_400
    rig.post('y')
    late = receiver.wait(2)[1].headers['webhook-signature']
    assert len(late.split()) == 2


def test_without_a_secret_there_is_no_signature(
    rig: Rig, receiver: Receiver
) -> None:
    one = rig.subscribe(receiver.url)
    subscriptions.update(
        rig.ctx,
        scope=Scope('p', 'q'),
        subscription_id=one,
        document={'options': {'_signing_secret': None}},
    )
    rig.post('x')
    (got,) = receiver.wait(1)
    assert 'webhook-signature' not in got.headers
    assert got.headers['webhook-id']
