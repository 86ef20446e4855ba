# SPDX-License-Identifier: Apache-2.0
"""Records are read as they were written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from zaqar.storage import record_key_check_and_data_encoding

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Halves of surrogate pairs, too.
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), VALUES))
@example({'half': '\ud800', '\udfff': 2**64})
def test_records_are_read_as_written(data: dict[str, Any]) -> None:
    text = record_key_check_and_data_encoding.encode(data)
    for written in (text, text.encode()):
        read = record_key_check_and_data_encoding.decode(written)
        assert json.dumps(read) == json.dumps(data)
