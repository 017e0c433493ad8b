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

# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vp_portrep_global_optspecs
    string join \n e/export= i/import= socks= allow= exclusive listen-when-up proxy-protocol= limit= keepalive= max-connections= r/relay= proxy= proxy-password-file= proxy-command= ca= outer-tls= k/key= peers= timeout= resume-timeout= dead-time= ready-fd= q/quiet v/verbose json h/help V/version
end

function __fish_vp_portrep_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vp_portrep_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vp_portrep_using_subcommand
    set -l cmd (__fish_vp_portrep_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vp-portrep -s e -l export -d 'Serve HOST:PORT, a range HOST:PORT-PORT, or unix:PATH under this name; may be repeated' -x
complete -c vp-portrep -s i -l import -d 'Listen on PORT, BIND:PORT, a range of ports, or unix:PATH, and reach the peer\'s export; may be repeated' -x -a '(__vp_peers)'
complete -c vp-portrep -l socks -d 'A SOCKS5 server on PORT or BIND:PORT; the peer\'s export says which targets are allowed' -x -a '(__vp_peers)'
complete -c vp-portrep -l allow -d 'Let this peer use all exports, or the one named; default: every peer in the peers file' -x -a '(__vp_peers)'
complete -c vp-portrep -l proxy-protocol -d 'Tell targets who connects, with the PROXY protocol' -r -f -a "v1\t'One line of text'
v2\t'Binary; carries the verified id of the peer too'"
complete -c vp-portrep -l limit -d 'Carry at most this many bytes a second each way' -x
complete -c vp-portrep -l keepalive -d 'Ask silent connections of applications and targets after this time whether they are still there; 0: never' -x
complete -c vp-portrep -l max-connections -d 'Connections at a time; further ones are reset' -x
complete -c vp-portrep -s r -l relay -d 'Meet at the relay with this address; may be repeated' -x -x
complete -c vp-portrep -l proxy -d 'Reach relays through this proxy: http://[USER@]HOST:PORT or socks5://[USER@]HOST:PORT; none: through no proxy' -x -x
complete -c vp-portrep -l proxy-password-file -d 'Read the password for the proxy from this file' -r -F
complete -c vp-portrep -l proxy-command -d 'Reach relays by the standard input and output of this command' -r
complete -c vp-portrep -l ca -d 'For relays by tls, wss or https, trust the certificates in FILE (PEM) and none of the system\'s' -r -F
complete -c vp-portrep -l outer-tls -d 'Whether the certificate of a relay by tls, wss or https is verified; with any it may be anyone\'s' -r -f -a "verify\t'That somebody who is trusted has signed it, for this host'
any\t'Nothing'"
complete -c vp-portrep -s k -l key -d 'Be the party with this key' -r -F
complete -c vp-portrep -l peers -d 'Look names of peers up in this file' -r -F
complete -c vp-portrep -l timeout -l wait -d 'Wait at most this long for a relay and the peer; 0 does not wait, never waits for ever' -x -x
complete -c vp-portrep -l resume-timeout -d 'Keep a broken session alive at most this long while reconnecting; never keeps it for ever' -x -x
complete -c vp-portrep -l dead-time -d 'Take a path for dead after this long without a sign of life' -x -x
complete -c vp-portrep -l ready-fd -d 'Write the line that says the tool is ready to this descriptor' -x -x
complete -c vp-portrep -l exclusive -d 'Leave it to another process with this key that exports the same: of two, the newer one ends with status 3'
complete -c vp-portrep -l listen-when-up -d 'Listen only while the peer serves the export and reaches its target'
complete -c vp-portrep -s q -l quiet -d 'Say nothing but errors'
complete -c vp-portrep -s v -l verbose -d 'Say what happens; twice: also what helps to find a fault'
complete -c vp-portrep -l json -d 'Write messages and events as JSON, one object a line'
complete -c vp-portrep -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-portrep -s V -l version -d 'Print version'
complete -c vp-portrep -n "__fish_vp_portrep_needs_command" -a "check" -d 'Say whether a mapping works, and if not, which hop fails'
complete -c vp-portrep -n "__fish_vp_portrep_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -s r -l relay -d 'Meet at the relay with this address; may be repeated' -x -x
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l proxy -d 'Reach relays through this proxy: http://[USER@]HOST:PORT or socks5://[USER@]HOST:PORT; none: through no proxy' -x -x
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l proxy-password-file -d 'Read the password for the proxy from this file' -r -F
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l proxy-command -d 'Reach relays by the standard input and output of this command' -r
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l ca -d 'For relays by tls, wss or https, trust the certificates in FILE (PEM) and none of the system\'s' -r -F
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l outer-tls -d 'Whether the certificate of a relay by tls, wss or https is verified; with any it may be anyone\'s' -r -f -a "verify\t'That somebody who is trusted has signed it, for this host'
any\t'Nothing'"
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -s k -l key -d 'Be the party with this key' -r -F
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l peers -d 'Look names of peers up in this file' -r -F
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l timeout -l wait -d 'Wait at most this long for a relay and the peer; 0 does not wait, never waits for ever' -x -x
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l resume-timeout -d 'Keep a broken session alive at most this long while reconnecting; never keeps it for ever' -x -x
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l dead-time -d 'Take a path for dead after this long without a sign of life' -x -x
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l ready-fd -d 'Write the line that says the tool is ready to this descriptor' -x -x
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -s q -l quiet -d 'Say nothing but errors'
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -s v -l verbose -d 'Say what happens; twice: also what helps to find a fault'
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -l json -d 'Write messages and events as JSON, one object a line'
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand help; and not __fish_seen_subcommand_from check help" -f -a "check" -d 'Say whether a mapping works, and if not, which hop fails'
complete -c vp-portrep -n "__fish_vp_portrep_using_subcommand help; and not __fish_seen_subcommand_from check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vp-portrep -n '__fish_seen_subcommand_from check' -f -a '(__vp_peers)'
