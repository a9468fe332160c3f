#!/usr/bin/env bash
# The main job from nothing to a running container, then attacks on it. Usage: quickstart.sh [--keep]
#
# Installs what is needed, builds, and in a scratch folder: starts a registry on 127.0.0.1 over TLS, makes
# keys (the signing key on a PKCS#11 token), makes a real Debian image, pushes, signs, verifies, runs it.
# Then an unsigned image, changed bytes, a swapped manifest, a rolled-back and an expired timestamp are each
# refused, and a tag moved in the registry changes nothing. Every command is printed so that it can be typed.
#   --keep              leaves the registry running and says how to stop it
#   BULLA_TOKEN_MODULE  a PKCS#11 module to use instead of SoftHSM (a YubiKey: …/libykcs11.so), with
#   BULLA_TOKEN_KEY     the pkcs11: URI of a key on it, and BULLA_PIN_FILE its PIN
set -euo pipefail
shopt -s inherit_errexit

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ((EUID != 0)); then
    command -v sudo > /dev/null || {
        echo "quickstart: needs root for namespaces; run it as root" >&2
        exit 3
    }
    exec sudo --preserve-env=BULLA_TOKEN_MODULE,BULLA_TOKEN_KEY,BULLA_PIN_FILE "$0" "$@"
fi
keep=0
case ${1:-} in
    '') ;;
    --keep) keep=1 ;;
    *)
        echo "usage: quickstart.sh [--keep]" >&2
        exit 2
        ;;
esac

started=$EPOCHREALTIME
step_started=$started
timings=()
elapsed() { # SINCE
    awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f s", b - a }'
}
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
step() { # TITLE: closes the step before it
    if [[ -n ${step_name:-} ]]; then
        timings+=("$(printf '%-44s %s' "$step_name" "$(elapsed "$step_started")")")
    fi
    step_name=$1 step_started=$EPOCHREALTIME
    [[ -z $1 ]] || say "$1"
}
show() { # COMMAND…: prints it as one would type it, then runs it; SHOW_INPUT names its standard input
    [[ $1 != bulla ]] || set -- bulla --cacert "$ca" "${@:2}"
    printf '$ %s%s\n' "${*@Q}" "${SHOW_INPUT:+ < $SHOW_INPUT}" | sed "s/'\([A-Za-z0-9_.:\/=@-]*\)'/\1/g" >&2
    if [[ -n ${SHOW_INPUT:-} ]]; then
        command "$@" < "$SHOW_INPUT"
    else
        command "$@"
    fi
}
refused() { # STATUS PATTERN COMMAND…: must end with STATUS and a line that names the reason
    local want=$1 pattern=$2 got=0 text
    shift 2
    text=$(show "$@" 2>&1) || got=$?
    printf '%s\n' "$text"
    if ((got != want)) || ! grep -Eq "$pattern" <<< "$text"; then
        echo "quickstart: expected status $want and /$pattern/, got status $got" >&2
        exit 1
    fi
    echo "   → refused, as it must be (status $got)"
}

step "install packages and build"
"$top/scripts/install-deps.sh" demo
cd "$top"
cmake --preset release > /dev/null
cmake --build --preset release --target programs
export PATH=$top/build/release/bin:$PATH

work=$(mktemp -d /tmp/bulla-quickstart.XXXXXX)
registry_pid=
# A parent that --keep leaves behind must not hold the terminal.
stop_registry() {
    [[ -n $registry_pid ]] || return 0
    kill -TERM "$registry_pid" 2> /dev/null || true
    wait "$registry_pid" 2> /dev/null || true
    registry_pid=
}
cleanup() {
    local status=$?
    ((keep && status == 0)) && return
    stop_registry
    ((status == 0)) || tail -n 5 "$work/serve.log" >&2 || true
    rm -rf "$work"
    ((status == 0)) || echo "quickstart: failed in step '$step_name'" >&2
}
trap cleanup EXIT
start_registry() {
    bulla-registry serve --config "$work/registry/registry.yaml" > "$work/serve.out" 2>> "$work/serve.log" &
    registry_pid=$!
    local i
    for ((i = 0; i < 200; i++)); do
        host=$(sed -n 's/^listening on //p' "$work/serve.out" 2> /dev/null)
        [[ -z $host ]] || return 0
        kill -0 "$registry_pid" 2> /dev/null || break
        sleep 0.05
    done
    cat "$work/serve.log" >&2
    echo "quickstart: the registry did not start" >&2
    return 1
}
restart_registry() {
    stop_registry
    sed -i "s/^listen:.*/listen: \"$host\"/" "$work/registry/registry.yaml"
    start_registry
}
umask 077
export BULLA_HOME=$work/home BULLA_POLICY=$work/policy.json REGISTRY_AUTH_FILE=$work/auth.json
openssl rand -hex 16 > "$work/admin.password"
openssl rand -hex 16 > "$work/passphrase"
export BULLA_PASSPHRASE_FILE=$work/passphrase
# An empty policy to start from: root names it, so that no policy of this machine mixes in.
echo '{ "version": 1, "default": "deny" }' > "$BULLA_POLICY"

step "start a registry on 127.0.0.1 over TLS"
for name in BULLA_HOME BULLA_POLICY REGISTRY_AUTH_FILE BULLA_PASSPHRASE_FILE; do
    printf '$ export %s=%s\n' "$name" "${!name}"
done
SHOW_INPUT=$work/admin.password \
    show bulla-registry init "$work/registry" --listen 127.0.0.1:0 --admin alice --password-stdin
printf '$ bulla-registry serve --config %s &\n' "$work/registry/registry.yaml"
start_registry
echo "the registry listens on $host"
ca=$work/registry/ca.crt
bulla() { command bulla --cacert "$ca" "$@"; } # what is not shown
SHOW_INPUT=$work/admin.password show bulla login "$host" --username alice --password-stdin

step "make keys: root in a file, targets on a token"
show bulla key generate root --type ed25519
if [[ -n ${BULLA_TOKEN_MODULE:-} ]]; then
    export BULLA_PKCS11_MODULE=$BULLA_TOKEN_MODULE
    token_key=${BULLA_TOKEN_KEY:?name the key on the token in BULLA_TOKEN_KEY}
else
    # shellcheck source=tests/support/softhsm.sh
    . "$top/tests/support/softhsm.sh"
    echo 648219 > "$work/pin"
    export BULLA_PIN_FILE=$work/pin
    softhsm_make_token "$work/token" demo "$(cat "$work/pin")" 02
    for name in BULLA_PIN_FILE SOFTHSM2_CONF BULLA_PKCS11_MODULE; do
        printf '$ export %s=%s\n' "$name" "${!name}"
    done
    token_key=$(bulla key token list --json | jq -r '.keys[0].uri')
fi
show bulla key token list

step "make a real image"
root_tar=$work/rootfs.tar
if [[ -n ${BULLA_QUICKSTART_ROOTFS:-} ]]; then # a root tar made before: saves time when trying again
    cp "$BULLA_QUICKSTART_ROOTFS" "$root_tar"
    image_command=(cat /etc/debian_version)
elif mmdebstrap --variant=minbase bookworm "$root_tar" > "$work/mmdebstrap.log" 2>&1; then
    image_command=(cat /etc/debian_version)
    echo "made a Debian root file system with mmdebstrap --variant=minbase"
else
    echo "NOTE: the Debian mirror cannot be reached; the image is Debian's busybox-static instead"
    mkdir -p "$work/rootfs/bin" "$work/rootfs/etc" "$work/rootfs/tmp"
    cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
    for name in sh cat echo true ls; do ln -s busybox "$work/rootfs/bin/$name"; done
    cp /etc/debian_version "$work/rootfs/etc/debian_version"
    tar -C "$work/rootfs" -cf "$root_tar" .
    image_command=(cat /etc/debian_version)
fi
show bulla import "$root_tar" demo/app:v1 --cmd '["/bin/sh","-c","echo hello from a verified image"]'

step "push"
ref=$host/acme/app:v1
show bulla push store:demo/app:v1 "$ref"

step "sign with the token"
show bulla trust init "$ref" --root-key root --targets-key "$token_key"
show bulla sign "$ref" --key "$token_key"

step "verify"
show bulla policy allow "$host/acme/app"
show bulla verify "$ref"

step "pull and run"
show bulla pull "$ref"
show bulla run "$ref"
show bulla run "$ref" "${image_command[@]}"
status=0
show bulla run "$ref" sh -c 'exit 7' || status=$?
((status == 7)) || exit 1
echo "   → the container's own status came through: 7"

step "let a team sign its own tags"
show bulla key generate team
show bulla trust delegate "$ref" releases --role-key team --tags 'v*-rc*' --key "$token_key"
show bulla sign "$host/acme/app:v1-rc1@$(bulla verify "$ref" --json | jq -r .digest)" --role releases --key team
show bulla trust show "$ref"

step "carry it to a machine without a network"
show bulla save "$ref" -o "$work/app.bundle"
show unshare -n bulla verify "$work/app.bundle"

step "look after the registry while it runs"
config=$work/registry/registry.yaml
show bulla-registry gc --dry-run --config "$config"
show bulla-registry backup "$work/backup" --config "$config"
show bulla-registry scrub --config "$config"
show bulla-registry audit verify --config "$config"

# --- attacks: as somebody who owns the registry's disk, the network, or this machine's store ---
data=$work/registry/data
sql() { sqlite3 -cmd '.timeout 10000' "$data/index.db" "$1"; }
digest=$(bulla verify "$ref" --json | jq -r .digest)
blob_file() { printf '%s/blobs/sha256/%.2s/%s' "$data" "${1#sha256:}" "${1#sha256:}"; }
flip_byte() { # FILE: changes one byte in its middle
    local at=$(($(stat -c %s "$1") / 2)) old
    old=$(od -An -tu1 -j "$at" -N 1 "$1")
    chmod u+w "$1"
    printf "\\x$(printf %02x $((old ^ 1)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}
fresh_home() { # a machine that has nothing of this image yet, but trusts the same root
    rm -rf "$work/other"
    mkdir -p "$work/other"
    cp -a "$BULLA_HOME/trust" "$work/other/trust"
}

step "attack: an unsigned image"
show bulla import "$root_tar" demo/app:v2 --cmd '["/bin/true"]' > /dev/null
show bulla push store:demo/app:v2 "$host/acme/app:v2" > /dev/null
refused 125 'not signed' bulla run "$host/acme/app:v2"
refused 1 'not signed' bulla verify "$host/acme/app:v2"

step "attack: another manifest under the signed digest"
other=$(sql "select digest from tag where name = 'v2'")
cp -p "$(blob_file "$digest")" "$work/manifest.good"
chmod u+w "$(blob_file "$digest")"
cat "$(blob_file "$other")" > "$(blob_file "$digest")"
restart_registry
fresh_home
refused 125 'damaged|digest' bulla --home "$work/other" run "$ref"
show bulla push store:demo/app:v1 "$ref" # what the registry found damaged, a push puts right
show bulla verify "$ref"

step "attack: a changed byte in a stored layer"
layer=$(jq -r '.layers[0].digest' "$work/manifest.good")
flip_byte "$(blob_file "$layer")"
fresh_home
refused 1 'digest' bulla --home "$work/other" pull "$ref"
flip_byte "$(blob_file "$layer")"

step "attack: a changed byte in an unpacked file"
victim=$(find "$BULLA_HOME/images/layers" -path '*/root/etc/debian_version' | head -n 1)
flip_byte "$victim"
refused 125 'debian_version' bulla run "$ref"
show bulla pull "$ref"
show bulla run "$ref"

step "attack: a timestamp rolled back"
sql "select quote(data) from trust_file where role = 'timestamp' and current = 1" > "$work/timestamp.old"
show bulla sign "$host/acme/app:v2" --key "$token_key" > /dev/null
show bulla verify "$host/acme/app:v2" > /dev/null
new=$(sql "select quote(data) from trust_file where role = 'timestamp' and current = 1")
sql "update trust_file set data = $(cat "$work/timestamp.old") where role = 'timestamp' and current = 1"
restart_registry
refused 1 'timestamp was rolled back' bulla verify "$ref"
sql "update trust_file set data = $new where role = 'timestamp' and current = 1"
restart_registry
show bulla verify "$ref" > /dev/null

step "attack: an expired timestamp"
refused 1 'timestamp.*expired' faketime -f +3d bulla --cacert "$ca" verify "$ref"

step "attack: a tag moved in the registry"
sql "update tag set digest = '$other' where name = 'v1'"
restart_registry
verdict=$(show bulla verify "$ref" 2>&1)
printf '%s\n' "$verdict"
grep -q 'points elsewhere' <<< "$verdict"
[[ $(bulla verify "$ref" --json 2> /dev/null | jq -r .digest) == "$digest" ]]
show bulla run "$ref"
echo "   → the signed digest ran; the registry's word counted for nothing"

step "a key was stolen: replace it, then take back what it signed"
show bulla key generate release
show bulla trust rotate "$ref" targets --new-key release --key root --key release
refused 2 'not a key of role' bulla sign "$host/acme/app:v3@$digest" --key "$token_key"
show bulla trust revoke "$host/acme/app:v2" --key release
refused 1 'not signed' bulla verify "$host/acme/app:v2"
show bulla verify "$ref" > /dev/null

step ""
say "done in $(elapsed "$started")"
printf '  %s\n' "${timings[@]}"
if ((keep)); then
    cat << EOF

The registry still runs (pid $registry_pid). To go on:
  export BULLA_HOME=$BULLA_HOME BULLA_POLICY=$BULLA_POLICY REGISTRY_AUTH_FILE=$REGISTRY_AUTH_FILE
  bulla --cacert $ca verify $ref
To end it: kill $registry_pid; rm -rf $work
EOF
    disown "$registry_pid"
fi
