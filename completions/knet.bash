# bash completion for knet: eval "$(knet completion bash)", or this file in /etc/bash_completion.d.
# The commands stand here; what comes after one is asked of knet itself.

_knet() {
  local cur=${COMP_WORDS[COMP_CWORD]} commands line
  commands="agent bgp cni completion config flanneld init join lab leave mode node route status subnet version help --help --version"
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
    return
  fi
  # KEY=VALUE and --flag=VALUE are split at '=' by readline: put them together again.
  local words=() word glue=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ $word == "=" || -n $glue ]]; then
      words[-1]+=$word
      [[ $word == "=" ]] && glue=1 || glue=
    else
      words+=("$word")
    fi
  done
  [[ ${words[0]} == help ]] && { mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur"); return; }
  local whole=${words[-1]}
  while IFS=$'\t' read -r line _; do
    # Where readline split, it wants the part behind '=' only.
    [[ $whole == *=* && $whole != "$cur" ]] && line=${line#*=}
    [[ -n $line ]] && COMPREPLY+=("$line")
  done < <("${COMP_WORDS[0]}" completion words "${words[@]}" 2>/dev/null)
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
}

complete -o bashdefault -o default -F _knet knet
