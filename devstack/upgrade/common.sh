#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Functions of the scripts in this folder. Sourced after devstack's functions.
#
# shellcheck disable=SC2154

# Load settings and functions of the plugin in this checkout.
function load_zaqar_plugin {
    local folder
    folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    # shellcheck source=devstack/settings
    source "$folder/settings"
    # With arguments that are no phase; otherwise it gets those of this script.
    # shellcheck source=devstack/plugin.sh
    source "$folder/plugin.sh" none none
}

# Print the names of the processes of the API and the WebSocket server.
function zaqar_programs {
    local services=()
    is_service_enabled zaqar-wsgi && services+=(zaqar-wsgi)
    is_service_enabled zaqar-websocket && services+=(zaqar-server)
    printf '%s\n' "${services[@]}"
}
