# Shared by the surface tests: runs knet, looks at what it says and at its exit status. Sourced.
set -uo pipefail
: "${KNET:?the knet binary}" "${KNET_SOURCE:?the tree}"
unset KNET_STORE KNET_PREFIX KNET_LOG KNET_STORE_PASSWORD CNI_COMMAND
export TERM=dumb LC_ALL=C.UTF-8

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export KNET_STATE_DIR=$dir/state KNET_RUN_DIR=$dir/run KNET_CONFIG_FILE=$dir/knet.toml
mkdir "$dir/state" "$dir/run"
: >"$KNET_CONFIG_FILE"

failures=0
checks=0
fail() {
  printf 'FAIL: %s\n' "$*"
  failures=$((failures + 1))
}

# run STATUS ARGUMENT... : knet with these words must end with that status; out and err are kept.
run() {
  local want=$1 got
  shift
  words="knet $*"
  timeout 20 "$KNET" "$@" >"$dir/out" 2>"$dir/err" </dev/null
  got=$?
  out=$(<"$dir/out") err=$(<"$dir/err")
  checks=$((checks + 1))
  [[ $got -eq $want ]] || fail "$words: status $got, expected $want; said: $out $err"
}
says() { # TEXT...: standard output has each
  local text
  for text in "$@"; do [[ $out == *"$text"* ]] || fail "$words: '$text' is not in: $out"; done
}
complains() { # TEXT...: standard error has each, in one line
  local text
  for text in "$@"; do [[ $err == *"$text"* ]] || fail "$words: '$text' is not in: $err"; done
  [[ $err != *$'\n'* ]] || fail "$words: more than one line: $err"
}
silent_on() { # out|err: nothing there
  [[ -z ${!1} ]] || fail "$words: $1 is not empty: ${!1}"
}
finish() {
  [[ $checks -gt 0 ]] || fail "nothing was checked"
  [[ $failures -eq 0 ]] || { printf '%d of %d checks failed\n' "$failures" "$checks"; exit 1; }
  printf '%d checks passed\n' "$checks"
}
