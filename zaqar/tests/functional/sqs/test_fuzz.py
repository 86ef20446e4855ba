# SPDX-License-Identifier: Apache-2.0
"""Random input to both protocols: no error of the server."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zaqar.tests.functional.sqs.clients import Form, send, signed
from zaqar.transport.sqs.action_table import ACTIONS

_NAMES = st.sampled_from(
    sorted(
        {
            field
            for action in ACTIONS.values()
            for field in action.input.__struct_encode_fields__
        }
    )
)

_ACTIONS = st.sampled_from(sorted(ACTIONS))

_TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        'jobs',
        'All',
        'http://h/sqs/p/jobs',
        'arn:aws:sqs:r:p:jobs',
        f'{"0" * 32}.1.a',
        '{"deadLetterTargetArn": "arn:aws:sqs:r:p:q", "maxReceiveCount": 1}',
    ]
)

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS

_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_NAMES | _TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)

_LIMITS = settings(
    max_examples=60, suppress_health_check=[*HealthCheck], deadline=None
)


@_LIMITS
@given(action=_ACTIONS, document=st.dictionaries(_NAMES, _VALUES, max_size=5))
def test_json(form: Form, url: str, action: str, document: Any) -> None:
    if 'QueueUrl' in document:
        document['QueueUrl'] = url
    # Not for ever.
    document.pop('WaitTimeSeconds', None)
    answer = send(
        signed(
            form.endpoint,
            form.project,
            body=json.dumps(document).encode(),
            headers={'X-Amz-Target': f'AmazonSQS.{action}'},
        )
    )
    assert answer.status_code in (200, 400, 403), answer.text


_FIELDS = st.lists(
    st.sampled_from(
        [
            *('1', '2', '01', 'x', '', 'Name', 'Value', 'Key', 'Id'),
            *('Attribute', 'MessageAttribute', 'Tag', 'TagKey', 'DataType'),
            *('SendMessageBatchRequestEntry', 'AttributeName', 'QueueName'),
            *('MessageBody', 'MaxNumberOfMessages', 'Attributes', 'Entries'),
            'StringValue',
        ]
    ),
    min_size=1,
    max_size=4,
).map('.'.join)


@_LIMITS
@given(action=_ACTIONS, fields=st.dictionaries(_FIELDS, _TEXTS, max_size=6))
def test_forms(form: Form, url: str, action: str, fields: Any) -> None:
    answer = form.answer(action, fields, url=url)
    assert answer.status_code in (200, 400, 403), answer.text


@_LIMITS
@given(body=st.binary(max_size=60), target=st.booleans())
def test_bytes(form: Form, url: str, body: bytes, target: bool) -> None:
    headers = {'X-Amz-Target': 'AmazonSQS.SendMessage'} if target else {}
    answer = send(signed(url, form.project, body=body, headers=headers))
    assert answer.status_code in (400, 403), answer.text
