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

complete -c vp-relay -s l -l listen -d 'Accept links on this IP:PORT; port 0 takes a free one; may be repeated' -x
complete -c vp-relay -l path -d 'Take links by WebSocket and by requests only where this path is asked for' -x
complete -c vp-relay -l trusted-proxy -d 'Believe who connects from here where its clients are; may be repeated' -x
complete -c vp-relay -s k -l key -d 'Be the relay with this key' -r -F
complete -c vp-relay -s a -l allow -d 'Serve the peers in FILE and no others; read again on SIGHUP' -r -F
complete -c vp-relay -l tls-cert -d 'Show the certificate in FILE to whoever speaks TLS; read again on SIGHUP, and when it has changed' -r -F
complete -c vp-relay -l tls-key -d 'The private key of that certificate, in PEM; read again with it' -r -F
complete -c vp-relay -l max-links -d 'Links at a time' -x
complete -c vp-relay -l max-links-per-peer -d 'Links of one peer at a time, where its line in the allow file says nothing else' -x
complete -c vp-relay -l max-circuits-per-peer -d 'Circuits of one peer at a time, where its line in the allow file says nothing else' -x
complete -c vp-relay -l memory -d 'Hold at most this many bytes on their way, over all circuits; at least 1M for each worker' -x
complete -c vp-relay -l workers -d 'Forward in this many threads; default: one per core, up to 256' -x
complete -c vp-relay -l drain -d 'On SIGTERM, give clients this long to go elsewhere; it ends when all have' -x
complete -c vp-relay -l ready-fd -d 'Write the ready lines to this descriptor instead of standard output' -x
complete -c vp-relay -l open -d 'Serve anybody'
complete -c vp-relay -s q -l quiet -d 'Say nothing but errors'
complete -c vp-relay -s v -l verbose -d 'Say what happens; twice: also what helps to find a fault'
complete -c vp-relay -l json -d 'Write messages and events as JSON, one object a line'
complete -c vp-relay -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-relay -s V -l version -d 'Print version'
