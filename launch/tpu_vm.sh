#!/usr/bin/env bash
# Install on every worker of a TPU slice and run one experiment on all of them:
#   TPU_NAME=slice ZONE=us-east5-a launch/tpu_vm.sh [--dry_run] classify \
#     --workdir=runs/trec --stores=gs://BUCKET/trec ...
# The workers find each other; the first writes the work directory, in its helix_jax
# folder; the states are in the bucket. The installation stays for the next run. PROJECT
# overrides gcloud's own project. Needs gcloud, already authenticated.
set -euo pipefail
source "$(dirname "$0")/words.sh"
[[ ${1-} != --dry_run ]] || { dry_run=1 && shift; }
require "TPU_NAME=the slice" "ZONE=where it is"
check_experiment "$@"
cd "$(dirname "$0")/.."
place=(--zone="$ZONE" --worker=all)
[[ -z ${PROJECT-} ]] || place+=(--project="$PROJECT")
remote() {
  run gcloud compute tpus tpu-vm ssh "$TPU_NAME" "${place[@]}" --command="$1"
}
pack
run gcloud compute tpus tpu-vm scp "$archive" "$TPU_NAME": "${place[@]}"
remote "mkdir -p helix_jax && tar xzf helix_jax.tar.gz -C helix_jax && $(setup_command tpu)"
remote "$(experiment_command "$@" --processes=auto)"
