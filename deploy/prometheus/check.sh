#!/usr/bin/env bash
# Checks what Prometheus reads: its configuration, the rules, the rules' unit tests, and every query of the dashboards.
# Uses promtool from the PATH, else the one in Prometheus' own image.
set -euo pipefail
cd "$(dirname "$0")"

IMAGE=prom/prometheus:v3.14.0
DASHBOARDS=../grafana/dashboards

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # the image's user is not ours

if command -v promtool >/dev/null; then
    run() { promtool "$@"; }
elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    run() {
        docker run --rm --network none --volume "$PWD:$PWD:ro" --volume "$scratch:$scratch:ro" --workdir "$PWD" \
            --entrypoint promtool "$IMAGE" "$@"
    }
else
    echo "check.sh: neither promtool nor a Docker engine is here; promtool comes with Prometheus" \
        "(Debian: apt-get install --no-install-recommends prometheus)" >&2
    exit 1
fi

# promtool knows no dashboards, but it knows rules: each query becomes one. A JSON string is a YAML string as well, and
# Grafana's durations become real ones.
queries_as_rules() {
    echo 'groups: [{ name: dashboards, rules: ['
    sed -n 's/^ *"expr": \("..*"\),\{0,1\}$/\1/p' "$DASHBOARDS"/*.json |
        sed 's/\$__rate_interval/1m/g; s/\$__interval/1m/g; s/\$__range/15m/g' |
        awk '{ print "{ record: \"dashboard:query_" NR "\", expr: " $0 " }," }'
    echo ']}]'
}

echo "--- configuration, and the rules that it names"
run check config --lint=all --lint-fatal prometheus.yml
echo "--- queries of the dashboards"
queries_as_rules >"$scratch/dashboards.yml"
written=$(grep -c '"expr"' "$DASHBOARDS"/*.json | awk -F : '{ all += $NF } END { print all }')
taken=$(grep -c 'record:' "$scratch/dashboards.yml" || true)
if [ "$taken" -eq 0 ] || [ "$taken" -ne "$written" ]; then
    echo "check.sh: $taken of $written queries in $DASHBOARDS could be read: each \"expr\" needs its own line" >&2
    exit 1
fi
run check rules "$scratch/dashboards.yml"
echo "--- unit tests of the rules"
run test rules tests/*.yml
