/**
 * The program that copy-store runs on another machine, by sh(1) over ssh. Its text is constant. All that comes from outside is
 * on its standard input, a line for each: the folder, the verb, and the verb's words. It contains no single quote, since the
 * login shell there receives it in single quotes.
 */
import { STORE_FILE } from '../wire/local.ts';
import { PIN } from './snapshot.ts';
import { COPY_FILE } from './store-mark.ts';

/** The exit status of a refusal; its reason is the last line of standard error. */
export const REFUSED = 93;

/** The command line for the login shell there. The script is one word for every login shell that knows single quotes. */
export function farCommand(): string {
  return `exec sh -c '${SCRIPT}'`;
}

const SCRIPT = String.raw`
set -eu
umask 077
LC_ALL=C
export LC_ALL
IFS= read -r top
read -r verb
refuse() { printf "%s\n" "$1" >&2; exit ${REFUSED}; }
for each in rsync mkdir mv rm ls stat df sync find; do
  command -v $each >/dev/null || refuse "it has no $each"
done
case $top in
  /*) ;;
  *) top=$PWD/$top ;;
esac
if [ -e "$top" ] && [ ! -d "$top" ]; then refuse "it is not a folder"; fi
above=$top
while [ ! -d "$above" ]; do above=$(dirname -- "$above"); done
above=$(cd -- "$above" && pwd -P)
if [ -d "$top" ]; then top=$above; fi
era=$(cat /proc/sys/kernel/random/boot_id; stat -c %d -- "$above")

look() {
  printf "uid %s %s\n" "$(id -u)" "$(id -g)"
  printf "top %s\n" "$top"
  printf "free %s\n" "$(df -Pk -- "$above" | tail -n 1)"
  if command -v dialback >/dev/null; then echo "dialback yes"; fi
  at=$above
  if [ "$at" = "$top" ]; then at=$(dirname -- "$at"); fi
  while [ "$at" != / ]; do
    if [ -e "$at/${STORE_FILE}" ]; then printf "inside %s\n" "$at"; break; fi
    at=$(dirname -- "$at")
  done
  if [ ! -d "$top" ]; then echo "state absent"; return; fi
  rest=$(ls -A -- "$top") || refuse "this account may not read it"
  if [ -e "$top/${COPY_FILE}" ]; then echo "state copy"
  elif [ -e "$top/${STORE_FILE}" ]; then echo "state store"
  elif [ -z "$rest" ] || [ "$rest" = lost+found ]; then echo "state empty"
  else echo "state other"; fi
  if [ ! -e "$top/${COPY_FILE}" ]; then return; fi
  sed "s/^/mark /" "$top/${COPY_FILE}"
  for each in copied verified; do
    if [ -e "$top/$each" ]; then sed "s/^/$each /" "$top/$each"; fi
  done
  for each in "$top"/clients/*/snapshots/* "$top"/copying/*/*; do
    if [ -d "$each" ]; then printf "has %s\n" "$each"; fi
  done
}

try_links() {
  probe=$top/.probe
  rm -rf -- "$probe"
  mkdir -- "$probe"
  why=
  echo x >"$probe/one"
  ln -s nowhere "$probe/link"
  touch -d "1970-01-01 00:00:01.123456789" "$probe/one"
  case $(stat -c %y -- "$probe/one") in
    *.1234567*) ;;
    *) why="it does not keep times to the nanosecond" ;;
  esac
  ln -- "$probe/one" "$probe/two" || why="it makes no hard links"
  rsync --links --fake-super -- "$probe/link" "$probe/to/" && [ -f "$probe/to/link" ] && [ ! -h "$probe/to/link" ] ||
    why="it keeps no extended attributes of users"
  rm -rf -- "$probe"
  if [ -n "$why" ]; then refuse "its file system cannot hold a store: $why"; fi
}

place() {
  printf "%s\n" "$2" >"$top/$1.new"
  sync -- "$top/$1.new"
  mv -- "$top/$1.new" "$top/$1"
}

prepare() {
  IFS= read -r mark
  IFS= read -r json
  IFS= read -r toml
  mkdir -p -- "$top"
  case $(stat -c "%u %a" -- "$top") in
    "$(id -u) 700") ;;
    *) refuse "the folder is not private to its account" ;;
  esac
  if [ ! -e "$top/${COPY_FILE}" ]; then
    try_links
    place ${COPY_FILE} "$mark"
  fi
  mkdir -p -- "$top/clients" "$top/copying"
  if [ ! -e "$top/${STORE_FILE}" ]; then place ${STORE_FILE} "$json"; fi
  place copy.toml "$toml"
  if [ "$(cat "$top/copying/.era" 2>/dev/null)" != "$era" ]; then
    find "$top/copying" -mindepth 1 -delete
    place copying/.era "$era"
  fi
}

case $verb in
  look) look ;;
  prepare) prepare ;;
  client)
    read -r client
    for each in snapshots arriving trash; do mkdir -p -- "$top/clients/$client/$each"; done
    mkdir -p -- "$top/copying/$client" ;;
  begin)
    read -r client attempt
    mkdir -- "$top/copying/$client/$attempt" ;;
  finish)
    read -r client attempt snapshot
    # The kernel reports lost data only once. Without .era, the next call deletes every attempt.
    sync -f -- "$top" || { rm -f -- "$top/copying/.era"; exit 1; }
    printf "%s %s\n" "$client" "$snapshot" >>"$top/copied"
    mv -T -n -- "$top/copying/$client/$attempt" "$top/clients/$client/snapshots/$snapshot"
    [ ! -e "$top/copying/$client/$attempt" ] || refuse "$snapshot is there already"
    sync -f -- "$top" ;;
  unpin)
    while read -r client snapshot; do rm -f -- "$top/clients/$client/snapshots/$snapshot/${PIN}"; done ;;
  discard)
    while read -r client attempt; do rm -rf --one-file-system -- "$top/copying/$client/$attempt"; done ;;
  verified)
    while read -r client snapshot; do printf "%s %s\n" "$client" "$snapshot" >>"$top/verified"; done ;;
  verify)
    read -r target
    dialback verify "$target" --json --config "$top/copy.toml" || [ $? -eq 1 ] ;;
  *) refuse "unknown verb" ;;
esac
`;
