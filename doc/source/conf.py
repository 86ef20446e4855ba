# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built: ``tox -e docs``."""

from zaqar import version as zaqar_version

project = 'Zaqar'
copyright = 'the authors of Zaqar, Apache-2.0'
extensions = [
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'oslo_policy.sphinxext',
    'oslo_policy.sphinxpolicygen',
    'os_api_ref',
    'reno.sphinxext',
    'sphinx_copybutton',
]
root_doc = 'index'
exclude_patterns = ['api-ref/conf.py']

html_theme = 'openstackdocs'
# Of its project and tracker the theme knows those of another service.
html_theme_options = {'show_other_versions': False}
openstackdocs_auto_name = False
openstackdocs_auto_version = False
version = release = zaqar_version.version_string()

# Plain blocks are commands, configuration and requests: no Python.
highlight_language = 'none'

# What commands print is not to be copied.
copybutton_selector = 'div:not(.highlight-text) > div.highlight > pre'

# Samples are made at every build, never kept.
config_generator_config_file = [
    ('../../etc/zaqar/zaqar-config-generator.conf', '_static/zaqar'),
]
sample_config_basename = '_static/zaqar'
policy_generator_config_file = [
    ('../../etc/zaqar/zaqar-policy-generator.conf', '_static/zaqar'),
]
