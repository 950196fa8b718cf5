# Sourced by the launchers: refuses a command line that they could not use.
fail() {
  echo "error: $1" >&2
  exit 2
}

# The experiment and its flags, after the launcher's own words.
check_experiment() {
  local folder
  folder=$(dirname "${BASH_SOURCE[0]}")/../experiments
  [[ $# -ge 1 && $1 != -* ]] || fail "no experiment is named; see the head of $0"
  [[ $1 != */* ]] && grep -qs "^if __name__ ==" "$folder/$1.py" ||
    fail "there is no experiment $1; name a program of experiments/, such as classify"
  local word workdir=
  for word in "${@:2}"; do
    [[ $word == --* && $word != -- ]] || fail "'$word' is no flag; write --FLAG=VALUE"
    [[ $word != --workdir=*://* && $word != --workdir=gs:* && $word != --workdir=s3:* ]] ||
      fail "$word is a URL; --workdir is a folder of the machine, --stores may be a URL"
    [[ $word == --workdir=?* ]] && workdir=1
  done
  [[ -n $workdir ]] || fail "--workdir=FOLDER is missing"
}
