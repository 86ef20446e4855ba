# SPDX-License-Identifier: Apache-2.0
"""How the release notes are built."""

project = 'Zaqar Release Notes'
copyright = 'the authors of Zaqar, Apache-2.0'
extensions = ['reno.sphinxext']
root_doc = 'index'
