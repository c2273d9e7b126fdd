#!/usr/bin/env bash
# Runs a command with the cluster up: on the one that runs, or on one that is made for it and removed after a success.
set -euo pipefail
cluster=$(dirname "$0")/cluster.py

if "$cluster" status >/dev/null; then
    exec "$@"
fi
"$cluster" up
if "$@"; then
    "$cluster" wipe
else
    status=$?
    "$cluster" down
    exit "$status"
fi
