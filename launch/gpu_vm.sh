#!/usr/bin/env bash
# Install on machines with GPUs reached by ssh, and run one experiment on all of them:
#   HOSTS="USER@HOST ..." launch/gpu_vm.sh [--dry_run] classify --workdir=runs/trec \
#     --source=A --target=B ...
# The first host is process 0, which writes the work directory, in its helix_jax folder;
# others reach it by its name at PORT (default 8476). Several hosts need --stores that
# all of them see: a bucket or a shared folder. The installation stays for the next run.
set -euo pipefail
source "$(dirname "$0")/words.sh"
[[ ${1-} != --dry_run ]] || { dry_run=1 && shift; }
require "HOSTS=machines as ssh knows them, separated by spaces"
check_experiment "$@"
cd "$(dirname "$0")/.."
read -ra machines <<<"$HOSTS"
words=("$@")
start() {
  local line=("${words[@]}")
  ((${#machines[@]} == 1)) || line+=(
    --coordinator="${machines[0]#*@}:${PORT:-8476}"
    --processes="${#machines[@]}" --process="$1"
  )
  run ssh "${machines[$1]}" "$(experiment_command "${line[@]}")"
}
setup="mkdir -p helix_jax && tar xz -C helix_jax && $(setup_command cuda)"
pack
for machine in "${machines[@]}"; do
  { [[ -n $dry_run ]] || cat "$archive"; } | run ssh "$machine" "$setup"
done
start_all "${#machines[@]}"
