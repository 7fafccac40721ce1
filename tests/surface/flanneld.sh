# The flanneld applet's words: its own flags with one dash or two, its environment, what is refused and what is warned of.
source "$(dirname "$0")/lib.sh"
ln -s "$KNET" "$dir/flanneld"
export KNET=$dir/flanneld

run 0 --version
says "knet " "as flanneld"
run 0 -version
says "as flanneld"
run 0 -help
says "usage: flanneld" "--etcd-endpoints" "--subnet-file" "example:"
run 1 -kube-subnet-mgr
complains "--kube-subnet-mgr" "etcd"
FLANNELD_KUBE_SUBNET_MGR=true run 1
complains "--kube-subnet-mgr"
run 2 --etcd-endpoint=http://127.0.0.1:1
complains "flanneld: unknown flag --etcd-endpoint=http://127.0.0.1:1; did you mean --etcd-endpoints?"
run 2 -healthz-port=many
complains "healthz-port: 'many' is no number"
run 2 -healthz-port=70000
complains "--healthz-port 70000 is no port"
run 2 -public-ip=nowhere
complains "--public-ip nowhere is no IPv4 address"
run 2 -etcd-certfile=/x
complains "--etcd-certfile and --etcd-keyfile go together"
run 2 extra
complains "'extra' is no flag"

# by argv[1] it is the same
KNET=$(readlink "$dir/flanneld")
run 0 flanneld --version
says "as flanneld"
finish
