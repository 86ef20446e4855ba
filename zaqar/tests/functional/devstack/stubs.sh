#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# devstack's and Grenade's functions, as far as the plugin calls them. Each
# notes its call in $CALLS. Options are really written, processes are really
# run; packages and Keystone's objects are only noted.
#
# shellcheck disable=SC2154

# For the settings of the plugin.
# shellcheck disable=SC2034
declare -A GITREPO GITBRANCH GITDIR

function _note {
    echo "$*" >>"$CALLS"
}

# Defines functions that do nothing else.
for _name in configure_keystone_authtoken create_service_user define_plugin \
    devstack_localrc ensure_services_started ensure_services_stopped \
    get_or_add_user_project_role get_or_create_endpoint \
    get_or_create_service get_or_create_user git_clone_by_name \
    install_package pip_install_gr recreate_database register_db_to_save \
    register_project_for_upgrade remove_uwsgi_config restart_service \
    setup_dev_lib setup_develop upgrade_project wait_for_keystone; do
    eval "function $_name { _note $_name \"\$@\"; }"
done

function is_service_enabled {
    local each
    for each in "$@"; do
        [[ ,$ENABLED_SERVICES, == *,$each,* ]] && return 0
    done
    return 1
}

function enable_service {
    local each
    for each in "$@"; do
        is_service_enabled "$each" || ENABLED_SERVICES+=,$each
    done
}

function is_ubuntu {
    [[ $DISTRO != rhel* ]]
}

function is_fedora {
    [[ $DISTRO == rhel* ]]
}

function use_library_from_git {
    [[ ,${LIBS_FROM_GIT:-}, == *,$1,* ]]
}

function die {
    shift
    echo "die: $*" >&2
    exit 1
}

function get_python_exec_prefix {
    dirname "$PYTHON"
}

function generate_hex_string {
    "$PYTHON" -c "import secrets; print(secrets.token_hex($1))"
}

function database_connection_url {
    echo "$DATABASE_URL"
}

function iniset {
    _note iniset "${1##*/}" "${@:2:2}"
    "$PYTHON" "$STUBS/ini.py" set "$@"
}

function iniget {
    "$PYTHON" "$STUBS/ini.py" get "$@"
}

# Writes what the test has prepared for its Keystone.
function configure_keystone_authtoken_middleware {
    _note configure_keystone_authtoken_middleware "${1##*/}" "$2"
    local name value
    while IFS='=' read -r name value; do
        "$PYTHON" "$STUBS/ini.py" set "$1" keystone_authtoken \
            "$name" "$value"
    done <"$AUTHTOKEN"
}

# As devstack's, but for the plugins, which are built into uWSGI of PyPI, and
# for the web server, which the test runs.
function write_uwsgi_config {
    _note write_uwsgi_config "${1##*/}" "$2" "$3" "$4" "$5"
    cat >"$1" <<UWSGI
[uwsgi]
module = $2
processes = 2
master = true
die-on-term = true
exit-on-reload = false
worker-reload-mercy = 80
enable-threads = true
thunder-lock = true
hook-master-start = unix_signal:15 gracefully_kill_them_all
buffer-size = 65535
add-header = Connection: close
lazy-apps = true
chmod-socket = 666
socket = $FOLDER/$5.socket
UWSGI
}

function run_process {
    is_service_enabled "$1" || return 0
    _note run_process "$1"
    setsid bash -c "exec $2" >"$FOLDER/$1.log" 2>&1 </dev/null &
    echo "$!" >"$FOLDER/$1.pid"
}

function stop_process {
    _note stop_process "$1"
    [[ -f $FOLDER/$1.pid ]] || return 0
    kill "$(<"$FOLDER/$1.pid")" 2>/dev/null || true
    rm "$FOLDER/$1.pid"
}

function resource_save {
    echo "$3" >"$FOLDER/resource.$1.$2"
}

function resource_get {
    cat "$FOLDER/resource.$1.$2" 2>/dev/null || true
}

# The machine stays as it is: what belongs to root is written to the test's
# folder.
function sudo {
    case $1 in
        tee) cat >"$FOLDER/root${2//\//_}" ;;
        *) "$@" ;;
    esac
}

# Every host is the test's web server.
function curl {
    case "$*" in
        *pgp.mongodb.com*) echo "a key" ;;
        *) command curl --connect-to "::127.0.0.1:$WEB_PORT" "$@" ;;
    esac
}
