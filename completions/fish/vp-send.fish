complete -c vp-send -s n -l name -d 'Name of the stream from standard input at the receiver' -r
complete -c vp-send -s c -l compress -d 'Compress with zstd: auto (where it helps), off, or a level from 1 to 19' -r
complete -c vp-send -l limit -d 'Send at most this many bytes a second, counted after compression' -r
complete -c vp-send -s r -l relay -d 'Meet at the relay with this address; may be repeated' -r
complete -c vp-send -s k -l key -d 'Be the party with this key' -r -F
complete -c vp-send -l peers -d 'Look names of peers up in this file' -r -F
complete -c vp-send -l timeout -l wait -d 'Wait at most this long for a relay and the peer; 0 does not wait, never waits for ever' -r
complete -c vp-send -l resume-timeout -d 'Keep a broken session alive at most this long while reconnecting; never keeps it for ever' -r
complete -c vp-send -l dead-time -d 'Take a path for dead after this long without a sign of life' -r
complete -c vp-send -l ready-fd -d 'Write the line that says the tool is ready to this descriptor' -r
complete -c vp-send -s q -l quiet -d 'Say nothing but errors'
complete -c vp-send -s v -l verbose -d 'Say what happens; twice: also what helps to find a fault'
complete -c vp-send -l json -d 'Write messages and events as JSON, one object a line'
complete -c vp-send -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-send -s V -l version -d 'Print version'
