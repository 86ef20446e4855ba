#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Upgrades Zaqar to the target side, for Grenade: saves, installs, upgrades the
# tables, starts, verifies that it runs, saves again.
#
# shellcheck disable=SC1091,SC2154

set -o errexit

source "$GRENADE_DIR/grenaderc"
source "$GRENADE_DIR/functions"

source "$TARGET_DEVSTACK_DIR/functions"
source "$TARGET_DEVSTACK_DIR/stackrc"
source "$TARGET_DEVSTACK_DIR/lib/tls"
source "$TARGET_DEVSTACK_DIR/lib/apache"
source "$TARGET_DEVSTACK_DIR/lib/keystone"

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
load_zaqar_plugin

# Print an option of the base's configuration.
function _option {
    _get_zaqar_option "$ZAQAR_CONF" "$@"
}

# Save the stores that are not registered databases.
# $1: base or target
function _save_stores {
    local stores
    stores="$(_option drivers message_store) $(_option drivers management_store)"
    if [[ $stores == *mongodb* ]]; then
        _save_mongodb "$SAVE_DIR/zaqar-mongodb.$1"
    fi
    if [[ $stores == *redis* ]]; then
        _save_redis "$SAVE_DIR/zaqar-redis.$1.rdb"
    fi
}

# Messages, queues and subscriptions are in databases of their own, whose
# names begin with those that are configured.
function _save_mongodb {
    local shell name names
    shell=$(_mongodb_shell) ||
        die $LINENO "Zaqar: mongosh or mongo is needed to save the databases"
    names=$("$shell" --quiet --eval \
        'db.adminCommand({listDatabases: 1, nameOnly: true}).databases
            .forEach(function(each) { print(each.name); })')
    for name in $names; do
        if [[ $name =~ ^zaqar(_|$) ]]; then
            mongodump --db "$name" --out "$1"
        fi
    done
}

function _save_redis {
    local folder file
    redis-cli save
    folder=$(redis-cli --raw config get dir | tail -n 1)
    file=$(redis-cli --raw config get dbfilename | tail -n 1)
    sudo cp "$folder/$file" "$1"
}

function _save_configuration {
    if [[ -d $ZAQAR_CONF_DIR && ! -d $SAVE_DIR/etc.zaqar ]]; then
        cp -pr "$ZAQAR_CONF_DIR" "$SAVE_DIR/etc.zaqar"
    fi
}

function _upgrade_tables {
    if [[ $(_option drivers management_store) == sqlalchemy ]]; then
        "$ZAQAR_BIN_DIR/zaqar-sql-db-manage" --config-file "$ZAQAR_CONF" \
            upgrade head || die $LINENO "Zaqar: upgrading the tables failed"
    fi
}

# Fail if a check of zaqar-status fails; warnings (1) are only shown.
function _check_status {
    local code=0
    "$ZAQAR_BIN_DIR/zaqar-status" --config-file "$ZAQAR_CONF" \
        upgrade check || code=$?
    if ((code > 1)); then
        die $LINENO "Zaqar: a check of zaqar-status failed"
    fi
}

set -o xtrace

_save_stores base
_save_configuration

install_zaqar
write_uwsgi_config "$ZAQAR_UWSGI_CONF" "$ZAQAR_UWSGI" "/messaging" "" \
    "zaqar-wsgi"

# Steps for a single release: from-RELEASE/upgrade-zaqar.
upgrade_project zaqar "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)" \
    "$BASE_DEVSTACK_BRANCH" "$TARGET_DEVSTACK_BRANCH"
_upgrade_tables
_check_status

wait_for_keystone
start_zaqar

mapfile -t programs < <(zaqar_programs)
ensure_services_started "${programs[@]}"

_save_stores target

set +o xtrace
echo "Zaqar: upgraded"
