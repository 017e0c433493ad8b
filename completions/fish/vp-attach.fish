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

complete -c vp-attach -s l -l listen -d 'Wait for a peer that dials this application' -x
complete -c vp-attach -l from -d 'Accept this peer, by name or id; may be repeated; default: every peer in the peers file' -x -a '(__vp_peers)'
complete -c vp-attach -l exec -d 'Join the peer to CMD, run by /bin/sh, instead of to standard input and output' -r
complete -c vp-attach -s r -l relay -d 'Meet at the relay with this address; may be repeated' -x
complete -c vp-attach -l proxy -d 'Reach relays through this proxy: http://[USER@]HOST:PORT or socks5://[USER@]HOST:PORT; none: through no proxy' -x
complete -c vp-attach -l proxy-password-file -d 'Read the password for the proxy from this file' -r -F
complete -c vp-attach -l proxy-command -d 'Reach relays by the standard input and output of this command' -r
complete -c vp-attach -l ca -d 'For relays by tls, wss or https, trust the certificates in FILE (PEM) and none of the system\'s' -r -F
complete -c vp-attach -l outer-tls -d 'Whether the certificate of a relay by tls, wss or https is verified; with any it may be anyone\'s' -r -f -a "verify\t'That somebody who is trusted has signed it, for this host'
any\t'Nothing'"
complete -c vp-attach -s k -l key -d 'Be the party with this key' -r -F
complete -c vp-attach -l peers -d 'Look names of peers up in this file' -r -F
complete -c vp-attach -l timeout -l wait -d 'Wait at most this long for a relay and the peer; 0 does not wait, never waits for ever' -x
complete -c vp-attach -l resume-timeout -d 'Keep a broken session alive at most this long while reconnecting; never keeps it for ever' -x
complete -c vp-attach -l dead-time -d 'Take a path for dead after this long without a sign of life' -x
complete -c vp-attach -l ready-fd -d 'Write the line that says the tool is ready to this descriptor' -x
complete -c vp-attach -l keep -d 'Accept sessions until told to stop, a process for each'
complete -c vp-attach -l exclusive -d 'Leave it to another process with this key that receives the same: of two, the newer one ends with status 3'
complete -c vp-attach -l send-only -d 'Send only: nothing goes to standard output'
complete -c vp-attach -l recv-only -d 'Receive only: nothing is read from standard input'
complete -c vp-attach -s q -l quiet -d 'Say nothing but errors'
complete -c vp-attach -s v -l verbose -d 'Say what happens; twice: also what helps to find a fault'
complete -c vp-attach -l json -d 'Write messages and events as JSON, one object a line'
complete -c vp-attach -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-attach -s V -l version -d 'Print version'
complete -c vp-attach -f -a '(__vp_peers)'
