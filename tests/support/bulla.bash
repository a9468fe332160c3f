# A user with keys, credentials, images and a registry: `load ../support/bulla` (after registry).
#   bulla_setup_file            in setup_file: registry, login, keys, one pushed and signed image (v1)
#   bulla_teardown_file         in teardown_file
#   bulla_setup                 in setup: variables for a test; BULLA_HOME is a copy of its own
#   bulla ARGS…                 the command with the registry's CA
#   make_image NAME:TAG TEXT    a busybox image whose /text says TEXT, in the local store
#   publish TAG TEXT            makes, pushes and signs acme/app:TAG
#   sql STATEMENT               on the registry's index
#   blob_file DIGEST            the registry's file of a blob
#   flip_byte FILE [OFFSET]     changes one byte (default: in the middle)
#   expect STATUS [PATTERN]     status and output of the last `run`
bats_require_minimum_version 1.5.0
. "$BATS_TEST_DIRNAME/../support/registry.bash"

bulla() {
    command bulla --cacert "$REGISTRY_CA" "$@"
}

expect() {
    if ((status != $1)) || { [[ -n ${2:-} ]] && ! grep -Eiq -- "$2" <<< "$output"; }; then
        printf 'expected status %s and /%s/; got %s and:\n%s\n' "$1" "${2:-}" "$status" "$output" >&2
        return 1
    fi
    # One line per failure: nothing a sanitizer or a shell would add.
    ! grep -Eq 'ERROR: AddressSanitizer|runtime error|LeakSanitizer' <<< "$output"
}

make_image() { # NAME:TAG TEXT [IMPORT OPTION…]
    local root=$BATS_FILE_TMPDIR/root.$RANDOM$RANDOM name
    mkdir -p "$root/bin" "$root/etc" "$root/tmp"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for name in sh cat true false id ls echo sleep touch; do ln -s busybox "$root/bin/$name"; done
    echo 'root:x:0:0:root:/:/bin/sh' > "$root/etc/passwd"
    echo 'app:x:1000:1000:app:/:/bin/sh' >> "$root/etc/passwd"
    echo "$2" > "$root/text"
    # Root's own files: the owner that the image shows must not depend on who runs the tests.
    command bulla import "$root" "$1" --cmd '["/bin/cat","/text"]' "${@:3}"
    rm -rf "$root"
}

publish() { # TAG TEXT
    make_image "app:$1" "$2" > /dev/null
    bulla push "store:app:$1" "$REGISTRY_HOST/acme/app:$1" > /dev/null
    bulla sign "$REGISTRY_HOST/acme/app:$1" --key targets > /dev/null
}

bulla_environment() {
    export BULLA_HOME=$1 REGISTRY_AUTH_FILE=$BATS_FILE_TMPDIR/auth.json
    export BULLA_PASSPHRASE_FILE=$BATS_FILE_TMPDIR/passphrase BULLA_POLICY=$BATS_FILE_TMPDIR/policy.json
}

# The registry gets a fixed port, so that a restart keeps its name.
bulla_registry_start() {
    registry_start "$BATS_FILE_TMPDIR/registry"
    sed -i "s/^listen:.*/listen: \"$REGISTRY_HOST\"/" "$REGISTRY_DIR/registry.yaml"
    export REGISTRY_DIR REGISTRY_PID REGISTRY_PORT REGISTRY_HOST REGISTRY_CA REGISTRY_PASSWORD
    # Tests run in shells of their own: the pid of the moment is in a file.
    echo "$REGISTRY_PID" > "$BATS_FILE_TMPDIR/registry.pid"
}

bulla_registry_stop() {
    local pid
    pid=$(cat "$BATS_FILE_TMPDIR/registry.pid")
    kill -TERM "$pid" 2> /dev/null || return 0
    local i
    for ((i = 0; i < 200; i++)); do
        [[ -e /proc/$pid ]] && [[ $(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2> /dev/null) != Z ]] || break
        sleep 0.05
    done
    # Its signing service ends with it; the next one needs the socket and the lock.
    for ((i = 0; i < 100; i++)); do
        fuser -s "$REGISTRY_DIR/run/signer.sock" 2> /dev/null || break
        sleep 0.05
    done
}

bulla_registry_restart() {
    bulla_registry_stop
    bulla_registry_start
}

bulla_setup_file() {
    umask 022
    head -c 18 /dev/urandom | base64 > "$BATS_FILE_TMPDIR/passphrase"
    chmod 600 "$BATS_FILE_TMPDIR/passphrase"
    echo '{ "version": 1, "default": "deny" }' > "$BATS_FILE_TMPDIR/policy.json"
    bulla_environment "$BATS_FILE_TMPDIR/home"
    bulla_registry_start
    bulla login "$REGISTRY_HOST" --username "$REGISTRY_USER" --password-stdin <<< "$REGISTRY_PASSWORD" > /dev/null
    bulla key generate root > /dev/null
    bulla key generate targets > /dev/null
    make_image app:v1 one > /dev/null
    bulla push store:app:v1 "$REGISTRY_HOST/acme/app:v1" > /dev/null
    bulla trust init "$REGISTRY_HOST/acme/app" --root-key root --targets-key targets > /dev/null
    bulla sign "$REGISTRY_HOST/acme/app:v1" --key targets > /dev/null
    bulla policy allow "$REGISTRY_HOST/acme/app" > /dev/null
}

bulla_teardown_file() {
    bulla_registry_stop
}

bulla_setup() {
    REGISTRY_CA=$REGISTRY_DIR/ca.crt
    REF=$REGISTRY_HOST/acme/app:v1
    cp -a "$BATS_FILE_TMPDIR/home" "$BATS_TEST_TMPDIR/home"
    bulla_environment "$BATS_TEST_TMPDIR/home"
}

# A machine that trusts the same root but has no image yet.
forget_images() {
    rm -rf "$BULLA_HOME/images"
}

sql() {
    sqlite3 -cmd '.timeout 10000' "$REGISTRY_DIR/data/index.db" "$1"
}

blob_file() {
    local hex=${1#sha256:}
    printf '%s/data/blobs/sha256/%.2s/%s' "$REGISTRY_DIR" "$hex" "$hex"
}

flip_byte() {
    local at=${2:-$(($(stat -c %s "$1") / 2))} old
    old=$(od -An -tu1 -j "$at" -N 1 "$1")
    printf '%b' "\\x$(printf %02x $((old ^ 1)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}

need_root() {
    ((EUID == 0)) || skip "needs root"
}
