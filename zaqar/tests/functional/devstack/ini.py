# SPDX-License-Identifier: Apache-2.0
"""Reads and writes options as devstack's iniset and iniget do.

A program for the stubs beside it, which call it for each option.
"""

from __future__ import annotations

import configparser
import pathlib
import sys


def _read(path: str) -> configparser.RawConfigParser:
    # Names are kept as they are, and DEFAULT is a section like others.
    parser = configparser.RawConfigParser(default_section='', strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    if pathlib.Path(path).exists():
        parser.read(path)
    return parser


def set_(path: str, section: str, option: str, value: str) -> None:
    """Set an option."""
    parser = _read(path)
    if not parser.has_section(section):
        parser.add_section(section)
    parser.set(section, option, value)
    with open(path, 'w') as file:
        parser.write(file)


def get(path: str, section: str, option: str) -> None:
    """Print an option; an empty line for none."""
    print(_read(path).get(section, option, fallback=''))


if __name__ == '__main__':
    {'set': set_, 'get': get}[sys.argv[1]](*sys.argv[2:])
