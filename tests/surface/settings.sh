# Where a flag's value comes from: command line over environment over knet.toml over the default; and what a broken
# file, or a flag that may only be spoken, says.
source "$(dirname "$0")/lib.sh"
export KNET_STORE=sqlite://$dir/state/knet.db

toml() { printf '%s\n' "$@" >"$KNET_CONFIG_FILE"; }
init=(init --network 10.244.0.0/16 --dry-run -o json)

run 0 "${init[@]}"
says '"key": "/coreos.com/network/config"' '"Type": "vxlan"' '"outcome": "not written"'
toml 'prefix = "/from/file"' '' '[init]' 'mode = "host-gw"  # for this cluster' 'no-masquerade = true'
run 0 "${init[@]}"
says '"key": "/from/file/config"' '"Type": "host-gw"' '"Masquerade": false'
export KNET_PREFIX=/from/env
run 0 "${init[@]}"
says '"key": "/from/env/config"' '"Type": "host-gw"'
run 0 "${init[@]}" --prefix /from/flag --mode alloc
says '"key": "/from/flag/config"' '"Type": "alloc"'
unset KNET_PREFIX

# a list, and another command's section
toml '[init]' 'opt = ["VNI=9", "DirectRouting=true"]' '[agent]' 'iface = "eth7"'
run 0 "${init[@]}"
says '"VNI": 9' '"DirectRouting": true'
run 0 "${init[@]}" --opt VNI=3
says '"VNI": 3'
[[ $out != *DirectRouting* ]] || fail "a list given by flag takes the file's place whole: $out"
# a verb's shared flag
toml '[mode]' 'output = "json"'
run 0 mode list
says '"schema": 1' '"modes"'
run 0 mode list -o table
says "RUNS HERE"

# mistakes have their line, and nothing is done
toml 'prefix = /no/quotes'
run 1 "${init[@]}"
complains "knet.toml line 1" "quotes"
toml '' '[init]' 'mod = "vxlan"'
run 1 "${init[@]}"
complains "knet.toml line 3" "knet init has no flag --mod"
toml 'prefx = "/x"'
run 1 "${init[@]}"
complains "knet.toml line 1" "'prefx'" "did you mean prefix?"
toml '[intit]' 'mode = "vxlan"'
run 1 "${init[@]}"
complains "knet.toml line 2" "no command 'intit'"
toml '[init]' 'subnet-len = "long"'
run 2 "${init[@]}"
complains "knet.toml line 2" "--subnet-len: 'long' is no number"
toml '[init]' 'force = true'
run 1 "${init[@]}"
complains "knet.toml line 2: --force is taken from the command line only"
toml 'nonsense'
run 0 init --help # help still comes
says "usage: knet init"
toml ''
KNET_CONFIG_FILE=$dir/nowhere run 1 mode list
complains "KNET_CONFIG_FILE=$dir/nowhere"
run 1 mode list --config-file "$dir/nowhere"
complains "--config-file $dir/nowhere: no such file"

# the store can't be reached: status 4, at once
run 4 config show --store http://127.0.0.1:1 --timeout 1s
complains "knet config show:"
finish
