# A secret option is read from a file, refused on the command line, and never shown.
source "$(dirname "$0")/lib.sh"
export KNET_STORE=sqlite://$dir/state/knet.db

psk=$(head -c 32 /dev/urandom | base64)
echo "$psk" >"$dir/psk"
echo "hunter2" >"$dir/bad"
hides() { [[ $out$err != *"$psk"* && $out$err != *hunter2* ]] || fail "$words: it shows the secret: $out$err"; }
init=(init --network 10.244.0.0/16 --mode wireguard)

run 2 "${init[@]}" --opt "PSK=$psk"
complains "--opt PSK" "PSK=@FILE"
hides
run 2 "${init[@]}" --opt "PSK=@$dir/nowhere"
complains "no such file"
run 2 "${init[@]}" --opt "PSK=@$dir/bad"
complains "wg genpsk"
hides
run 2 "${init[@]}" --opt "PKS=@$dir/psk"
complains "did you mean PSK?"
hides
for format in table json; do
  run 0 "${init[@]}" --opt "psk=@$dir/psk" --dry-run -o $format
  says "(hidden)"
  hides
done
run 0 "${init[@]}" --opt "PSK=@$dir/psk"
says "PSK (hidden)"
hides
for format in table json; do
  run 0 config show -o $format
  says "(hidden)"
  hides
done
run 1 init --network 10.244.0.0/16 --mode vxlan
hides
run 2 config set "Backend.PSK=$psk"
complains "Backend.PSK=@FILE"
hides
head -c 32 /dev/urandom | base64 >"$dir/other"
run 1 config set "PSK=@$dir/other"
complains "Backend.PSK (hidden) -> (hidden)"
hides
run 2 mode set wireguard --opt "PSK=$psk"
complains "PSK=@FILE"
hides
# What stands in the store is the secret itself.
run 0 config set PersistentKeepaliveInterval=20
hides
run 0 config set "PSK=@$dir/psk"
says "so already"
finish
