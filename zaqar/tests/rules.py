# SPDX-License-Identifier: Apache-2.0
"""Security rules that must hold, each with the tests that prove it.

A test named here fails when its rule is broken; whoever changes one, or adds
a rule, shows that by breaking the rule once. ``tests/unit/test_rules.py``
checks that the tests exist.
"""

from __future__ import annotations

from dataclasses import dataclass

_HTTP = 'functional/http'
_KEYSTONE = 'functional/keystone'
_SECRETS = f'{_HTTP}/test_secrets.py'
_SIGNED = f'{_HTTP}/test_signed_urls.py'
_RULES = f'{_KEYSTONE}/test_access_rules.py'
_MATRIX = f'{_KEYSTONE}/test_matrix.py'
_ENCRYPTION = f'{_HTTP}/test_encryption.py'
_TRUSTS = f'{_KEYSTONE}/test_trusts.py'
_ADDRESSES = 'unit/notification/test_addresses.py'
_WEBHOOKS = 'functional/notification/test_webhooks.py'
_STALE = 'contract/test_stale_metadata.py'
_ISOLATION = 'contract/test_isolation.py'
_TENANTS = f'{_HTTP}/test_tenants.py'


@dataclass(frozen=True)
class Rule:
    """A rule.

    :ivar says: what holds
    :ivar tests: ``file::function``, below this folder
    """

    name: str
    says: str
    tests: tuple[str, ...]


IDENTITY = (
    Rule(
        'verified identity',
        'Who is asking is decided by verified credentials alone; headers of '
        'an identity that come from the network are removed before anything '
        'reads them, whatever else is sent.',
        (
            f'{_KEYSTONE}/test_identity.py::'
            'test_the_project_is_that_of_the_token',
            f'{_KEYSTONE}/test_policy.py::'
            'test_an_admins_rule_lets_only_admins_pass',
            f'{_MATRIX}::test_without_a_good_token_nobody_gets_in',
            f'{_MATRIX}::'
            'test_a_member_of_another_project_gets_nothing_by_any_header',
        ),
    ),
    Rule(
        'signed requests are nobody',
        'A signed request has the project it was signed for, and no roles '
        'and no user.',
        (
            f'{_SIGNED}::test_a_url_brings_no_role_and_no_user',
            f'{_SIGNED}::test_whatever_is_altered_does_not_verify',
            f'{_MATRIX}::test_a_signature_makes_no_administrator',
        ),
    ),
    Rule(
        'access rules',
        'The access rules of an application credential hold for each action '
        'over WebSocket as for the HTTP request that would say the same, '
        'after every login of a connection, and for what is pushed to it.',
        (
            f'{_RULES}::test_each_row_is_permitted_as_over_http',
            f'{_RULES}::test_rules_are_those_of_the_last_login',
            f'{_RULES}::test_pushes_end_with_the_right_to_subscribe',
        ),
    ),
    Rule(
        'the root asks nobody',
        'The version list takes neither an identity nor a signature.',
        (
            f'{_HTTP}/test_headers.py::test_the_root_ignores_a_signature',
            f'{_HTTP}/test_discovery.py::'
            'test_the_root_lists_versions_to_anybody',
        ),
    ),
    Rule(
        'EXTRA-SPEC',
        'The header EXTRA-SPEC has no effect.',
        (
            f'{_HTTP}/test_headers.py::test_extra_spec_has_no_effect',
            f'{_KEYSTONE}/test_identity.py::test_extra_spec_is_no_way_in',
        ),
    ),
)

SIGNATURES = (
    Rule(
        'constant time',
        'Signatures are compared in constant time.',
        (
            'unit/controllers/test_signatures.py::'
            'test_signatures_are_compared_in_constant_time',
        ),
    ),
    Rule(
        'literal paths',
        'A signed path is compared as it is, never as a pattern.',
        (
            f'{_SIGNED}::test_a_dot_in_a_name_is_no_pattern',
            'unit/controllers/test_signatures.py::'
            'test_a_path_is_compared_as_it_is',
        ),
    ),
    Rule(
        'no second chance',
        'A signature that does not hold, even an empty one, is the end: no '
        'other kind of authentication is tried.',
        (
            f'{_SIGNED}::test_no_route_lets_a_signature_in_that_does_not_hold',
            f'{_HTTP}/test_headers.py::'
            'test_a_signature_that_cannot_be_verified_is_a_bare_404',
            f'{_MATRIX}::'
            'test_a_signature_that_does_not_hold_is_404_whatever_stands_'
            'beside_it',
        ),
    ),
    Rule(
        'length of the signing key',
        'The signing key has at least 16 bytes.',
        (f'{_SIGNED}::test_a_short_key_stops_the_start',),
    ),
)

ISOLATION = (
    Rule(
        'projects are no patterns',
        'The name of a project is never a pattern or a prefix for another.',
        (f'{_TENANTS}::test_no_project_is_a_pattern_for_another',),
    ),
    Rule(
        'ids are scoped',
        'An id that does not belong to the project and the queue does not '
        'exist, for reading, deleting, claiming and everything else.',
        (
            f'{_HTTP}/test_messages.py::'
            'test_a_message_belongs_to_its_queue_and_project',
            f'{_HTTP}/test_claims.py::'
            'test_a_claim_belongs_to_its_queue_and_project',
            f'{_HTTP}/test_subscriptions.py::'
            'test_one_belongs_to_its_queue_and_project',
            f'{_TENANTS}::test_ids_of_one_project_open_nothing_in_another_'
            'that_has_the_same_names',
            f'{_ISOLATION}::test_a_message_of_another_queue_is_not_found',
            f'{_ISOLATION}::test_a_message_of_another_queue_is_not_deleted',
            f'{_ISOLATION}::test_a_claim_of_another_queue_is_unknown',
            f'{_ISOLATION}::test_a_claim_of_another_queue_deletes_nothing',
            f'{_ISOLATION}::test_a_marker_of_another_queue_shows_nothing_of_it',
        ),
    ),
    Rule(
        'names are looked for literally',
        'The filter "name" of a listing is a plain part of a name, within '
        'the project.',
        (
            f'{_HTTP}/test_queues.py::'
            'test_name_keeps_queues_that_contain_it_literally',
            f'{_TENANTS}::test_no_project_is_a_pattern_for_another',
        ),
    ),
    Rule(
        'topics are not queues',
        'A topic and a queue of one name have nothing in common.',
        (
            f'{_HTTP}/test_topics.py::'
            'test_a_topic_and_a_queue_of_one_name_are_two',
        ),
    ),
    Rule(
        'statistics tell no content',
        'Statistics name the ends of a queue by address, age and moment; no '
        'body and no claim.',
        (
            f'{_HTTP}/test_queues.py::'
            'test_statistics_count_states_and_name_both_ends',
        ),
    ),
)

AT_REST = (
    Rule(
        'sealed bodies',
        'Encrypted bodies are AES-256-GCM with a random nonce, bound to key, '
        'project, queue and message.',
        (
            f'{_ENCRYPTION}::test_what_is_kept_cannot_be_read',
            f'{_ENCRYPTION}::test_a_body_that_was_tampered_with_does_not_open',
            f'{_ENCRYPTION}::test_the_same_body_is_never_sealed_alike',
            f'{_ENCRYPTION}::test_a_body_opens_in_its_own_place_only',
        ),
    ),
    Rule(
        'no built-in key',
        'There is no default key; the constant of old counts as none, and '
        'without one nothing can be marked as encrypted.',
        (f'{_ENCRYPTION}::test_without_a_key_no_queue_can_be_encrypted',),
    ),
    Rule(
        'encryption is never late',
        'No message is stored in the clear that is posted after the answer '
        'which switched encryption on, by whatever process.',
        (
            f'{_STALE}::test_encryption_is_never_late',
            f'{_STALE}::test_an_encrypted_queue_made_meanwhile_stores_nothing'
            '_in_the_clear',
            f'{_STALE}::test_a_dead_letter_obeys_its_new_queue',
            'functional/deployment/test_metadata_changes.py::test_nothing_is_'
            'stored_in_the_clear_after_encryption_was_switched_on',
        ),
    ),
    Rule(
        'keys can be changed',
        'Several keys decrypt, so that a new one can take over.',
        (f'{_ENCRYPTION}::test_keys_can_be_changed_while_messages_lie_there',),
    ),
    Rule(
        'no native serialization',
        'No object of Python is serialized; bodies are JSON text.',
        (f'{_SECRETS}::test_nothing_of_python_is_serialized',),
    ),
)

SUBSCRIPTIONS = (
    Rule(
        'trusts are the callers',
        'A trust that a client names is used only if the caller has made it '
        'in our user, with a token that is its own.',
        (
            f'{_KEYSTONE}/test_delegation.py::test_no_other_trust_is_taken',
            f'{_KEYSTONE}/test_delegation.py::'
            'test_a_refusal_of_keystone_is_final_and_says_why',
        ),
    ),
    Rule(
        'tokens go where their owner says',
        'The token of one user is not sent where, or with what, another user '
        'has said.',
        (
            f'{_KEYSTONE}/test_delegation.py::'
            'test_who_changes_a_subscription_has_it_notified_for_itself',
        ),
    ),
    Rule(
        'one recipient',
        'A mail is sent only if, parsed back, it has the headers, the one '
        'recipient and the subject that were asked for.',
        (
            'unit/controllers/test_mails.py::'
            'test_a_finished_mail_is_held_against_what_was_asked_for',
            'unit/controllers/test_mails.py::'
            'test_what_is_not_one_bare_address_makes_no_mail',
        ),
    ),
    Rule(
        'signed access ends',
        'What was made through a pre-signed URL ends with it.',
        (
            f'{_SIGNED}::test_a_subscription_made_through_a_url_ends_with_it',
            f'{_SIGNED}::test_a_subscriber_who_came_through_a_url_ends_with_it',
            f'{_SIGNED}::test_a_claim_made_through_a_url_ends_with_it',
        ),
    ),
    Rule(
        'trusts stay with us',
        'A trust id is in no answer and in no log.',
        (
            f'{_SECRETS}::test_a_trust_is_shown_to_nobody',
            f'{_TRUSTS}::test_no_trust_is_named_in_a_log',
        ),
    ),
    Rule(
        'our own headers',
        'post_headers cannot set what belongs to the connection or to our '
        'authentication, and holds nothing that cannot be sent.',
        (
            f'{_HTTP}/test_subscriptions.py::'
            'test_headers_that_are_ours_cannot_be_set',
            f'{_HTTP}/test_subscriptions.py::'
            'test_a_faulty_subscription_is_refused_and_makes_nothing',
        ),
    ),
    Rule(
        'public receivers',
        'Webhooks reach global addresses, those of allowed networks, and '
        'endpoints of the catalogue at their very ports, other than Keystone.',
        (
            f'{_ADDRESSES}::test_an_address_that_is_not_public_is_refused',
            f'{_ADDRESSES}::'
            'test_all_that_an_address_stands_for_must_be_allowed',
            f'{_TRUSTS}::'
            'test_a_service_of_the_cloud_may_be_told_without_a_token_too',
        ),
    ),
    Rule(
        'tokens stay in the cloud',
        'Tokens of trusts go to endpoints of the catalogue at their very '
        'ports, other than Keystone, and to hosts that the operator names.',
        (
            f'{_TRUSTS}::test_no_token_goes_to_a_host_that_is_not_of_the_cloud',
            f'{_TRUSTS}::'
            'test_no_token_goes_to_another_port_of_a_service_nor_to_keystone',
        ),
    ),
    Rule(
        'the network is not explored',
        'Reasons of failed deliveries do not tell what is open from what is '
        'closed.',
        (
            'unit/notification/test_calls.py::'
            'test_users_cannot_tell_what_is_open_from_what_is_closed',
        ),
    ),
    Rule(
        'encrypted on the way out',
        'Messages of encrypted queues leave over TLS or a WebSocket alone, '
        'unless the operator allows more, and dead letters of them are '
        'encrypted.',
        (
            f'{_WEBHOOKS}::'
            'test_messages_of_an_encrypted_queue_are_not_sent_without_tls',
            f'{_WEBHOOKS}::'
            'test_a_dead_letter_of_an_encrypted_queue_is_encrypted_too',
            'functional/notification/test_mail.py::'
            'test_messages_of_an_encrypted_queue_are_mailed_only_if_allowed',
        ),
    ),
    Rule(
        'handed over once',
        'A request from a notifier to a WebSocket server counts once.',
        (
            'functional/websocket/test_pushes.py::'
            'test_what_is_sent_again_is_not_pushed_again',
        ),
    ),
    Rule(
        'size of options',
        'The options of a subscription are no larger than metadata may be.',
        (
            f'{_HTTP}/test_subscriptions.py::'
            'test_options_have_the_size_of_metadata_at_most',
        ),
    ),
)

SECRETS = (
    Rule(
        'nothing in the log',
        'Bodies, keys, tokens and passwords of pools are logged at no level.',
        (
            f'{_SECRETS}::test_no_body_no_key_and_no_token_is_logged',
            f'{_SECRETS}::test_no_password_of_a_pool_is_logged',
            f'{_HTTP}/test_profiling.py::test_no_body_and_no_token_is_in_a_'
            'trace',
        ),
    ),
    Rule(
        'passwords of pools',
        'Whoever is no administrator sees no password of a pool.',
        (
            f'{_SECRETS}::'
            'test_nobody_but_administrators_sees_passwords_of_pools',
        ),
    ),
    Rule(
        'secret options',
        'Options that hold passwords or keys are marked as secret.',
        (
            'unit/test_configuration.py::'
            'test_an_option_is_as_deployments_know_it',
            'unit/test_configuration.py::test_passwords_and_keys_are_secret',
        ),
    ),
    Rule(
        'silent failures',
        'What nobody foresaw is a 500 that tells nothing of it.',
        (
            f'{_HTTP}/test_middleware.py::'
            'test_what_nobody_foresaw_is_a_500_that_tells_nothing',
        ),
    ),
)

_SLOW = 'functional/test_slow_clients.py'

COSTS = (
    Rule(
        'linear parsing',
        'No text that a caller sends costs more than in proportion to its '
        'length.',
        (
            'unit/test_linear.py::test_twice_the_text_costs_twice_the_steps',
            f'{_HTTP}/test_headers.py::'
            'test_a_very_long_accept_header_is_refused_unparsed',
        ),
    ),
    Rule(
        'slow bodies',
        'A request holds no thread before its body is there, and a body has '
        'a deadline, a least rate and its share of memory.',
        (
            f'{_SLOW}::test_a_thousand_slow_bodies_delay_no_post',
            f'{_SLOW}::test_a_slow_client_is_answered_in_the_end',
            'unit/test_slow_bodies.py::'
            'test_the_one_that_waits_longest_leaves_room_for_others',
        ),
    ),
    Rule(
        'names of headers',
        'No header passes for another by an underscore in its name.',
        (f'{_SLOW}::test_a_header_with_an_underscore_passes_for_no_other',),
    ),
    Rule(
        'lines of the log',
        'Nothing that a caller sends ends or forges a line of the log.',
        (
            f'{_HTTP}/test_middleware.py::'
            'test_no_project_ends_a_line_of_the_log',
        ),
    ),
    Rule(
        'old paths',
        'A path of version 1.1 lets nobody in whom version 2 would not.',
        (
            f'{_HTTP}/test_old_paths.py::test_a_policy_holds_for_both',
            f'{_HTTP}/test_old_paths.py::test_a_signature_holds_for_both',
        ),
    ),
)

RULES = (
    *IDENTITY,
    *SIGNATURES,
    *ISOLATION,
    *AT_REST,
    *SUBSCRIPTIONS,
    *SECRETS,
    *COSTS,
)
