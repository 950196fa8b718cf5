#!/usr/bin/env bash
# Install on every host of a TPU VM and run one experiment there:
#   launch/tpu_vm.sh NAME ZONE classify --workdir=runs/trec --stores=gs://BUCKET/trec ...
# The results are in helix_jax/runs/trec of the first host, the states in the bucket.
# Needs the gcloud command line, already authenticated.
set -euo pipefail
source "$(dirname "$0")/words.sh"
[[ $# -ge 2 && $1 != -* && $2 != -* ]] ||
  fail "usage: launch/tpu_vm.sh NAME ZONE EXPERIMENT --FLAG=VALUE ..."
name=$1 zone=$2
shift 2
check_experiment "$@"
experiment=$1
shift
cd "$(dirname "$0")/.."
remote() {
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}
archive=$(mktemp -d)/helix_jax.tar.gz
trap 'rm -rf "$(dirname "$archive")"' EXIT
tar --exclude=.venv --exclude=.git --exclude=runs -czf "$archive" .
gcloud compute tpus tpu-vm scp "$archive" "$name": --zone="$zone" --worker=all
remote "mkdir -p helix_jax && tar xzf helix_jax.tar.gz -C helix_jax && cd helix_jax &&
  python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[tpu]'"
remote "cd helix_jax && .venv/bin/python -m experiments.$experiment $(printf '%q ' "$@")"
