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

complete -c vp-recv -l from -d 'Accept this peer, by name or id; may be repeated; default: every peer in the peers file' -x -a '(__vp_peers)'
complete -c vp-recv -s d -l directory -d 'Put what comes into DIR, under the names that the sender gives; DIR is made if its parent is there' -x -a '(__fish_complete_directories)'
complete -c vp-recv -l exec -d 'Run CMD by /bin/sh for each item; if it fails, so does the send' -r
complete -c vp-recv -l overwrite -d 'What to do about a file that exists and differs' -r -f -a "never\t'Refuse the item'
rename\t'Give the new one a free name'
yes\t'Replace the old one, by whatever kind of thing is sent; a directory only if it is empty'"
complete -c vp-recv -l max-size -d 'Refuse a send of more bytes than this' -x
complete -c vp-recv -l max-items -d 'Refuse a send of more files and directories than this; of one too large to be counted, what is beyond it' -x
complete -c vp-recv -s r -l relay -d 'Meet at the relay with this address; may be repeated' -x
complete -c vp-recv -l proxy -d 'Reach relays through this proxy: http://[USER@]HOST:PORT or socks5://[USER@]HOST:PORT; none: through no proxy' -x
complete -c vp-recv -l proxy-password-file -d 'Read the password for the proxy from this file' -r -F
complete -c vp-recv -l proxy-command -d 'Reach relays by the standard input and output of this command' -r
complete -c vp-recv -l ca -d 'For relays by tls, wss or https, trust the certificates in FILE (PEM) and none of the system\'s' -r -F
complete -c vp-recv -l outer-tls -d 'Whether the certificate of a relay by tls, wss or https is verified; with any it may be anyone\'s' -r -f -a "verify\t'That somebody who is trusted has signed it, for this host'
any\t'Nothing'"
complete -c vp-recv -s k -l key -d 'Be the party with this key' -r -F
complete -c vp-recv -l peers -d 'Look names of peers up in this file' -r -F
complete -c vp-recv -l timeout -l wait -d 'Wait at most this long for a relay and the peer; 0 does not wait, never waits for ever' -x
complete -c vp-recv -l resume-timeout -d 'Keep a broken session alive at most this long while reconnecting; never keeps it for ever' -x
complete -c vp-recv -l dead-time -d 'Take a path for dead after this long without a sign of life' -x
complete -c vp-recv -l ready-fd -d 'Write the line that says the tool is ready to this descriptor' -x
complete -c vp-recv -l keep -d 'Receive until told to stop'
complete -c vp-recv -l exclusive -d 'Leave it to another process with this key that receives the same: of two, the newer one ends with status 3'
complete -c vp-recv -s q -l quiet -d 'Say nothing but errors'
complete -c vp-recv -s v -l verbose -d 'Say what happens; twice: also what helps to find a fault'
complete -c vp-recv -l json -d 'Write messages and events as JSON, one object a line'
complete -c vp-recv -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-recv -s V -l version -d 'Print version'
