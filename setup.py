# SPDX-License-Identifier: Apache-2.0
"""Packaging by pbr, for tools that still ask for this file."""

import setuptools

setuptools.setup(setup_requires=['pbr>=6.1.1'], pbr=True)
