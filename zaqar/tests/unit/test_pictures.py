# SPDX-License-Identifier: Apache-2.0
"""Pictures of the guides: each pattern has one, and none is heavy."""

from __future__ import annotations

import pathlib
import re

_ROOT = pathlib.Path(__file__).parents[3]
_DOCUMENTS = _ROOT / 'doc/source'
_PATTERNS = _DOCUMENTS / 'user/patterns.rst'

#: Bytes of a picture, at most.
_MOST = 100 * 1024

_SECTION = re.compile(r'^([A-Z].*)\n=+\n\n(.*)$', re.MULTILINE)


def test_each_pattern_begins_with_its_picture() -> None:
    sections = _SECTION.findall(_PATTERNS.read_text())[1:]
    pictures = [
        re.fullmatch(r'\.\. image:: \.\./(_static/pattern-[\w-]+\.svg)', first)
        for _, first in sections
    ]
    assert len(sections) > 10
    for (title, _), picture in zip(sections, pictures, strict=True):
        assert picture and (_DOCUMENTS / picture[1]).exists(), title
    assert len({picture[1] for picture in pictures if picture}) == len(
        sections
    )


def test_pictures_are_light_and_shown_somewhere() -> None:
    text = '\n'.join(
        page.read_text()
        for page in [*_DOCUMENTS.rglob('*.rst'), *_ROOT.glob('*.rst')]
    )
    pictures = [*_DOCUMENTS.glob('_static/**/*.*')]
    assert any(one.suffix == '.png' for one in pictures)
    for picture in pictures:
        assert picture.stat().st_size < _MOST, picture
        name = picture.relative_to(_DOCUMENTS).as_posix()
        assert name in text, f'{name} is shown nowhere'
