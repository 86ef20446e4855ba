# SPDX-License-Identifier: Apache-2.0
"""How the API reference is built: ``tox -e api-ref``."""

project = 'Messaging API Reference'
copyright = 'the authors of Zaqar, Apache-2.0'
extensions = ['openstackdocstheme', 'os_api_ref']
root_doc = 'index'

html_theme = 'openstackdocs'
html_theme_options = {'sidebar_mode': 'toc'}
openstackdocs_auto_name = False
