function __vp_peers
    set -l file $VP_PEERS
    set -l words (commandline -opc)
    set -l at (contains -i -- --peers $words)
    if test -n "$at"; and test (math $at + 1) -le (count $words)
        set file (string replace -r '^~/' "$HOME/" -- $words[(math $at + 1)])
    else if test -z "$file"
        set -l home $XDG_CONFIG_HOME
        test -n "$home"; or set home $HOME/.config
        set file $home/vp/peers
        test -r $file; or set file /etc/vp/peers
    end
    set -l before (string match -r '^[^-].*=' -- (commandline -ct))
    test -r $file; and string replace -rf '^([^#\s]+)\s.*' "$before\$1" <$file
end

complete -c vp-keygen -s o -l output -d 'Write the new key to FILE and print its id' -r -F
complete -c vp-keygen -s y -l show-id -d 'Print the id of the key in FILE and make none' -r -F
complete -c vp-keygen -l force -d 'Replace FILE if it exists; the old key is lost'
complete -c vp-keygen -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-keygen -s V -l version -d 'Print version'
