#!/usr/bin/env bash
# Plain HTTP and metadata that is bound to no collection are for the conformance front alone: nothing that is
# installed may ask for either.
. "$(dirname "$0")/../support/style.bash"
while IFS= read -r line; do
    finding "$line (plain HTTP)"
done < <(grep -r -n 'plain_http' verify signer registry runner cli --include='*.[ch]')
verdict "nothing installed asks for plain HTTP"
while IFS= read -r line; do
    finding "$line (no collection)"
done < <(grep -r -n -E 'trust_store_open_folder\(|struct tuf_trusted_options [a-z_]+ = \{[^}]*NULL|\.collection = NULL' \
    verify signer registry runner cli --include='*.c' | grep -v '^verify/trust_store\.c:')
verdict "nothing installed leaves out the collection"
finish
