#!/usr/bin/env bash
# Run one experiment as N processes of this machine that divide its extraction:
#   PROCESSES=2 launch/local.sh [--dry_run] extract --workdir=runs/states --model=A ...
# Each line says which process printed it. The first to fail ends the others.
# PYTHON names the interpreter, by default .venv/bin/python.
set -euo pipefail
source "$(dirname "$0")/words.sh"
[[ ${1-} != --dry_run ]] || { dry_run=1 && shift; }
require "PROCESSES=how many"
[[ $PROCESSES =~ ^[1-9][0-9]*$ ]] || fail "PROCESSES=$PROCESSES is not a number of processes"
check_experiment "$@"
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[[ -n $dry_run ]] || command -v "$python" >/dev/null ||
  fail "there is no $python; name the interpreter in PYTHON, or make it with make demo"
port=$((20000 + RANDOM % 20000))
words=("$@")
start() {
  run "$python" -m "experiments.${words[0]}" "${words[@]:1}" \
    --coordinator="127.0.0.1:$port" --processes="$PROCESSES" --process="$1"
}
start_all "$PROCESSES"
