complete -c vp-keygen -s o -l output -d 'Write the new key to FILE and print its id' -r -F
complete -c vp-keygen -s y -l show-id -d 'Print the id of the key in FILE and make none' -r -F
complete -c vp-keygen -l force -d 'Replace FILE if it exists; the old key is lost'
complete -c vp-keygen -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vp-keygen -s V -l version -d 'Print version'
