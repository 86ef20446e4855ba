# SPDX-License-Identifier: Apache-2.0
"""The JSON protocol, version 1.0."""

import functools
from typing import Any

import msgspec

from zaqar.transport.sqs import faults
from zaqar.transport.sqs.batch_checks_and_outcomes import Output
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.wsgi_types import Environ

CONTENT_TYPE = 'application/x-amz-json-1.0'

_TARGET = 'HTTP_X_AMZ_TARGET'

#: Of the names of actions.
PREFIX = 'AmazonSQS.'

_ENCODER = msgspec.json.Encoder()

#: There are as many kinds of inputs as actions.
_decoder = functools.cache(msgspec.json.Decoder)


def is_used_by(environ: Environ) -> bool:
    return _TARGET in environ


def action(environ: Environ) -> str:
    """Return the name of the action that a request is for."""
    return str(environ[_TARGET]).removeprefix(PREFIX)


def decode(body: bytes, kind: Any) -> Any:
    """Return the input of an action.

    :raises Fault: the body is none
    """
    try:
        return _decoder(kind).decode(body or b'{}')
    except msgspec.ValidationError as error:
        raise misfit(error) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise Fault('SerializationException', 'The body is no JSON.') from None


def misfit(error: msgspec.ValidationError) -> Fault:
    """Return the error for an input that lacks something, or has it wrong."""
    text = str(error)
    _, _, name = text.partition('missing required field `')
    if name and '`$' not in name:
        return faults.missing(name.partition('`')[0])
    return Fault('InvalidParameterValue', f'The input is invalid: {text}.')


def encode(_action: str, output: Output, _request_id: str) -> bytes:
    return _ENCODER.encode(output)


def encode_fault(fault: Fault, _request_id: str) -> tuple[bytes, Output]:
    """Return body and headers of the response to an error."""
    kind = 'Sender' if fault.is_senders else 'Receiver'
    document = {
        '__type': f'com.amazonaws.sqs#{fault.name}',
        'message': fault.message,
    }
    # Clients of the older protocol knew other names: SDKs show these.
    headers = {'x-amzn-query-error': f'{fault.code};{kind}'}
    return _ENCODER.encode(document), headers
