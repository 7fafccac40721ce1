#compdef knet
# zsh completion for knet: a file _knet in a folder of $fpath.
# The commands stand here; what comes after one is asked of knet itself.

_knet() {
  local -a commands found
  commands=(
    'agent:keep this node'\''s network as the cluster wants it'
    'bgp:sessions and routes of BGP, its peers outside, its settings'
    'cni:the CNI plugin; called by container runtimes'
    'completion:the script that completes knet'\''s words in a shell'
    'config:the cluster'\''s network config'
    'flanneld:the agent under flanneld'\''s flags'
    'init:write the cluster'\''s network config'
    'join:make this machine a node of the cluster'
    'lab:a cluster of network namespaces on this machine'
    'leave:remove every trace of knet from this node'
    'mode:the ways of moving packets between nodes'
    'node:the cluster'\''s nodes'
    'route:the routes that knet wants or finds'
    'status:this node on one screen'
    'subnet:leases and reservations'
    'version:which knet this is'
    'help:what a command does'
  )
  if (( CURRENT == 2 )) || [[ $words[2] == help ]]; then
    _describe -t commands 'knet command' commands
    return
  fi
  local line
  while IFS=$'\t' read -r line; do
    found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done < <(command $words[1] completion words ${words[2,CURRENT]} 2>/dev/null)
  if (( $#found )); then
    _describe -t words 'knet' found
  else
    _files
  fi
}

_knet "$@"
