# shellcheck shell=bash
# Sourced by the launchers: refuses a command line that they could not use, and with
# --dry_run prints what would be run instead of running it.
dry_run=

if [[ ${1-} == --help ]]; then # the head of the launcher
  sed -n '2,/^[^#]/s/^# \?//p' "$0"
  exit
fi

fail() {
  echo "error: $1" >&2
  exit 2
}

# Require variables to be set, each given as NAME=MEANING; name all that are missing.
require() {
  local missing=() one name
  for one in "$@"; do
    name=${one%%=*}
    [[ -n ${!name-} ]] || missing+=("$name (${one#*=})")
  done
  [[ ${#missing[@]} -eq 0 ]] ||
    fail "not set: $(join_words "${missing[@]}"); see the head of $0"
}

join_words() {
  local joined=$1
  shift
  (($# == 0)) || joined+=$(printf ', %s' "$@")
  echo "$joined"
}

# The experiment and its flags, after the launcher's own words.
check_experiment() {
  local folder
  folder=$(dirname "${BASH_SOURCE[0]}")/../experiments
  [[ $# -ge 1 && $1 != -* ]] || fail "no experiment is named; see the head of $0"
  if [[ $1 == */* ]] || ! grep -qs "^if __name__ ==" "$folder/$1.py"; then
    fail "there is no experiment $1; name a program of experiments/, such as classify"
  fi
  local word workdir=
  for word in "${@:2}"; do
    [[ $word == --* && $word != -- ]] || fail "'$word' is not a flag; write --FLAG=VALUE"
    [[ $word != --workdir=*:/* || $word == --workdir=gs://?* || $word == --workdir=s3://?* ]] ||
      fail "$word: --workdir is a folder of the machine, gs://BUCKET/PATH or s3://BUCKET/PATH"
    [[ ! $word =~ ^--(processes|process|coordinator)(=|$) ]] ||
      fail "$word is given by the launcher itself"
    [[ $word == --workdir=?* ]] && workdir=1
  done
  [[ -n $workdir ]] || fail "--workdir=FOLDER is missing"
}

# Run a command, or print it as it would be typed.
replacing= # exec, if the command replaces its shell
run() {
  if [[ -n $dry_run ]]; then
    printf '%q ' "$@"
    echo
  else
    $replacing "$@"
  fi
}

# Run start I for each I below N, all at once; the first to fail ends the others.
started=()
start_all() {
  local index
  for ((index = 0; index < $1; index++)); do
    if [[ -n $dry_run ]]; then
      start "$index"
    else
      { replacing='exec' && start "$index"; } > >(sed -u "s/^/[$index] /") 2>&1 &
      started+=($!)
    fi
  done
  while ((${#started[@]})); do
    for index in "${!started[@]}"; do
      ! kill -0 "${started[index]}" 2>/dev/null || continue
      wait "${started[index]}" || return $?
      unset "started[index]"
    done
    sleep 0.2
  done
}

# Write the files of this folder to $archive, which is deleted when the launcher ends.
# Generated files are left out; caches might also change while they are read.
archive=
pack() {
  archive=/tmp/helix_jax.tar.gz
  [[ -z $dry_run ]] || return 0
  archive=$(mktemp -d)/helix_jax.tar.gz
  tar --exclude=.venv --exclude=.git --exclude=./runs --exclude='./workdir*' \
    --exclude='.*_cache' --exclude=.hypothesis --exclude=__pycache__ \
    --exclude='*.egg-info' --exclude=./build --exclude=./dist -czf "$archive" .
}

clean() {
  [[ -n $dry_run || -z $archive ]] || rm -rf "$(dirname "$archive")"
  ((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true
  wait
}
trap clean EXIT

# Print what a machine runs to install an extra once, and again if the pins change.
setup_command() {
  local pins
  pins=$(cat pyproject.toml constraints.txt | cksum)
  echo "cd helix_jax && { [ -f .venv/ready-${pins%% *} ] || { python3 -m venv .venv &&" \
    ".venv/bin/pip install -q -c constraints.txt -e '.[$1]' &&" \
    "touch .venv/ready-${pins%% *}; }; }"
}

# Print what a machine runs to start the experiment, with its words quoted.
experiment_command() {
  echo "cd helix_jax && .venv/bin/python -m experiments.$1 $(printf '%q ' "${@:2}")"
}
