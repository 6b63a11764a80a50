# Completion of dialback for bash. `dialback complete` knows the commands, their options, and the names of clients, snapshots and the files in them. It is
# always the dialback of PATH that is asked, never the program that is being typed.

_dialback() {
  local cur words cword kind line mark part start='' suffix=''
  COMPREPLY=()
  # For bash these marks end a word; here they are parts of words.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n '@:=' cur words cword
  else
    words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}
  fi
  # bash replaces only the text behind the last of these marks.
  for mark in @ : =; do
    [[ $COMP_WORDBREAKS == *"$mark"* && $cur == *"$mark"* ]] || continue
    part=${cur%"${cur##*"$mark"}"}
    if ((${#part} > ${#start})); then start=$part; fi
  done
  {
    IFS= read -r kind || return 0
    while IFS= read -r line; do
      line=${line%%$'\t'*}
      # Such a name would need quotes, which depend on those that are typed.
      if [[ $line == *[!A-Za-z0-9_./@%+,:=~^-]* ]]; then continue; fi
      COMPREPLY+=("${line#"$start"}")
      suffix=${line##*[!@/]}
    done
  } < <(command dialback complete -- "${words[@]:1:cword-1}" "$cur" 2>/dev/null)
  # After NAME@ the name of a snapshot follows, and after a folder its entries.
  if [[ $suffix == [@/] ]]; then compopt -o nospace; fi
  cur=${cur#--*=}
  case $kind in
    file) _dialback_names -f ;;
    folder) _dialback_names -d ;;
  esac
}

# Adds the names of files (-f) or folders (-d).
_dialback_names() {
  local names
  compopt -o filenames
  mapfile -t names < <(compgen "$1" -- "$cur")
  COMPREPLY+=("${names[@]}")
}

complete -F _dialback dialback
