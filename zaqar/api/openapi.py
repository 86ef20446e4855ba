# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document, derived from the operations.

``python -m zaqar.api.openapi`` prints it.
"""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from zaqar import version
from zaqar.api import (
    json_schema_parts,
    microversion_negotiation,
    operation_table,
    response_schemas,
)
from zaqar.api.operation import EVENT_STREAM, PUBLIC, Body, Operation, Param
from zaqar.controllers import idempotency_key
from zaqar.controllers.name_validation import MAX_PROJECT
from zaqar.microversion_constants import SERVICE, V2_1, Version

_VARIABLE = re.compile(r'{(\w+)}')

#: As the service accepts it: any case, hyphens optional.
_UUID = '^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$'

_VERSIONS = '|'.join(
    re.escape(name)
    for name in (
        *map(str, microversion_negotiation.ALL),
        microversion_negotiation.LATEST,
    )
)

_TYPES: Mapping[str, Mapping[str, Any]] = {
    'int': {'type': 'integer'},
    'bool': {'type': 'boolean'},
    'text': {'type': 'string'},
    'ids': {'type': 'array', 'items': {'type': 'string'}},
}

#: Media types of answers other than plain JSON.
_MEDIA_TYPES: Mapping[str, str] = {'get_home_doc': 'application/json-home'}

#: Answers that every operation may give, by status.
_FAULTS: Mapping[int, str] = {
    400: 'Something in the request is wrong.',
    401: 'No token, or none that is valid.',
    403: 'The policy, a claim or a quota forbids it.',
    404: 'The resource does not exist.',
    406: 'The caller does not accept JSON, or the version is not supported.',
    429: 'The project does too much per second; try again later.',
    503: 'A store does not answer; try again.',
}

_HEADERS = [
    {
        'name': 'Client-ID',
        'in': 'header',
        'required': True,
        'description': 'A UUID by which the client is known.',
        # Not of the format uuid: generated clients would put an object of
        # their language into the header.
        'schema': {'type': 'string', 'pattern': _UUID},
    },
    {
        'name': 'X-Project-ID',
        'in': 'header',
        'required': False,
        'description': 'The project; with Keystone, the token tells.',
        'schema': {'type': 'string', 'minLength': 1, 'maxLength': 256},
    },
    {
        'name': microversion_negotiation.HEADER,
        'in': 'header',
        'required': False,
        'description': (
            f'The version; {microversion_negotiation.MIN} without one.'
        ),
        # No enum: generated clients would have one for each operation.
        'schema': {
            'type': 'string',
            'pattern': f'^{SERVICE} ({_VERSIONS})$',
        },
    },
]


_IDEMPOTENCY_KEY = {
    'name': idempotency_key.HEADER,
    'in': 'header',
    'required': False,
    'description': 'Marks the request as repeatable within a day.',
    'schema': {
        'type': 'string',
        'minLength': 1,
        'maxLength': idempotency_key.MAX_KEY,
    },
    json_schema_parts.SINCE: str(V2_1),
}
_REPLAYED = {
    idempotency_key.REPLAYED: {
        'description': 'The request repeats another one.',
        'schema': {'const': 'true'},
        json_schema_parts.SINCE: str(V2_1),
    }
}


def document() -> dict[str, Any]:
    return {
        'openapi': '3.1.0',
        'info': {
            'title': 'Messaging API v2',
            'version': version.version_string(),
            'license': {'name': 'Apache 2.0', 'identifier': 'Apache-2.0'},
        },
        # Relative to this document, which may be below a prefix.
        'servers': [{'url': '../'}],
        'security': [{'token': []}, {}],
        'paths': {
            path: {
                method.lower(): _operation(operation)
                for method, operation in methods.items()
            }
            for path, methods in operation_table.routes().items()
        },
        'components': {
            'schemas': {'Error': response_schemas.ERROR},
            'securitySchemes': {
                'token': {
                    'type': 'apiKey',
                    'in': 'header',
                    'name': 'X-Auth-Token',
                }
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        'operationId': operation.name,
        'summary': operation.summary,
        'tags': [operation.name.split('_')[0]],
        'parameters': _parameters(operation),
        'responses': _responses(operation),
    }
    if operation.rule is not PUBLIC:
        described['x-policy'] = operation.rule.name
    if operation.body is not None:
        described['requestBody'] = _body(operation.body)
    return described | _since(operation.since)


def _since(version: Version) -> dict[str, str]:
    """Return the mark of what the first version does not have."""
    if version == microversion_negotiation.MIN:
        return {}
    return {json_schema_parts.SINCE: str(version)}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    paths = [_path_parameter(n) for n in _VARIABLE.findall(operation.path)]
    queries = [_query_parameter(param) for param in operation.query]
    if operation.stream is not None:
        queries += _stream_parameters(operation.stream)
    more = [_IDEMPOTENCY_KEY] if operation.is_idempotent else []
    return [*paths, *queries, *more, *_HEADERS]


def _stream_parameters(stream: Operation) -> list[dict[str, Any]]:
    """Return the parameters that a stream has and its list has not."""
    described = [
        (name, 'query', f'Stands for {header}, for {EVENT_STREAM} alone.')
        for name, header in stream.query_headers.items()
    ]
    described.append(
        ('Last-Event-ID', 'header', f'Where {EVENT_STREAM} goes on.')
    )
    return [
        {
            'name': name,
            'in': place,
            'required': False,
            'description': text,
            'schema': _TYPES['text'],
        }
        for name, place, text in described
    ]


def _path_parameter(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {'type': 'string'}
    if name in ('queue_name', 'topic_name', 'pool_name', 'flavor_name'):
        schema['pattern'] = '^[A-Za-z0-9_.-]{1,64}$'
    elif name == 'project_id':
        schema |= {'minLength': 1, 'maxLength': MAX_PROJECT}
    return {'name': name, 'in': 'path', 'required': True, 'schema': schema}


def _query_parameter(param: Param) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        'name': param.name,
        'in': 'query',
        'required': False,
        'description': param.summary,
        'schema': _TYPES[param.kind],
    }
    if param.kind == 'ids':
        parameter |= {'style': 'form', 'explode': False}
    return parameter | _since(param.since)


def _body(body: Body) -> dict[str, Any]:
    kind = body.media_type or 'application/json'
    return {'required': body.required, 'content': _content(body.schema, kind)}


def _responses(operation: Operation) -> dict[str, Any]:
    texts = {**_FAULTS}
    if operation.conflict:
        texts[409] = operation.conflict
    if operation.body is not None and operation.body.media_type:
        texts[415] = f'Content-Type is not {operation.body.media_type}.'
    if operation.is_idempotent:
        texts[422] = (
            f'The {idempotency_key.HEADER} is that of another request.'
        )
    faults = {
        str(status): {
            'description': text,
            'content': _content({'$ref': '#/components/schemas/Error'}),
        }
        for status, text in texts.items()
    }
    successes = {
        str(status): _success(operation, schema)
        for status, schema in operation.responses.items()
    }
    return faults | successes


def _success(
    operation: Operation, schema: Mapping[str, Any] | None
) -> dict[str, Any]:
    answer: dict[str, Any] = {'description': operation.summary}
    if operation.is_idempotent:
        answer['headers'] = _REPLAYED
    if schema is not None:
        kind = _MEDIA_TYPES.get(operation.name, 'application/json')
        answer['content'] = _content(schema, kind)
        if operation.stream is not None:
            answer['content'] |= _content(_TYPES['text'], EVENT_STREAM)
    return answer


def _content(
    schema: Mapping[str, Any], kind: str = 'application/json'
) -> dict[str, Any]:
    return {kind: {'schema': schema}}


def main() -> None:
    json.dump(document(), sys.stdout, indent=2)
    sys.stdout.write('\n')


if __name__ == '__main__':
    main()
