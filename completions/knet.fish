# fish completion for knet: a file ~/.config/fish/completions/knet.fish.
# The commands stand here; what comes after one is asked of knet itself.

function __knet_words
    set -l words (commandline -opc) (commandline -ct)
    set -e words[1]
    knet completion words $words 2>/dev/null
end

set -l commands agent bgp cni completion config flanneld init join lab leave mode node route status subnet version help
complete -c knet -n "not __fish_seen_subcommand_from $commands" -f -a "$commands"
complete -c knet -n "__fish_seen_subcommand_from $commands" -a "(__knet_words)"
