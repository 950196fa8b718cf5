#!/usr/bin/env bash
# Install on a GPU machine reached by ssh and run one experiment there:
#   launch/gpu_vm.sh USER@HOST classify --workdir=runs/trec --source=A --target=B ...
set -euo pipefail
source "$(dirname "$0")/words.sh"
[[ $# -ge 1 && $1 != -* ]] || fail "usage: launch/gpu_vm.sh USER@HOST EXPERIMENT --FLAG=VALUE ..."
host=$1
shift
check_experiment "$@"
experiment=$1
shift
cd "$(dirname "$0")/.."
# What is made here stays here; caches may also change while they are read.
tar --exclude=.venv --exclude=.git --exclude=./runs --exclude='./workdir*' \
  --exclude='.*_cache' --exclude=.hypothesis --exclude=__pycache__ \
  --exclude='*.egg-info' --exclude=./build --exclude=./dist -cz . |
  ssh "$host" 'mkdir -p helix_jax && tar xz -C helix_jax'
ssh "$host" "cd helix_jax && python3 -m venv .venv &&
  .venv/bin/pip install -q -c constraints.txt -e '.[cuda]' &&
  .venv/bin/python -m experiments.$experiment $(printf '%q ' "$@")"
