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

complete -c vp-send -l exec -d 'Send what CMD writes, run by /bin/sh, as a stream' -r
complete -c vp-send -l exclude -d 'Leave out what PATTERN matches, in the manner of .gitignore; may be repeated' -x
complete -c vp-send -s n -l name -d 'Name of the stream at the receiver' -x
complete -c vp-send -s c -l compress -d 'Compress with zstd: auto (where it helps), off, or a level from 1 to 19' -x
complete -c vp-send -l links -d 'What to do with symbolic links in directories' -r -f -a "keep\t'Send them as links; leave out, and count in a warning, those that lead out of what is sent'
skip\t'Leave all of them out'
follow\t'Send what they lead to in their place'"
complete -c vp-send -l limit -d 'Send at most this many bytes a second, counted after compression' -x
complete -c vp-send -s r -l relay -d 'Meet at the relay with this address; may be repeated' -x
complete -c vp-send -l proxy -d 'Reach relays through this proxy: http://[USER@]HOST:PORT or socks5://[USER@]HOST:PORT; none: through no proxy' -x
complete -c vp-send -l proxy-password-file -d 'Read the password for the proxy from this file' -r -F
complete -c vp-send -l proxy-command -d 'Reach relays by the standard input and output of this command' -r
complete -c vp-send -l ca -d 'For relays by tls, wss or https, trust the certificates in FILE (PEM) and none of the system\'s' -r -F
complete -c vp-send -l outer-tls -d 'Whether the certificate of a relay by tls, wss or https is verified; with any it may be anyone\'s' -r -f -a "verify\t'That somebody who is trusted has signed it, for this host'
any\t'Nothing'"
complete -c vp-send -s k -l key -d 'Be the party with this key' -r -F
complete -c vp-send -l peers -d 'Look names of peers up in this file' -r -F
complete -c vp-send -l timeout -l wait -d 'Wait at most this long for a relay and the peer; 0 does not wait, never waits for ever' -x
complete -c vp-send -l resume-timeout -d 'Keep a broken session alive at most this long while reconnecting; never keeps it for ever' -x
complete -c vp-send -l dead-time -d 'Take a path for dead after this long without a sign of life' -x
complete -c vp-send -l ready-fd -d 'Write the line that says the tool is ready to this descriptor' -x
complete -c vp-send -l dry-run -d 'List what would be sent, one path a line, and contact nobody'
complete -c vp-send -s q -l quiet -d 'Say nothing but errors'
complete -c vp-send -s v -l verbose -d 'Say what happens; twice: also what helps to find a fault'
complete -c vp-send -l json -d 'Write messages and events as JSON, one object a line'
complete -c vp-send -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-send -s V -l version -d 'Print version'
complete -c vp-send -a '(__vp_peers)'
