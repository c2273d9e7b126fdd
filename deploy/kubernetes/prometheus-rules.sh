#!/usr/bin/env bash
# Prints alert rules of deploy/prometheus, by the names of their files, as resources of the Prometheus operator:
#
#   prometheus-rules.sh s3-sink targets | kubectl --namespace names apply -f -
set -euo pipefail
cd "$(dirname "$0")/../prometheus/rules"

rules=("${@/%/.yml}")
if [ $# -eq 0 ] || ! ls "${rules[@]}" >/dev/null; then
    echo "usage: prometheus-rules.sh NAME..., of: $(basename --suffix=.yml --multiple ./*.yml | paste -sd' ')" >&2
    exit 2
fi
for rule in "${rules[@]}"; do
    printf -- '---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: %s\nspec:\n' "${rule%.yml}"
    sed 's/^./  &/' "$rule"
done
