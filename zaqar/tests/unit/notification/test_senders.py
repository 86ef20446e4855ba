# SPDX-License-Identifier: Apache-2.0
"""What senders make of a delivery, before anything is sent."""

from __future__ import annotations

import base64
import datetime
import email.utils
import tracemalloc

import hypothesis
import hypothesis.strategies as st
import pytest
from standardwebhooks import Webhook

from zaqar import version
from zaqar.notification import confirmation_request_content
from zaqar.notification.pending_delivery import host_of, is_socket
from zaqar.notification.sender_interface import Delivery, Verdict
from zaqar.notification.senders import webhook, webhook_signature
from zaqar.webhook_client.http_connection import HttpResponse

BODY = '{"body":"ü"}'.encode()


def delivery(
    subscriber: str = 'https://a.example/', **options: object
) -> Delivery:
    return Delivery('id', 'p', 'q', 's', subscriber, options, BODY)


@pytest.mark.parametrize(
    ('template', 'expected'),
    [
        ('"$zaqar_message$"', '{"body":"ü"}'),
        ('["$zaqar_message$","$zaqar_message$"]', '[{0},{0}]'),
        ('{"ä": "$zaqar_message$"}', '{"ä": {0}}'),
        ('$zaqar_message$', '$zaqar_message$'),
        ('', '{0}'),
    ],
)
def test_templates(template: str, expected: str) -> None:
    body = webhook.content(delivery(post_data=template), 1024).decode()
    assert body == expected.replace('{0}', BODY.decode())


def test_a_template_makes_no_more_of_a_message_than_allowed() -> None:
    item = '"$zaqar_message$"'
    fits = delivery(post_data=f'[{item},{item}]')
    size = 2 * len(BODY) + len('[,]')
    assert len(webhook.content(fits, size)) == size
    with pytest.raises(webhook.TooLarge, match=str(size)):
        webhook.content(fits, size - 1)


def test_what_would_be_too_large_is_not_made() -> None:
    body = b'"' + b'x' * 200_000 + b'"'
    options = {'post_data': '"$zaqar_message$"' * 3000}
    large = Delivery('id', 'p', 'q', 's', 'https://a.example/', options, body)
    tracemalloc.start()
    try:
        with pytest.raises(webhook.TooLarge, match='600006000'):
            webhook.content(large, 2**20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_headers_of_ours_cannot_be_set_by_what_was_stored_once() -> None:
    headers = webhook.user_headers(
        delivery(
            post_headers={
                'Host': 'x',
                'content-length': '1',
                'WEBHOOK-signature': 'x',
                'Webhook-Id ': 'x',
                'X-Zaqar-Attempt': '9',
                'TE': 'trailers',
                'X-Check': '\u2713',
                'A': 'b',
            }
        )
    )
    assert headers == {
        'Content-Type': 'application/json',
        'Accept': '*/*',
        'Accept-Encoding': 'identity',
        'User-Agent': f'zaqar/{version.version_string()}',
        'A': 'b',
    }


@pytest.mark.parametrize('prefix', ['whsec_', ''])
def test_a_signature_is_that_of_the_standard(prefix: str) -> None:
    # The example of standardwebhooks.com. Its libraries and those of Svix
    # sign alike: standardwebhooks 1.1.0 and svix 2.9.1 of PyPI, 1.1.1 and
    # 1.99.1 of npm.
    signature = webhook_signature.signature(
        f'{prefix}MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
        'msg_p5jXN8AQM9LWM0D4loKWxJek',
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='


@pytest.mark.parametrize('key', [b'key', b'a key', b'a key!', bytes(24)])
def test_a_secret_means_the_key_that_it_means_to_libraries(key: bytes) -> None:
    secret = base64.b64encode(key).decode()
    for text in (secret, f'whsec_{secret}'):
        assert webhook_signature.key(text) == key
        assert Webhook(text)._whsecret == key


@pytest.mark.parametrize('text', ['plain', 'a secret', 'whsec_!', 'é'])
def test_a_secret_of_former_times_may_be_any_text(text: str) -> None:
    assert webhook_signature.key(text) == text.encode()


@pytest.mark.parametrize(
    ('status', 'verdict'),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (301, Verdict.RETRY),
        (304, Verdict.RETRY),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (408, Verdict.RETRY),
        (410, Verdict.GONE),
        (425, Verdict.RETRY),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (599, Verdict.RETRY),
    ],
)
def test_what_answers_mean(status: int, verdict: Verdict) -> None:
    answer = HttpResponse(status, {}, b'')
    assert webhook.outcome_of(answer, delivery()).verdict is verdict


def test_a_time_to_come_back_is_a_number_or_a_date() -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    for text, least, most in (
        ('120', 120, 120),
        (email.utils.format_datetime(later), 3500, 3600),
        ('Thu, 01 Jan 1970 00:00:00 GMT', 0, 0),
    ):
        answer = HttpResponse(503, {'retry-after': text}, b'')
        seconds = webhook.outcome_of(answer, delivery()).retry_after
        assert seconds is not None
        assert least <= seconds <= most
    for text in (
        *('soon', '-5', '1' * 30, ''),
        'Thu, 01 Jan 1970 00:00:00 +9999',
        f'Thu, 01 Jan 1970 00:00:00 +{"9" * 30}',
        f'Thu, 01 Jan {"9" * 30} 00:00:00 GMT',
        'Thu, 31 Feb 1970 99:99:99 -0000',
    ):
        answer = HttpResponse(503, {'retry-after': text}, b'')
        assert webhook.outcome_of(answer, delivery()).retry_after is None


@hypothesis.given(
    st.lists(
        st.one_of(
            st.integers().map(str),
            st.sampled_from(['Thu,', 'Jan', '00:00:00', 'GMT', '+', '-', '(']),
            st.text(max_size=4),
        )
    ).map(' '.join)
)
def test_no_time_to_come_back_is_an_error(text: str) -> None:
    answer = HttpResponse(503, {'retry-after': text}, b'')
    seconds = webhook.outcome_of(answer, delivery()).retry_after
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ('uri', 'host'),
    [
        ('http://A.example/x', 'a.example:80'),
        ('https://a.example', 'a.example:443'),
        ('https://a.example:8443/', 'a.example:8443'),
        ('trust+https://a.example', 'a.example:443'),
        ('mailto:a@b.c', 'mailto'),
        ('http://[::1]:99999/', '::1:0'),
    ],
)
def test_what_deliveries_are_told_apart_by(uri: str, host: str) -> None:
    assert host_of(uri) == host


@pytest.mark.parametrize(
    ('uri', 'expected'),
    [
        ('websocket://node/connection', True),
        ('https://websocket.example/', False),
        ('http://websocket:80/', False),
    ],
)
def test_a_webhook_is_no_socket_whatever_its_name(
    uri: str, expected: bool
) -> None:
    assert is_socket(host_of(uri)) is expected


def test_an_endpoint_keeps_its_own_path() -> None:
    assert confirmation_request_content.join_url(
        'http://h/messaging/', '/v2/x'
    ) == ('http://h/messaging/v2/x')
    assert (
        confirmation_request_content.join_url('http://h', '/v2/x')
        == 'http://h/v2/x'
    )
