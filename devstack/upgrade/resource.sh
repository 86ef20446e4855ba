#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Creates the data of a user before an upgrade and verifies it after, for
# Grenade: a queue with metadata, a subscription, ten messages, and a claim on
# three of them.
#
# shellcheck disable=SC1091,SC2154

set -o errexit

source "$GRENADE_DIR/grenaderc"
source "$GRENADE_DIR/functions"
source "$TOP_DIR/openrc" admin admin

QUEUE=grenade-zaqar
SUBSCRIBER=https://grenade.example.org/hook
# Lifetime of claims and messages: longer than any upgrade takes.
LIFE=43200

# Find the service and get a token: once, since each takes a second.
function _log_in {
    URL=$(openstack catalog show messaging -f json |
        python3 -c 'import json, sys
endpoints = json.load(sys.stdin)["endpoints"]
(url,) = [each["url"] for each in endpoints if each["interface"] == "public"]
print(url.rstrip("/"))')
    TOKEN=$(openstack token issue -f value -c id)
}

# Send a request and print the answer; fail on an error status.
# $1: method; $2: path below /v2; $3: a JSON document, or nothing
function _ask {
    curl -gkfsS --noproxy '*' --max-time 60 -X "$1" "$URL/v2$2" \
        -H "X-Auth-Token: $TOKEN" -H "Content-Type: application/json" \
        -H "Client-ID: $(_client)" ${3:+-d "$3"}
}

# Print the Client-ID of this script, the same at each call.
function _client {
    local client
    client=$(resource_get zaqar client)
    if [[ -z $client ]]; then
        client=$(cat /proc/sys/kernel/random/uuid)
        resource_save zaqar client "$client"
    fi
    echo "$client"
}

# Fail unless an answer is as expected.
# $1: what it is; $2: the answer; $3: an expression on "answer"
function _expect {
    python3 -c 'import json, sys
answer = json.loads(sys.argv[1])
sys.exit(not eval(sys.argv[2]))' "$2" "$3" ||
        die $LINENO "Zaqar: $1 is not as it was: $2"
}

function create {
    local claim
    _client >/dev/null
    _ask PUT "/queues/$QUEUE" '{"_default_message_ttl": 43200, "made": "before"}'
    _ask POST "/queues/$QUEUE/subscriptions" \
        "{\"subscriber\": \"$SUBSCRIBER\", \"ttl\": $LIFE, \"options\": {}}"
    _ask POST "/queues/$QUEUE/messages" "$(python3 -c 'import json
print(json.dumps({"messages": [{"body": n} for n in range(10)]}))')"
    claim=$(_ask POST "/queues/$QUEUE/claims?limit=3" \
        "{\"ttl\": $LIFE, \"grace\": 60}" |
        python3 -c 'import json, sys
href = json.load(sys.stdin)["messages"][0]["href"]
print(href.rpartition("claim_id=")[2])')
    resource_save zaqar claim "$claim"
}

function verify {
    local answer
    answer=$(_ask GET "/queues/$QUEUE")
    _expect "the queue" "$answer" 'answer["made"] == "before"'
    answer=$(_ask GET "/queues/$QUEUE/stats")
    _expect "the number of messages" "$answer" \
        '(lambda n: (n["free"], n["claimed"]))(answer["messages"]) == (7, 3)'
    answer=$(_ask GET "/queues/$QUEUE/messages?echo=true")
    _expect "the order of messages" "$answer" \
        '[each["body"] for each in answer["messages"]] == list(range(3, 10))'
    answer=$(_ask GET "/queues/$QUEUE/claims/$(resource_get zaqar claim)")
    _expect "the claim" "$answer" \
        '[each["body"] for each in answer["messages"]] == [0, 1, 2]'
    answer=$(_ask GET "/queues/$QUEUE/subscriptions")
    _expect "the subscription" "$answer" \
        "[each['subscriber'] for each in answer['subscriptions']] \
== ['$SUBSCRIBER']"
}

# Messages are behind the API alone.
function verify_noapi {
    :
}

function destroy {
    local answer ids id
    answer=$(_ask GET "/queues/$QUEUE/subscriptions")
    ids=$(python3 -c 'import json, sys
print(*(each["id"] for each in json.loads(sys.argv[1])["subscriptions"]))' \
        "$answer")
    for id in $ids; do
        _ask DELETE "/queues/$QUEUE/subscriptions/$id"
    done
    _ask DELETE "/queues/$QUEUE"
}

function force_destroy {
    _ask DELETE "/queues/$QUEUE" || true
}

case ${1:-} in
    verify_noapi) verify_noapi ;;
    create | verify | destroy | force_destroy)
        _log_in
        "$1"
        ;;
    *) die $LINENO "Zaqar: resource.sh ${1:-}: unknown" ;;
esac
