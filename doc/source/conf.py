# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built: ``tox -e docs``."""

project = 'Zaqar'
copyright = 'OpenStack Foundation'
extensions = [
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'oslo_policy.sphinxext',
    'oslo_policy.sphinxpolicygen',
]
root_doc = 'index'
exclude_patterns = []

html_theme = 'openstackdocs'
openstackdocs_repo_name = 'openstack/zaqar'
openstackdocs_bug_project = 'zaqar'
openstackdocs_bug_tag = 'doc'
openstackdocs_auto_name = False

# Samples are made at every build, never kept.
config_generator_config_file = [
    ('../../etc/zaqar/zaqar-config-generator.conf', '_static/zaqar'),
]
sample_config_basename = '_static/zaqar'
policy_generator_config_file = [
    ('../../etc/zaqar/zaqar-policy-generator.conf', '_static/zaqar'),
]

# Its lexer of console sessions knows no quotes over several lines.
suppress_warnings = ['misc.highlighting_failure']
