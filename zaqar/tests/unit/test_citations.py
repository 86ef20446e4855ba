# SPDX-License-Identifier: Apache-2.0
"""Documents that files cite are in the repository, and so are sections.

A citation is written ``reference/http, "Claims"``: a page below
``doc/source/reference`` and sections of it.
"""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[3]

REFERENCE = ROOT / 'doc' / 'source'

#: Folders whose files cite; what stands beside them is looked at, too.
FOLDERS = (
    *('api-ref', 'benchmarks', 'devstack', 'doc', 'etc', 'examples'),
    *('findings', 'heat_plugins', 'releasenotes', 'tools', 'zaqar'),
    'zaqar_dashboard',
)

_GENERATED = {'__pycache__', 'build'}

_DOCUMENT = re.compile(r'[\w./-]*\w\.(?:md|rst)\b')

#: A page, and sections that may stand on the next line of a comment.
_CITATION = re.compile(
    r'\b(reference/[a-z]\w*)((?:(?:,|\s+and)[\s#:]+"[^"\n]+")*)'
)

_SECTION = re.compile(r'"([^"]+)"')

_HEADING = re.compile(r'^(\S.*)\n([=~-])\2{2,}$', re.MULTILINE)


def _files() -> Iterator[pathlib.Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob('*'):
            if path.is_file() and not _GENERATED.intersection(path.parts):
                yield path


@functools.cache
def _names() -> frozenset[str]:
    """Return the names of all documents, as code joins them to folders."""
    return frozenset(
        path.name for path in _files() if path.suffix in ('.md', '.rst')
    )


@functools.cache
def _headings(page: pathlib.Path) -> frozenset[str]:
    return frozenset(title for title, _ in _HEADING.findall(page.read_text()))


def _texts() -> Iterator[tuple[pathlib.Path, str]]:
    for path in _files():
        if path.suffix != '.pyc' and path != pathlib.Path(__file__):
            yield path, path.read_text(errors='replace')


def faults(text: str, folder: pathlib.Path) -> Iterator[str]:
    """Yield what a text cites although it does not exist.

    :param folder: where the text is
    """
    for name in _DOCUMENT.findall(text):
        places = (folder, ROOT, REFERENCE)
        if name not in _names() and not any(
            (place / name.lstrip('/')).is_file() for place in places
        ):
            yield name
    for page, sections in _CITATION.findall(text):
        path = REFERENCE / f'{page}.rst'
        if not path.is_file():
            yield page
            continue
        for section in _SECTION.findall(sections):
            if section not in _headings(path):
                yield f'{page}, "{section}"'


@pytest.fixture(scope='module', autouse=True)
def _checkout() -> None:
    if not REFERENCE.is_dir():
        pytest.skip('this is no checkout')


def test_what_is_cited_exists() -> None:
    missing = [
        f'{path.relative_to(ROOT)} cites {name}'
        for path, text in _texts()
        for name in faults(text, path.parent)
    ]

    assert not missing, '\n'.join(missing)


def test_citations_are_seen() -> None:
    cited = {
        section
        for _path, text in _texts()
        for _page, sections in _CITATION.findall(text)
        for section in _SECTION.findall(sections)
    }

    assert {'Claims', 'Outbox and deliveries', 'Pushes'} <= cited


@pytest.mark.parametrize(
    ('text', 'fault'),
    [
        (':source: paper' + '.md 3', 'paper' + '.md'),
        ('reference/nothing, "Claims"', 'reference/nothing'),
        ('reference/http, "Nothing"', 'reference/http, "Nothing"'),
        (
            'reference/http, "Claims",\n    "Nothing"',
            'reference/http, "Nothing"',
        ),
    ],
)
def test_a_missing_document_or_section_is_a_fault(
    text: str, fault: str
) -> None:
    assert list(faults(text, ROOT)) == [fault]
