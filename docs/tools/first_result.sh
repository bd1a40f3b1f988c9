#!/usr/bin/env bash
# Time the way of a newcomer: a fresh environment, the installation, and the first command
# of the README, twice.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_CACHE_HOME="$folder/cache"
python3.11 -m venv "$folder/venv"
timed() { # WORDS COMMAND...
    local start=$SECONDS
    "${@:2}" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
    echo "$1: $((SECONDS - start)) s"
}
timed "install" "$folder/venv/bin/pip" install -c constraints.txt ".[all]"
tune=("$folder/venv/bin/roboopt" tune cart-pole)
timed "first result" "${tune[@]}" --name first --runs "$folder"
timed "again" "${tune[@]}" --name again --runs "$folder"
