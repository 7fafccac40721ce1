# knet bgp and knet node set over the embedded store: every word and mistake, secrets never shown, what is refused; and
# knet bgp peers, routes and peer reset against an agent's answers.
source "$(dirname "$0")/lib.sh"
export KNET_STORE=sqlite://$dir/state/knet.db

hides() { [[ $out$err != *hunter2* ]] || fail "$words: it shows the secret: $out$err"; }
json() { # EXPRESSION: true of the JSON on standard output, `j`
  python3 -c 'import json,sys; j=json.load(open(sys.argv[1])); sys.exit(0 if eval(sys.argv[2]) else 1)' "$dir/out" "$1" ||
    fail "$words: not so: $1: $out"
}
(umask 077; echo hunter2 >"$dir/key")
(umask 022; echo hunter2 >"$dir/open-key"; : >"$dir/empty"; head -c 81 /dev/zero | tr '\0' x >"$dir/long"; printf 'hunter2\nmore\n' >"$dir/lines")

# --- words
run 2 bgp
complains "knet bgp: which verb? there are: peer, routes, config"
run 2 bgp per
complains "no verb 'per'; did you mean peer?"
run 2 bgp peer lst
complains "knet bgp peer: no verb 'lst'; did you mean list?"
run 2 bgp config sett
complains "no verb 'sett'; did you mean set?"
run 0 bgp --help
says "peer, peers" "routes, route" "config"
run 0 bgp peer add --help
says "knet bgp peer add" "ADDRESS" "--ttl-security" "--selector" "--store"
[[ $(grep -c -- '--password-file' "$dir/out") -eq 1 ]] || fail "peer add --help: two --password-file: $out"
run 0 bgp config set --help
says "knet bgp config set" "--mesh on|off" "examples:"
run 1 bgp config
complains "knet bgp config: " "holds no network config" "knet init"
run 0 init --network 10.244.0.0/16
run 0 completion words bgp peer ''
says $'add\t' $'reset\t'
run 0 completion words bgp peers add 10.0.0.1 --next-hop ''
says auto self keep
run 0 completion words bgp config set --me
[[ $out == --mesh$'\t'* ]] || fail "$words: $out"

# --- the cluster's settings
run 0 bgp config
says "as " "64512" "mesh" "on" "none" "the cluster's mode is vxlan, not bgp"
run 0 bgp config show -o json
json "j['schema']==1 and j['config']['asn']==64512 and j['config']['mesh'] is True and j['config']['password'] is None"
run 0 bgp config set
says "nothing to change"
run 0 bgp config set --as 65010 --hold-time 30 --dry-run
says "as " "64512 -> 65010" "90 -> 30" "reset" "dry run: 2 changes would be written"
run 0 bgp config show -o json
json "j['config']['asn']==64512"
run 0 bgp config set --as 1.10 --local-pref calico --max-paths 16 --restart-time 60 --port 1179 --prefix-limit 500
says "64512 -> 65546" "100 -> 2147482623 (as Calico's nodes)" "8 -> 16" "120 -> 60" "179 -> 1179" "running agents follow"
run 0 bgp config set --as 64512 -o json
json "j['written'] and j['changes']==[{'what':'as','from':'65546','to':'64512'}] and j['notices']"
run 2 bgp config set --as 0
complains "--as 0: no speaker may have this AS number"
run 2 bgp config set --as 23456
complains "23456"
run 2 bgp config set --as 4294967296
complains "--as 4294967296 is no AS number"
run 2 bgp config set --as sixty
complains "--as sixty is no AS number"
run 2 bgp config set --mesh of
complains "--mesh: 'of' is none of on, off"
run 2 bgp config set --port 65536
complains "--port 65536 is no number from 1 to 65535"
run 2 bgp config set --hold-time 2
complains "--hold-time 2" "3 seconds"
run 2 bgp config set --restart-time 4096
complains "--restart-time 4096" "4095"
run 2 bgp config set --max-paths 0
complains "--max-paths 0"
run 2 bgp config set --max-path 3
complains "did you mean --max-paths?"
run 2 bgp config set --local-pref calco
complains "--local-pref calco"
run 0 bgp config set --advertise 10.96.0.0/12 --advertise 192.0.2.0/24 --advertise fd00:96::/108
says "none -> 10.96.0.0/12, 192.0.2.0/24, fd00:96::/108"
run 0 bgp config set --no-advertise 192.0.2.0/24
says "10.96.0.0/12, 192.0.2.0/24, fd00:96::/108 -> 10.96.0.0/12, fd00:96::/108"
run 2 bgp config set --no-advertise 192.0.2.0/24
complains "--no-advertise 192.0.2.0/24: it is not among them"
run 2 bgp config set --advertise 10.96.0.1/12
complains "has host bits; the prefix is 10.96.0.0/12"
run 2 bgp config set --advertise 10.96.0.0
complains "--advertise 10.96.0.0 is no prefix"
run 0 bgp config set --no-advertise all --import 172.16.0.0/12
says "-> none" "none -> 172.16.0.0/12"
run 0 bgp config set --no-import all
says "172.16.0.0/12 -> none"

# --- a secret is read from a file, warned of, hidden
run 2 bgp config set --password-file "$dir/nowhere"
complains "--password-file $dir/nowhere: no such file"
run 2 bgp config set --password-file "$dir/empty"
complains "there is no password in it"
run 2 bgp config set --password-file "$dir/long"
complains "80 bytes at most, this one has 81"
run 2 bgp config set --password-file "$dir/lines"
complains "one line of printable text"
hides
run 2 bgp config set --password-file "$dir/key" --no-password
complains "can't be given with" --no-password --password-file
run 0 bgp config set --password-file "$dir/open-key" --dry-run
says "none -> (hidden)" "others may read $dir/open-key; chmod 0600"
hides
for format in table json; do
  run 0 bgp config set --no-password
  run 0 bgp config set --password-file "$dir/key" -o $format
  says "(hidden)"
  [[ $out != *"others may read"* ]] || fail "$words: a file of mode 0600 is warned of"
  hides
  run 0 bgp config show -o $format
  says "(hidden)"
  hides
done
echo hunter2 | "$KNET" bgp config set --password-file - >"$dir/out" 2>&1 || fail "--password-file -: $(<"$dir/out")"
grep -q "nothing to change" "$dir/out" || fail "--password-file - is another password: $(<"$dir/out")"

# --- nodes, present ones: made by presence alone
run 0 node list
says "0 nodes"
run 0 node set n1 --label rack=a --label zone=x --as 64600
says "as " "the cluster's -> 64600" "none -> rack=a, zone=x" "no node n1 has joined yet" "2 changes written to" "running agents follow"
run 0 node list
says "n1" "gone" "not in the cluster"
run 0 node list -o wide
says "AS" "REFLECTOR" "LABELS" "64600" "rack=a,zone=x"
run 0 node show n1
says "64600, its own" "rack=a" "zone=x"
run 0 node list -o json
json "j['nodes'][0]['asn']==64600 and j['nodes'][0]['labels']=={'rack':'a','zone':'x'} and j['nodes'][0]['reflector'] is None and j['nodes'][0]['pods']"
run 0 node set n1 --no-as --no-label zone --label rack=b
says "64600 -> the cluster's" "rack=a, zone=x -> rack=b"
run 0 node set n1 --label rack=b
says "nothing to change: node n1 is so already"
run 2 node set n1 --no-label zone
complains "--no-label zone: n1 has no such label"
run 2 node set n1 --label rack
complains "--label"
run 2 node set n1 --as 64600 --no-as
complains "can't be given with" --no-as --as
run 2 node set n1 --reflector 1.0.0.1 --no-reflector
complains "can't be given with" --no-reflector --reflector
run 2 node set n1 --pods --no-pods
complains "can't be given with" --no-pods --pods
run 2 node set n1 --reflector 0
complains "--reflector"
run 2 node set n1 --clients "rack == 'a'"
complains "--clients says whom a reflector serves" "--reflector 1.0.0.1"
run 2 node set n1 --reflector 1.0.0.1 --clients "rack = 'a'"
complains "--clients"
run 2 node set N_1 --as 64600
complains "N_1"
run 0 node set n1 --reflector 1.0.0.1 --clients "has(rack)" --dry-run
says "no -> 1.0.0.1" "none -> has(rack)" "dry run: 2 changes"
run 0 node set n1 --reflector 1.0.0.1 --clients "has(rack)"
run 0 node show n1
says "of cluster 1.0.0.1, of has(rack)"
run 0 node set n1 --clients ''
says "has(rack) -> all that are no reflectors"
run 0 node set n1 --no-pods
says "yes -> no" "drain it first"
run 0 node set n1 --pods --no-reflector --no-label rack
says "1.0.0.1 -> no"
run 0 node list
says "0 nodes" # nothing is set any more: the record is gone
run 2 bgp peers --received n1
complains "unknown flag --received"

# --- the mesh can't go before there are reflectors
run 1 bgp config set --mesh off
complains "without any route reflector" "knet node set NODE --reflector 1.0.0.1" "--force"
run 0 bgp config show -o json
json "j['config']['mesh'] is True"
run 0 bgp config set --mesh off --force
says "on -> off"
run 0 bgp config set --mesh on
says "off -> on"
run 0 node set n1 --reflector 1.0.0.1
says "single point of failure"
run 0 bgp config set --mesh off
says "one reflector only"
run 0 bgp config show
says "n1 (1.0.0.1)" "reflectors only"
run 0 bgp config set --mesh on
run 0 node set n1 --no-reflector

# --- peers outside
run 0 bgp peer list
says "0 peers outside of the cluster" "knet bgp peer add"
run 2 bgp peer add 10.0.0.1
complains "knet bgp peer add: --as is missing"
run 2 bgp peer add --as 65001
complains "ADDRESS is missing"
run 2 bgp peer add 10.0.0.300 --as 65001
complains "'10.0.0.300' is no address and no prefix"
run 2 bgp peer add 10.1.0.7/16 --as 65001
complains "has host bits; the prefix is 10.1.0.0/16"
run 2 bgp peer add 224.0.0.1 --as 65001
complains "nobody's address"
run 2 bgp peer add fe80::1 --as 65001
complains "link-local"
run 2 bgp peer add 10.0.0.1 --as any
complains "--as any is for dynamic neighbours"
run 2 bgp peer add 10.1.0.0/16 --as any --port 1179
complains "--port is what is dialled"
run 2 bgp peer add 10.0.0.1 --as 65001 --node n1 --selector "all()"
complains "can't be given with" --selector --node
run 2 bgp peer add 10.0.0.1 --as 65001 --selector "rack == "
complains "--selector"
run 2 bgp peer add 10.0.0.1 --as 65001 --ttl-security --multihop
complains "ttl-security" "multihop"
run 2 bgp peer add 10.0.0.1 --as 65001 --next-hop slef
complains "--next-hop: 'slef' is none of auto, self, keep; did you mean self?"
run 2 bgp peer add 10.0.0.1 --as 65001 --import "acept any"
complains "--import 'acept any'"
run 2 bgp peer add 10.0.0.1 --as 65001 --export "accept 10.0.0.0/8 ge 40"
complains "--export"
run 2 bgp peer add 10.0.0.1 --as 65001 --hold-time 1
complains "--hold-time 1"
run 2 bgp peer add 10.0.0.1 --as 65001 --client
complains "--client is for peers in the nodes' own AS (64512)"
run 2 bgp peer add 10.0.0.1 --as 65001 --name "a b"
complains "a b"
run 2 bgp peer add 10.0.0.1 --as 65001 --pasive
complains "did you mean --passive?"
run 2 bgp peer add 10.0.0.1 --as 65001 --passive=perhaps
complains "--passive takes true or false"
run 0 bgp peer add 10.0.0.1 --as 65001 --dry-run
says "10.0.0.1" "65001" "dry run"
run 0 bgp peer list -o json
json "j['peers']==[]"
run 0 bgp peer add 10.0.0.1 --as 65001 --name tor1 --selector "rack=='a'" --password-file "$dir/open-key" --ttl-security \
  --import "accept 10.0.0.0/8 ge 16 le 24 community 64512:7 set-local-pref 200" --import "reject any" --export "accept any"
says "remote" "none -> 10.0.0.1" "65001" "rack == 'a'" "(hidden)" "others may read" "running agents follow" "knet bgp peers"
hides
run 1 bgp peer add 10.0.0.2 --as 65001 --name tor1
complains "there is a peer tor1 already" "knet bgp peer set tor1"
run 1 bgp peer add 10.0.0.1 --as 65001 --name other --selector "rack == 'a'"
complains "is the peer tor1 of the same nodes already"
run 0 bgp peer add 10.1.0.0/16 --as any --client --node n9
says "dynamic neighbours" "there is no node n9 yet"
run 0 bgp peer add 2001:db8::1 --as 64512 --client --passive --next-hop keep --prefix-limit 9 --hold-time 9 --port 1179
run 0 bgp peer list
says "NAME" "SETTINGS" "10.1.0.0-16" "10.1.0.0/16" "any" "n9" "tor1" "rack == 'a'" "password, ttl-security, 2 import rules, 1 export rule" \
  "passive, client" "3 peers outside of the cluster"
hides
run 0 bgp peer list -o wide
says "NEXT HOP" "keep" "1179"
run 0 bgp peers list -o json
json "[p['name'] for p in j['peers']]==['10.1.0.0-16','2001:db8::1','tor1'] and j['peers'][2]['password']=='(hidden)' and j['peers'][2]['import'][1]=='reject any'"
json "j['peers'][0]['asn'] is None and j['peers'][0]['dynamic'] and j['peers'][1]['prefix_limit']==9 and j['peers'][1]['hold_time']==9"
hides
run 0 bgp peer show tor1
says "rack == 'a': none now" "accept 10.0.0.0/8 ge 16 le 24" "reject any" "otherwise" "(hidden)"
hides
run 0 bgp peer show 10.0.0.1 -o json
json "j['peer']['name']=='tor1' and j['peer']['ttl_security']"
run 2 bgp peer show tor2
complains "no peer 'tor2'; did you mean tor1?"
run 0 bgp peer set tor1
says "nothing to change: peer tor1 is so already"
run 0 bgp peer set tor1 --as 65002 --multihop --ttl-security=false --all-nodes --no-import --prefix-limit 77 --dry-run
says "65001 -> 65002" "off -> on" "on -> off" "rack == 'a' -> all" "-> none" "the cluster's -> 77" "the session with tor1 is reset" "dry run: 6 changes"
run 2 bgp peer set tor1 --multihop
complains "ttl-security"
run 2 bgp peer set tor1 --node n1 --all-nodes
complains "can't be given with"
run 2 bgp peer set tor1 --no-import --import "accept any"
complains "can't be given with" --no-import --import
echo hunter22 >"$dir/key2"
run 0 bgp peer set tor1 --password-file "$dir/key2"
says "(hidden) -> (hidden)" "reset"
hides
run 0 bgp peer set tor1 --no-password --node n1
says "(hidden) -> none" "rack == 'a' -> n1"
run 0 bgp peer set tor1 --prefix-limit 5
run 0 bgp peer set tor1 --prefix-limit default
says "5 -> the cluster's"
run 2 bgp peer remove tor1 nobody
complains "no peer 'nobody'"
run 0 bgp peer list -o json
json "len(j['peers'])==3" # nothing is removed if one name is wrong
run 0 bgp peer remove tor1 10.1.0.0/16
says "removed tor1" "removed 10.1.0.0-16"
run 0 completion words bgp peer show ''
[[ $out == 2001:db8::1 ]] || fail "$words: $out"
run 4 bgp peer list --store http://127.0.0.1:1 --timeout 1s
complains "knet bgp peer list:"

# --- knet.toml: a verb's verb has its flags from [bgp]; what forces is only spoken
printf '[bgp]\nmax-paths = "4"\n' >"$KNET_CONFIG_FILE"
run 0 bgp config set --dry-run
says "16 -> 4"
run 0 bgp peer list
printf '[bgp]\nforce = true\n' >"$KNET_CONFIG_FILE"
run 1 bgp config set
complains "line 2: --force is taken from the command line only"
: >"$KNET_CONFIG_FILE"

# --- sessions and routes, from an agent
run 1 bgp peers
complains "no agent runs here ($KNET_RUN_DIR/agent.sock)" "systemctl start knet"
run 1 bgp routes
complains "no agent runs here"
run 1 bgp peer reset all
complains "no agent runs here"
run 2 bgp routes --received a --advertised b
complains "can't be given with" --advertised --received
run 2 bgp routes 10.244.3
complains "'10.244.3' is no prefix and no address"
run 2 bgp peer reset all --soft both
complains "--soft: 'both' is none of in, out"

cat >"$dir/agent.py" <<'PYTHON'
# An agent's socket: answers by files, tells what it was asked.
import json, os, socket, sys
where, folder = sys.argv[1:]
server = socket.socket(socket.AF_UNIX)
server.bind(where + ".new"); server.listen(8); os.rename(where + ".new", where)
while True:
    client, _ = server.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        piece = client.recv(4096)
        if not piece: break
        request += piece
    line = request.decode().split("\r\n")[0]
    with open(folder + "/asked", "a") as log: log.write(line + "\n")
    path = line.split(" ")[1].split("?")[0]
    try:
        status, body = "200 OK", open(folder + "/answers/" + path.replace("/v1/bgp/", "")).read()
    except OSError:
        status, body = "404 Not Found", "n1 runs mode vxlan: nothing here answers bgp questions\n"
    client.sendall(("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body.encode()), body)).encode())
    client.close()
PYTHON
mkdir "$dir/answers"
python3 "$dir/agent.py" "$KNET_RUN_DIR/agent.sock" "$dir" &
agent=$!
trap 'kill $agent 2>/dev/null; rm -rf "$dir"' EXIT
for ((i = 0; i < 200; i++)); do [[ -S $KNET_RUN_DIR/agent.sock ]] && break; sleep 0.05; done

run 1 bgp peers
complains "n1 runs mode vxlan"
now=$(date +%s)
peer() { # ADDRESS NAME TYPE STATE ERROR
  printf '{"address":"%s","name":"%s","type":"%s","asn":64512,"router_id":"%s","state":"%s","since":%d,"received":12,"accepted":11,"best":10,"advertised":4,"stale":0,"messages_in":100,"messages_out":101,"backlog":0,"hold_time":90,"families":["ipv4"],"dynamic":false,"restarting":false,"last_error":"%s","local":"192.168.77.1:179"}' \
    "$1" "$2" "$3" "$1" "$4" $((now - 3 * 3600)) "$5"
}
peers() { # TROUBLES PEER...
  local IFS=, troubles=$1
  shift
  printf '{"schema":1,"node":"n1","asn":64512,"router_id":"192.168.77.1","cluster_id":null,"mesh":true,"listen":["0.0.0.0:179"],"troubles":[%s],"peers":[%s]}' "$troubles" "$*"
}
up=$(peer 192.168.77.2 n2 mesh established "")
down=$(peer 10.0.0.1 tor1 global idle "bad peer AS: they say 65002, we expect 65001")
peers "" "$up" >"$dir/answers/peers"
run 0 bgp peers
says "PEER          TYPE  NODE     AS  STATE        SINCE  RECV  SENT  LAST ERROR" \
  "192.168.77.2  mesh  n2    64512  established  3h       12     4  -" \
  "1 peer: 1 established.  n1 AS 64512, router id 192.168.77.1, mesh on"
run 0 bgp peer -o wide
says "ACCEPTED" "ROUTER ID" "LOCAL" "192.168.77.1:179" "ipv4"
peers "" "$up" "$down" >"$dir/answers/peers"
run 3 bgp peers
says "idle" "bad peer AS: they say 65002, we expect 65001" "2 peers: 1 established, 1 down"
run 3 bgp peers -o json
json "j['schema']==1 and j['broken'] and j['peers'][1]['state']=='idle' and j['peers'][0]['since'].endswith('Z')"
peers '"tcp 179 on 0.0.0.0 is taken: is bird running here?"' "$up" >"$dir/answers/peers"
run 3 bgp peers
says "TROUBLE: tcp 179 on 0.0.0.0 is taken"
peers "" >"$dir/answers/peers"
run 0 bgp peers
says "0 peers.  n1 AS 64512"
echo '{"peers":7}' >"$dir/answers/peers"
run 1 bgp peers
complains "bgp/peers has no peers"
peers "" "$up" "$down" >"$dir/answers/peers"

route() { # PREFIX PEER BEST LOSS
  printf '{"prefix":"%s","peer":"%s","peer_address":"192.168.77.2","next_hop":"192.168.77.2","as_path":"65001 65002","origin":"igp","local_pref":100,"med":null,"communities":["64512:7"],"large_communities":["64512:1:2"],"originator_id":null,"cluster_list":["1.0.0.1"],"best":%s,"multipath":false,"stale":false,"loss":"%s"}' "$@"
}
printf '{"schema":1,"node":"n1","routes":[%s,%s,%s]}' "$(route 10.244.0.0/16 tor1 true "")" "$(route 10.244.3.0/24 n2 true "")" \
  "$(route 10.244.3.0/24 tor1 false local-pref)" >"$dir/answers/routes"
run 0 bgp routes
says "PREFIX" "AS PATH" "65001 65002" "best" "lost" "another has a higher local preference" "3 routes to 2 prefixes: 2 best, 1 lost.  n1"
run 0 bgp route -o wide
says "COMMUNITIES" "64512:7,64512:1:2" "1.0.0.1"
run 0 bgp routes 10.244.3.9
says "2 routes to 1 prefix"
[[ $out != *10.244.0.0/16* ]] || fail "$words: not the longest: $out"
run 0 bgp routes 10.9.9.9 -o json
json "j['routes']==[]"
: >"$dir/asked"
run 0 bgp routes --received tor1 --limit 5 10.244.3.0/24
grep -qE 'GET /v1/bgp/routes\?prefix=10\.244\.3\.0%2F24&received=10\.0\.0\.1 ' "$dir/asked" || fail "$words: asked $(<"$dir/asked")"
run 0 bgp routes --advertised 192.168.77.2
[[ $out != *lost* ]] || fail "$words: what is told is neither best nor lost: $out"
run 2 bgp routes --received tor2
complains "--received tor2: no session has that name; did you mean tor1?"

echo '{"schema":1,"reset":["10.0.0.1"]}' >"$dir/answers/reset"
run 0 bgp peer reset tor1 --soft in
says "10.0.0.1  asked for all routes again" "1 peer"
grep -q 'POST /v1/bgp/reset?peer=10.0.0.1&kind=in ' "$dir/asked" || fail "$words: asked $(<"$dir/asked")"
run 0 bgp peer reset all
says "session ended"
grep -q 'POST /v1/bgp/reset?all=1&kind=hard ' "$dir/asked" || fail "$words: asked $(<"$dir/asked")"
run 0 completion words bgp peer reset ''
says tor1 192.168.77.2 all
finish
