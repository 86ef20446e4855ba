#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Stops Zaqar on the base side, for Grenade.
#
# shellcheck disable=SC1091,SC2154

set -o errexit

source "$GRENADE_DIR/grenaderc"
source "$GRENADE_DIR/functions"

source "$BASE_DEVSTACK_DIR/functions"
source "$BASE_DEVSTACK_DIR/stackrc"
source "$BASE_DEVSTACK_DIR/lib/apache"

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
load_zaqar_plugin

set -o xtrace

stop_zaqar

# A process that still runs would write to the databases that are saved next.
mapfile -t programs < <(zaqar_programs)
ensure_services_stopped "${programs[@]}"
