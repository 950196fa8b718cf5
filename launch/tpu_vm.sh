#!/usr/bin/env bash
# Install on every host of a TPU VM and run one experiment there:
#   launch/tpu_vm.sh NAME ZONE classify --workdir=gs://BUCKET/trec ...
# Needs the gcloud command line, already authenticated.
set -euo pipefail
name=$1 zone=$2 experiment=$3
shift 3
remote() {
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}
tar --exclude=.venv --exclude=.git --exclude=runs -czf /tmp/helix_jax.tar.gz .
gcloud compute tpus tpu-vm scp /tmp/helix_jax.tar.gz "$name": --zone="$zone" --worker=all
remote "mkdir -p helix_jax && tar xzf helix_jax.tar.gz -C helix_jax && cd helix_jax &&
  python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[tpu]'"
remote "cd helix_jax && .venv/bin/python -m experiments.$experiment $(printf '%q ' "$@")"
