# Completion of dialback for fish. `dialback complete` knows the commands, their options, and the names of clients, snapshots and the files in them. It is
# always the dialback of PATH that is asked, never the program that is being typed.

function __dialback_complete
    set -l line (commandline -opc)
    set -l last (commandline -ct)
    set -q last[1]; or set last ''
    set -l answer (command dialback complete -- $line[2..] $last 2>/dev/null)
    set -q answer[2]; and printf '%s\n' $answer[2..]
    set -q answer[1]; or return 0
    set -l start (string match -r -- '^--[^=]+=' $last)
    set -l text (string replace -r -- '^--[^=]+=' '' $last)
    switch $answer[1]
        case file
            string replace -r -- '^' "$start" (__fish_complete_path $text)
        case folder
            string replace -r -- '^' "$start" (__fish_complete_directories $text '')
    end
    return 0
end

complete -c dialback -f -a '(__dialback_complete)'
