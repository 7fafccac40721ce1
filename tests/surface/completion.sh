# Completion: bash's own function, as readline calls it; the words behind all three shells; and that the scripts know
# every command that knet lists.
source "$(dirname "$0")/lib.sh"

run 0 --help
commands=$(sed -n '/^the cluster:/,/^examples:/s/^  \([a-z]*\)  .*/\1/p' <<<"$out")
[[ $(wc -w <<<"$commands") -ge 10 ]] || fail "few commands: $commands"
for shell in bash zsh fish; do
  run 0 completion "$shell"
  cmp -s "$dir/out" "$KNET_SOURCE/completions/knet.$shell" || fail "completion $shell differs from completions/knet.$shell"
  for command in $commands; do
    grep -qwE -- "$command" "$dir/out" || fail "completion $shell does not know $command"
  done
done

run 0 completion words mode ''
says $'list\t' $'show\t'
run 0 completion words modes show ''
says vxlan host-gw alloc
run 0 completion words mode list --out
[[ $out == --output$'\t'* ]] || fail "$words: $out"
run 0 completion words init --mode v
[[ $out == vxlan ]] || fail "$words: $out"
run 0 completion words init --mode=v
[[ $out == --mode=vxlan ]] || fail "$words: $out"
run 0 completion words init --network ''
silent_on out
run 0 completion words nonsense ''
silent_on out

ln -s "$KNET" "$dir/knet"
PATH=$dir:$PATH
source <("$KNET" completion bash)
offers() { # EXPECTED WORD...: what bash offers for the last word
  local want=$1
  shift
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  _knet
  checks=$((checks + 1))
  [[ "${COMPREPLY[*]}" == "$want" ]] || fail "bash offers '${COMPREPLY[*]}' for '$*', expected '$want'"
}
offers init knet ini
offers "join" knet jo
offers "list show set finish" knet mode ''
offers "vxlan" knet mode set v
offers "table wide json" knet mode list -o ''
offers "--subnet-len --subnet-len6" knet init --subnet-l
offers "vxlan" knet init --mode = v
offers "alloc bgp host-gw ipip udp vxlan wireguard" knet init --mode =
offers "symlink" knet join --cni-link s
complete -p knet | grep -q _knet || fail "complete is not set up"
finish
