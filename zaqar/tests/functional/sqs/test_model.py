# SPDX-License-Identifier: Apache-2.0
"""The public model of Amazon SQS, as botocore has it, and our table."""

from __future__ import annotations

from typing import Any

import botocore.session
import msgspec
import pytest
from botocore.model import Shape
from msgspec import inspect

from zaqar.transport.sqs import faults
from zaqar.transport.sqs.action_table import ACTIONS

MODEL = botocore.session.get_session().get_service_model('sqs')

#: What is refused whatever it says.
REFUSED = {'AddPermission', 'RemovePermission'}

_TYPES = {
    'string': inspect.StrType,
    'integer': inspect.IntType,
    'blob': inspect.StrType,
}


def _without_none(kind: Any) -> Any:
    if not isinstance(kind, inspect.UnionType):
        return kind
    (inner,) = (
        one for one in kind.types if not isinstance(one, inspect.NoneType)
    )
    return inner


def _check(shape: Shape, kind: Any, place: str) -> None:
    """Check that a type of ours takes what a shape is."""
    kind = _without_none(kind)
    if shape.type_name == 'structure':
        assert isinstance(kind, inspect.StructType), place
        ours = {field.encode_name: field for field in kind.fields}
        assert ours.keys() == shape.members.keys(), place
        for name, member in shape.members.items():
            _check(member, ours[name].type, f'{place}.{name}')
            if ours[name].required:
                assert name in shape.required_members, f'{place}.{name}'
    elif shape.type_name == 'list':
        _check(shape.member, kind.item_type, place)
    elif shape.type_name == 'map':
        _check(shape.value, kind.value_type, place)
    else:
        assert isinstance(kind, _TYPES[shape.type_name]), place


def test_every_action_is_in_the_table() -> None:
    assert set(ACTIONS) == set(MODEL.operation_names)
    assert len(ACTIONS) == 23


@pytest.mark.parametrize('name', sorted(set(ACTIONS) - REFUSED))
def test_every_input_has_the_members_of_the_model(name: str) -> None:
    shape = MODEL.operation_model(name).input_shape
    _check(shape, msgspec.inspect.type_info(ACTIONS[name].input), name)


def test_every_error_that_the_model_has_a_code_for_has_it() -> None:
    known = {shape.name for shape in MODEL.error_shapes}
    unknown = {
        name
        for name in known
        if name in faults.CODES and not faults.CODES[name]
    }
    assert not unknown
    assert faults.CODES.keys() <= known
