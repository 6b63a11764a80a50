#compdef dialback
# Completion of dialback for zsh. `dialback complete` knows the commands, their options, and the names of clients, snapshots and the files in them. It is
# always the dialback of PATH that is asked, never the program that is being typed.

local kind line word help ret=1
local -a answer before plain marked
before=("${(@Q)words[2,CURRENT-1]}")
(( CURRENT > 2 )) || before=()
answer=("${(@f)$(command dialback complete -- $before "${(Q)PREFIX}" 2>/dev/null)}")
kind=$answer[1]
for line in $answer[2,-1]; do
  word=${line%%$'\t'*} help=${line#*$'\t'}
  line=${word//:/\\:}${help:+:$help}
  # After NAME@ the name of a snapshot follows, and after a folder its entries.
  if [[ $word == *[@/] ]]; then marked+=($line); else plain+=($line); fi
done
(( $#plain )) && _describe -V dialback plain && ret=0
(( $#marked )) && _describe -V dialback marked -S '' && ret=0
if [[ $kind == (file|folder) ]]; then
  compset -P '--*='
  if [[ $kind == folder ]]; then _files -/ && ret=0; else _files && ret=0; fi
fi
return ret
