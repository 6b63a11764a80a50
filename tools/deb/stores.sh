# Prints the folders of the stores that the account dialback can find: those that a host.toml names, and those in its home. The
# account looks, not root: a link in its home could lead anywhere.
list_stores() {
  getent passwd dialback >/dev/null || return 0
  setpriv --reuid=dialback --regid=dialback --init-groups sh -c '
    {
      sed -n "s/^ *store *= *[\"'\'']\(\/[^\"]*\)[\"'\''].*/\1/p" \
        /var/lib/dialback/.config/dialback/host.toml /etc/dialback/host.toml
      find /var/lib/dialback -xdev -maxdepth 4 -name store.json -printf "%h\n"
    } 2>/dev/null | sort -u | while IFS= read -r store; do if [ -e "$store/store.json" ]; then printf "%s\n" "$store"; fi; done
  ' </dev/null || true
}
# No control characters of a name get to the terminal.
print_stores() { list_stores | LC_ALL=C tr -c '[:print:]\n' '?' | sed 's/^/  /'; }
