#!/usr/bin/env bash
# Renders the overlays and checks what comes out, without a cluster; then breaks it on purpose, to see that the check
# notices. Installs kustomize and the schemas below target/ at first use.
set -euo pipefail
cd "$(dirname "$0")/../.."

KUSTOMIZE_VERSION=v5.7.1
here=deploy/kubernetes
out=target/kubernetes
kustomize=target/tools/bin/kustomize
python=$out/venv/bin/python

missing() {
    echo "$here/check.sh: $1" >&2
    exit 1
}

if [ "$($kustomize version 2>/dev/null)" != $KUSTOMIZE_VERSION ]; then
    command -v go >/dev/null || missing "go 1.22.7 or later is missing: kustomize is built with it (https://go.dev/dl)"
    GOBIN=$PWD/target/tools/bin nice -n 10 go install "sigs.k8s.io/kustomize/kustomize/v5@$KUSTOMIZE_VERSION" ||
        missing "kustomize could not be installed: its sources come from the network"
fi

if ! cmp -s $here/check-requirements.txt $out/venv/installed; then
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        missing "python3 with venv is missing (Debian: apt-get install python3-venv)"
    python3 -m venv --clear $out/venv
    $out/venv/bin/pip install --quiet --disable-pip-version-check --requirement $here/check-requirements.txt ||
        missing "the schemas could not be installed: they come from the network"
    cp $here/check-requirements.txt $out/venv/installed
fi

# Each overlay, and the one component that none of them uses.
mkdir -p $out/continuous
cat >$out/continuous/kustomization.yaml <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: names
resources: [../../../$here/overlays/minimal]
components: [../../../$here/components/continuous]
END
for overlay in $here/overlays/* $out/continuous; do
    $kustomize build "$overlay" >"$out/$(basename "$overlay").yaml"
done
$here/prometheus-rules.sh s3-sink targets ingestor >$out/rules.yaml

$python $here/check.py $out/minimal.yaml $out/aws.yaml $out/continuous.yaml $out/rules.yaml
$python -B $here/check_test.py $out/aws.yaml $out/continuous.yaml
