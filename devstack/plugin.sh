#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Zaqar's devstack plugin. devstack sources it with a mode and a phase; the
# functions are also used by the scripts in upgrade/, which source it with
# neither. README.rst describes its use.
#
# shellcheck disable=SC2154

_XTRACE_ZAQAR=$(set +o | grep xtrace)
set +o xtrace

# Functions that other plugins may call
# -------------------------------------

# Return whether a service of the plugin is enabled.
function is_zaqar_enabled {
    is_service_enabled zaqar-wsgi || is_service_enabled zaqar-websocket
}

# Install the service from the checkout, with what its back end needs.
function install_zaqar {
    case $ZAQAR_BACKEND in
        sqlalchemy | redis | mongodb | swift) ;;
        *) die $LINENO "ZAQAR_BACKEND=$ZAQAR_BACKEND: must be sqlalchemy, \
redis, mongodb or swift" ;;
    esac
    setup_develop "$ZAQAR_DIR" "$(_zaqar_extras)"
}

function install_zaqarclient {
    if use_library_from_git python-zaqarclient; then
        git_clone_by_name python-zaqarclient
        setup_dev_lib python-zaqarclient
    else
        pip_install_gr python-zaqarclient
    fi
}

# Install our panels from the checkout. They have no static files, and Horizon's
# are collected and compressed after this phase, when it is initialized.
function install_zaqar_dashboard {
    setup_develop "$ZAQAR_DASHBOARD_DIR"
    remove_zaqar_dashboard
    cp "$ZAQAR_DASHBOARD_DIR"/enabled/_[0-9]*.py "$(_zaqar_enabled)/"
}

# Disable our panels, and those of zaqar-ui, which has the same ones.
function remove_zaqar_dashboard {
    local file
    for file in "$(_zaqar_enabled)"/*.py; do
        if grep -qsE 'zaqar_(dashboard|ui)|^PANEL_GROUP = .messaging.' \
            "$file"; then
            rm -f "$file"
        fi
    done
}

function install_zaqartempest {
    git_clone_by_name zaqar-tempest-plugin
    setup_dev_lib zaqar-tempest-plugin
}

# Write the configuration; install and prepare the back end.
function configure_zaqar {
    local key
    install_zaqar
    sudo install -d -o "$STACK_USER" "$ZAQAR_CONF_DIR" "$ZAQAR_API_LOG_DIR"

    # Keep the key, so that pre-signed URLs survive a new run of stack.sh.
    key=$(_get_zaqar_option "$ZAQAR_CONF" signed_url secret_key)
    # Drop the rest: options of another back end would prevent the start.
    rm -f "$ZAQAR_CONF"
    install -m 640 /dev/null "$ZAQAR_CONF"
    iniset "$ZAQAR_CONF" signed_url secret_key \
        "${key:-$(generate_hex_string 32)}"

    _configure_zaqar_service
    if is_service_enabled key; then
        _configure_zaqar_identity
    fi
    _configure_zaqar_backend
    write_uwsgi_config "$ZAQAR_UWSGI_CONF" "$ZAQAR_UWSGI" "/messaging" "" \
        "zaqar-wsgi"
    configure_zaqar_heat
}

# Let Heat find our resource types. May be called at any time and twice: Heat
# rewrites its configuration in a phase that may come before or after ours, and
# reads it in phase extra.
function configure_zaqar_heat {
    local conf=${HEAT_CONF:-/etc/heat/heat.conf}
    local module dirs
    is_service_enabled h-eng || return 0
    sudo install -d "$ZAQAR_HEAT_PLUGIN_DIR"
    for module in "$ZAQAR_HEAT_DIR"/*.py; do
        [[ -e $module ]] || continue
        sudo ln -sf "$module" "$ZAQAR_HEAT_PLUGIN_DIR/"
    done
    # If plugin_dirs is set, the default folders are ignored.
    dirs=$(_get_zaqar_option "$conf" DEFAULT plugin_dirs)
    if [[ -n $dirs && ",$dirs," != *",$ZAQAR_HEAT_PLUGIN_DIR,"* ]]; then
        iniset "$conf" DEFAULT plugin_dirs "$dirs,$ZAQAR_HEAT_PLUGIN_DIR"
    fi
}

function configure_redis {
    if is_ubuntu; then
        install_package redis-server
        restart_service redis-server
    elif is_fedora; then
        install_package redis
        restart_service redis
    else
        die $LINENO "Zaqar: can install Redis on Ubuntu and Fedora only"
    fi
}

# Install MongoDB from the packages of its vendor; distributions have none.
function configure_mongodb {
    if is_ubuntu && [[ $DISTRO == noble ]]; then
        _add_mongodb_to_apt 8.0
    elif is_fedora && [[ $DISTRO == rhel9 || $DISTRO == rocky9 ]]; then
        _add_mongodb_to_yum 6.0
    else
        die $LINENO "Zaqar: there are no MongoDB packages for $DISTRO"
    fi
    install_package mongodb-org
    restart_service mongod
}

# Create users, roles, services and endpoints in Keystone.
function create_zaqar_accounts {
    local host=$ZAQAR_SERVICE_PROTOCOL://$ZAQAR_SERVICE_HOST
    create_service_user zaqar
    if [[ $ZAQAR_TRUSTEE_USER != zaqar ]]; then
        get_or_create_user "$ZAQAR_TRUSTEE_USER" "$ZAQAR_TRUSTEE_PASSWORD" \
            "$ZAQAR_TRUSTEE_DOMAIN"
    fi
    if [[ $ZAQAR_BACKEND == swift ]]; then
        get_or_add_user_project_role ResellerAdmin zaqar \
            "$SERVICE_PROJECT_NAME"
    fi
    get_or_create_service zaqar messaging "Zaqar Service"
    get_or_create_endpoint messaging "$REGION_NAME" "$host/messaging"
    get_or_create_service zaqar-websocket messaging-websocket \
        "Zaqar Websocket Service"
    get_or_create_endpoint messaging-websocket "$REGION_NAME" \
        "$host:$ZAQAR_WEBSOCKET_PORT"
}

# Nothing has to be initialized before the start.
function init_zaqar {
    :
}

function start_zaqar {
    run_process zaqar-wsgi "$(command -v uwsgi) --procname-prefix zaqar-wsgi \
--ini $ZAQAR_UWSGI_CONF --env OS_ZAQAR_CONFIG_FILES=$ZAQAR_CONF"
    run_process zaqar-websocket \
        "$ZAQAR_BIN_DIR/zaqar-server --config-file $ZAQAR_CONF"
    run_process zaqar-notifier \
        "$ZAQAR_BIN_DIR/zaqar-notifier --config-file $ZAQAR_CONF"
    if is_service_enabled zaqar-wsgi; then
        _wait_for_zaqar
    fi
}

function stop_zaqar {
    local service
    for service in zaqar-wsgi zaqar-websocket zaqar-notifier; do
        stop_process "$service"
    done
}

# Remove what stack.sh has created and no other clean-up removes.
function cleanup_zaqar {
    local module
    if [[ $ZAQAR_BACKEND == mongodb ]]; then
        cleanup_zaqar_mongodb
    fi
    for module in "$ZAQAR_HEAT_PLUGIN_DIR"/*.py; do
        if [[ -L $module && $(readlink "$module") == "$ZAQAR_HEAT_DIR"/* ]]; then
            sudo rm -f "$module"
        fi
    done
    if is_service_enabled horizon; then
        remove_zaqar_dashboard
    fi
    remove_uwsgi_config "$ZAQAR_UWSGI_CONF" zaqar-wsgi
}

# Drop our databases: "zaqar" and those that begin with "zaqar_".
function cleanup_zaqar_mongodb {
    local shell
    if ! shell=$(_mongodb_shell); then
        echo "Zaqar: neither mongosh nor mongo is installed;" \
            "databases are not removed"
        return 0
    fi
    # shellcheck disable=SC2016
    "$shell" --quiet --eval 'db.adminCommand({listDatabases: 1, nameOnly: true})
        .databases.map(function(each) { return each.name; })
        .filter(function(name) { return /^zaqar(_|$)/.test(name); })
        .forEach(function(name) { db.getSiblingDB(name).dropDatabase(); })' ||
        echo "Zaqar: MongoDB does not respond; databases are not removed"
}

# Helpers of the functions above
# ------------------------------

# Print the extras of our package that the back end and the database need.
function _zaqar_extras {
    local extras=()
    case $ZAQAR_BACKEND in
        redis | mongodb | swift) extras+=("$ZAQAR_BACKEND") ;;
    esac
    if [[ $ZAQAR_BACKEND != mongodb ]]; then
        extras+=("$DATABASE_TYPE")
    fi
    (IFS=, && echo "${extras[*]}")
}

# Print where Horizon looks for files that enable panels.
function _zaqar_enabled {
    echo "$HORIZON_DIR/openstack_dashboard/local/enabled"
}

function _configure_zaqar_service {
    # Brackets of an IPv6 address belong to URIs, not to an address to bind to.
    local host=${ZAQAR_SERVICE_HOST//[\[\]]/}

    iniset "$ZAQAR_CONF" DEFAULT debug "$ENABLE_DEBUG_LOG_LEVEL"
    iniset "$ZAQAR_CONF" DEFAULT unreliable True
    iniset "$ZAQAR_CONF" DEFAULT admin_mode True
    iniset "$ZAQAR_CONF" DEFAULT pooling True
    iniset "$ZAQAR_CONF" pooling:catalog enable_virtual_pool True
    iniset "$ZAQAR_CONF" drivers transport websocket
    iniset "$ZAQAR_CONF" drivers:transport:websocket bind "$host"
    iniset "$ZAQAR_CONF" drivers:transport:websocket port \
        "$ZAQAR_WEBSOCKET_PORT"
    iniset "$ZAQAR_CONF" drivers:transport:websocket http_prefix \
        /messaging
    iniset "$ZAQAR_CONF" drivers:transport:sqs enabled True
    iniset "$ZAQAR_CONF" storage message_pipeline zaqar.notification.notifier
    # Subscribers on this machine, and services of this cloud.
    iniset "$ZAQAR_CONF" notification allowed_networks \
        "127.0.0.0/8,$HOST_IP/32"
    iniset "$ZAQAR_CONF" notification trust_targets "$host"
    if is_service_enabled zaqar-notifier; then
        iniset "$ZAQAR_CONF" notification embedded False
    fi
    if is_service_enabled zaqar-websocket; then
        # "http" and "https" become "ws" and "wss".
        iniset "$ZAQAR_CONF" console websocket_url \
            "ws${ZAQAR_SERVICE_PROTOCOL#http}://\
$ZAQAR_SERVICE_HOST:$ZAQAR_WEBSOCKET_PORT"
    fi
    _configure_zaqar_limits
}

# What one project may have, and do per second: enough for Tempest.
function _configure_zaqar_limits {
    iniset "$ZAQAR_CONF" quotas queues 1000
    iniset "$ZAQAR_CONF" quotas topics 1000
    iniset "$ZAQAR_CONF" quotas subscriptions 1000
    iniset "$ZAQAR_CONF" quotas subscriptions_per_queue 100
    iniset "$ZAQAR_CONF" quotas sockets 500
    iniset "$ZAQAR_CONF" rates requests 500
    iniset "$ZAQAR_CONF" rates messages 1000
    iniset "$ZAQAR_CONF" rates message_bytes 10000000
    iniset "$ZAQAR_CONF" rates deliveries 200
    iniset "$ZAQAR_CONF" rates mails 2
}

function _configure_zaqar_identity {
    iniset "$ZAQAR_CONF" DEFAULT auth_strategy keystone
    configure_keystone_authtoken_middleware "$ZAQAR_CONF" zaqar
    # Without Keystone, callers have no roles.
    iniset "$ZAQAR_CONF" oslo_policy enforce_new_defaults True
    # At the same web server as the console, which Keystone need not allow.
    iniset "$ZAQAR_CONF" console identity_url "$KEYSTONE_AUTH_URI/v3"
    iniset "$ZAQAR_CONF" trustee auth_type password
    iniset "$ZAQAR_CONF" trustee auth_url "$KEYSTONE_AUTH_URI"
    iniset "$ZAQAR_CONF" trustee username "$ZAQAR_TRUSTEE_USER"
    iniset "$ZAQAR_CONF" trustee password \
        "$(_zaqar_value "$ZAQAR_TRUSTEE_PASSWORD")"
    iniset "$ZAQAR_CONF" trustee user_domain_id "$ZAQAR_TRUSTEE_DOMAIN"
}

function _configure_zaqar_backend {
    local messages=drivers:message_store:$ZAQAR_BACKEND
    iniset "$ZAQAR_CONF" drivers message_store "$ZAQAR_BACKEND"
    case $ZAQAR_BACKEND in
        mongodb)
            configure_mongodb
            _configure_zaqar_mongodb
            return
            ;;
        redis)
            configure_redis
            iniset "$ZAQAR_CONF" "$messages" uri redis://localhost:6379
            ;;
        swift)
            iniset "$ZAQAR_CONF" "$messages" auth_url "$KEYSTONE_AUTH_URI/v3"
            iniset "$ZAQAR_CONF" "$messages" uri \
                "$(_zaqar_value "swift://zaqar:$SERVICE_PASSWORD@/service")"
            ;;
    esac
    _configure_zaqar_database
}

function _configure_zaqar_mongodb {
    local messages=drivers:message_store:mongodb
    local management=drivers:management_store:mongodb
    local server=mongodb://localhost:27017
    iniset "$ZAQAR_CONF" drivers management_store mongodb
    iniset "$ZAQAR_CONF" $messages uri $server/zaqar
    iniset "$ZAQAR_CONF" $messages database zaqar
    iniset "$ZAQAR_CONF" $management uri $server/zaqar_mgmt
    iniset "$ZAQAR_CONF" $management database zaqar_mgmt
}

function _configure_zaqar_database {
    local uri
    uri=$(_zaqar_value "$(database_connection_url zaqar)")
    iniset "$ZAQAR_CONF" drivers management_store sqlalchemy
    iniset "$ZAQAR_CONF" drivers:management_store:sqlalchemy uri "$uri"
    if [[ $ZAQAR_BACKEND == sqlalchemy ]]; then
        iniset "$ZAQAR_CONF" drivers:message_store:sqlalchemy uri "$uri"
    fi
    recreate_database zaqar
    "$ZAQAR_BIN_DIR/zaqar-sql-db-manage" --config-file "$ZAQAR_CONF" \
        upgrade head
}

# Print the value of an option; print nothing if the file does not exist.
function _get_zaqar_option {
    if [[ -f $1 ]]; then
        iniget "$@"
    fi
}

# Print a text as the value of an option, with dollar signs escaped.
function _zaqar_value {
    echo "${1//\$/\$\$}"
}

function _add_mongodb_to_apt {
    local keys=/usr/share/keyrings/mongodb-server-$1.asc
    local source="https://repo.mongodb.org/apt/ubuntu $DISTRO/mongodb-org/$1"
    curl -fsSL "https://pgp.mongodb.com/server-$1.asc" |
        sudo tee "$keys" >/dev/null
    echo "deb [signed-by=$keys] $source multiverse" |
        sudo tee "/etc/apt/sources.list.d/mongodb-org-$1.list" >/dev/null
    # Makes devstack update the package lists again.
    # shellcheck disable=SC2034
    REPOS_UPDATED=False
}

function _add_mongodb_to_yum {
    sudo tee "/etc/yum.repos.d/mongodb-org-$1.repo" >/dev/null <<REPO
[mongodb-org-$1]
name=MongoDB
baseurl=https://repo.mongodb.org/yum/redhat/9/mongodb-org/$1/$(uname -m)/
gpgcheck=1
enabled=1
gpgkey=https://pgp.mongodb.com/server-$1.asc
REPO
}

# Print the name of MongoDB's shell, which changed with version 6.
function _mongodb_shell {
    command -v mongosh || command -v mongo
}

# Wait until the API answers through the web server.
function _wait_for_zaqar {
    local url=$ZAQAR_SERVICE_PROTOCOL://$ZAQAR_SERVICE_HOST/messaging/v2/ping
    local end headers
    end=$((SECONDS + SERVICE_TIMEOUT))
    headers=(-H "Client-ID: $(cat /proc/sys/kernel/random/uuid)")
    if is_service_enabled key; then
        headers+=(-H "X-Auth-Token: $(openstack token issue -f value -c id)")
    else
        headers+=(-H "X-Project-ID: devstack")
    fi
    until curl -gkfsS --noproxy '*' --max-time 10 -o /dev/null \
        "${headers[@]}" "$url"; do
        if ((SECONDS >= end)); then
            die $LINENO "Zaqar does not respond at $url"
        fi
        sleep 1
    done
}

# The phases
# ----------

function _run_zaqar_phase {
    case "${1:-} ${2:-}" in
        "stack install")
            install_zaqarclient
            if is_service_enabled horizon; then
                install_zaqar_dashboard
            fi
            if is_service_enabled tempest; then
                install_zaqartempest
            fi
            ;;
        "stack post-config")
            configure_zaqar
            if is_service_enabled key; then
                create_zaqar_accounts
            fi
            ;;
        "stack extra")
            configure_zaqar_heat
            init_zaqar
            start_zaqar
            ;;
        "unstack "*) stop_zaqar ;;
        "clean "*) cleanup_zaqar ;;
    esac
}

if is_zaqar_enabled; then
    _run_zaqar_phase "$@"
fi

$_XTRACE_ZAQAR
