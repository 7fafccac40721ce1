# What knet says to wrong words, to --help and to no words: messages, near words, exit statuses.
source "$(dirname "$0")/lib.sh"

run 2 # no words
silent_on out
[[ $err == *"usage: knet COMMAND"* ]] || fail "no words: no usage in: $err"
run 0 --help
says "usage: knet COMMAND" "the cluster:" "init" "examples:"
commands=$(sed -n 's/^  \([a-z]*\)  .*/\1/p' <<<"$out")
run 0 help
says "usage: knet COMMAND"

# every command that is listed has help with an example
for command in $commands; do
  [[ $command == flanneld || $command == knet ]] && continue
  run 0 "$command" --help
  says "usage: knet $command" "examples:" "knet $command"
  silent_on err
  run 0 help "$command"
  says "usage: knet $command"
  run 2 "$command" --no-such-flag-at-all
  complains "knet $command" "unknown flag --no-such-flag-at-all"
  silent_on out
done

run 2 vrsion
complains "knet: no command 'vrsion'; did you mean version?"
run 2 qqqqqq
complains "no command 'qqqqqq'" "knet --help"
run 2 --store x init
complains "flags come after the command"
run 2 init --networ 10.0.0.0/8
complains "knet init: unknown flag --networ; did you mean --network?"
run 2 init -network 10.0.0.0/8
complains "did you mean --network?"
run 2 init extra
complains "'extra' is one word too many"
run 2 init --network
complains "--network needs a value"
run 2 init --subnet-len many --network 10.0.0.0/8
complains "--subnet-len: 'many' is no number"
run 2 init --force=perhaps
complains "--force takes true or false"
run 2 init
complains "knet init: give the pods' network"
run 2 mode
complains "knet mode: which verb? there are: list, show"
run 2 mode shw
complains "no verb 'shw'; did you mean show?"
run 2 mode show foo
run 2 mode show
complains "knet mode show: MODE is missing"
run 2 modes list -o jsn
complains "knet mode list: --output: 'jsn' is none of table, wide, json; did you mean json?"
run 2 config set
complains "KEY=VALUE is missing"
run 2 status --timeout soon
complains "--timeout soon is no time"
run 2 init --network 10.0.0.0/8 --timeout never
complains "--timeout never is no time"
run 2 init --network 10.0.0.0/8 --prefix no-slash
complains "--prefix no-slash"
run 2 join --public-ip fd00::1
complains "--public-ip fd00::1 is no IPv4 address"
run 2 join --cni-link hard
complains "'hard' is none of symlink, copy"
run 2 agent --log loud
complains "'loud' is none of debug, info, warning, error"
run 2 completion tcsh
complains "no verb 'tcsh'"

# version, in both faces
run 0 version
[[ $out =~ ^knet\ [0-9]+\.[0-9]+\.[0-9]+ ]] || fail "version: $out"
run 0 --version
says "knet "
run 0 version -o json
says '"schema": 1' '"version"' '"commit"'

# the CNI rule: argv[0] alone, or `knet cni`, is the plugin only if CNI_COMMAND is set
run 0 cni
says "usage: knet cni"
export CNI_COMMAND=VERSION
echo '{"cniVersion":"1.0.0"}' | timeout 10 "$KNET" >"$dir/out" 2>"$dir/err"
[[ $? -eq 0 && $(<"$dir/out") == *supportedVersions* ]] || fail "CNI_COMMAND=VERSION knet: $(<"$dir/out")$(<"$dir/err")"
ln -s "$KNET" "$dir/knet-link"
echo '{"cniVersion":"1.0.0"}' | timeout 10 "$dir/knet-link" >"$dir/out" 2>"$dir/err"
[[ $? -eq 0 && $(<"$dir/out") == *supportedVersions* ]] || fail "CNI_COMMAND=VERSION under another name: $(<"$dir/out")"
run 0 version # with words of ours it is knet
says "knet "
unset CNI_COMMAND

# a reader that goes away is no noise; a full disk is told
"$KNET" init --help 2>"$dir/err" | true
[[ -z $(<"$dir/err") ]] || fail "a closed pipe: $(<"$dir/err")"
"$KNET" version >/dev/full 2>"$dir/err"
[[ $? -eq 1 && $(<"$dir/err") == *"can't write the output"* ]] || fail "a full disk: $(<"$dir/err")"
finish
