#!/usr/bin/env bash
# Runs a command that needs the cluster: on the one that is up, or on one that is made for it and removed after a success.
# Data that `make cluster-down` has left stay. TEST_KAFKA and TEST_S3 say where the cluster is.
set -euo pipefail
here=$(dirname "$0")
target=${CARGO_TARGET_DIR:-$here/../../target}

run() {
    (
        . "$target/cluster/env"
        export TEST_KAFKA=$KAFKA_BOOTSTRAP_SERVERS
        export TEST_S3=${AWS_ENDPOINT_URL_S3/:\/\//:\/\/$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY@}/$S3_BUCKET
        exec "$@"
    )
}

if "$here/cluster.py" status >/dev/null; then
    run "$@"
    exit
fi
after=wipe
[[ ! -e $target/cluster ]] || after=down
"$here/cluster.py" up
if run "$@"; then
    "$here/cluster.py" "$after"
else
    status=$?
    "$here/cluster.py" down
    exit "$status"
fi
