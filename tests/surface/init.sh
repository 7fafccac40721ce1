# knet init and knet config over the embedded store, end to end, unprivileged.
source "$(dirname "$0")/lib.sh"
export KNET_STORE=sqlite://$dir/state/knet.db

run 1 config show
complains "holds no config; write one with knet init"
run 0 init --network 10.244.0.0/16 --dry-run
says "not written" '"Network":"10.244.0.0/16"'
run 1 config show
run 0 init --network 10.244.0.0/16
says "network  10.244.0.0/16, a /24 for each node" "vxlan (VNI 1, udp 8472)" "written to sqlite://$dir/state/knet.db" \
  "this machine is the whole cluster" "knet join --store sqlite://$dir/state/knet.db"
run 0 init --network 10.244.0.0/16
says "stands already"
run 1 init --network 10.245.0.0/16
complains "Network 10.244.0.0/16 -> 10.245.0.0/16" "--force"
run 0 init --network 10.245.0.0/16 --force
says "overwritten in"

# flannel's own JSON, from a file and from stdin
printf '{"network": "10.9.0.0/16", "backend": {"type": "VXLAN", "vni": 5}}' >"$dir/net-conf.json"
run 0 init --config "$dir/net-conf.json" --force -o json
says '"Network": "10.9.0.0/16"' '"Type": "vxlan"' '"VNI": 5'
run 2 init --config "$dir/net-conf.json" --network 10.1.0.0/16
complains "--config can't be given with --network"
run 2 init --config "$dir/nowhere.json"
complains "no such file"
"$KNET" init --config - --force >"$dir/out" 2>&1 <"$dir/net-conf.json" || fail "--config -: $(<"$dir/out")"
printf '{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan", "VNI": "many"}}' >"$dir/net-conf.json"
run 1 init --config "$dir/net-conf.json" --force
complains "--config $dir/net-conf.json" "VNI" "many"

run 0 config show
says "Network" "10.9.0.0/16" "Backend.VNI" "default, from Network"
run 0 config set directrouting=true
says "Backend.DirectRouting false -> true" "1 change written"
run 0 config set DirectRouting=true
says "nothing to change"
run 1 config set VNI=77
complains "Backend.VNI 5 -> 77 can't be changed while nodes run" "knet init --force"
run 0 config set Masquerade=false --dry-run
says "dry run"
run 0 config show
says "Masquerade             true"
run 2 config set Foo=1
run 2 config set DirectRouting=maybe
run 2 config set VNI
complains "'VNI' is no KEY=VALUE"

run 3 status
says "NO AGENT runs here" "knet join"
run 3 status -o json
says '"running": false'
finish
