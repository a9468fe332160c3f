# Disks that are full, read-only, over quota or broken; clocks that jump; services that hang; files that are damaged.
# Nothing crashes, nothing acknowledged is lost, what can be served is served, and no more memory is taken.
bats_require_minimum_version 1.5.0

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    # The preloaded library must come before the sanitizer's.
    export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0
    registry_init "$PWD/r"
}

teardown() {
    load ../support/registry
    resume_all
    [[ -z ${OWN:-} ]] || rm -rf "$OWN"
    REGISTRY_DIR=$BATS_TEST_TMPDIR/r registry_stop
}

# Runs the server behind tests/tools/disk_shim.c; see there.
shimmed() {
    head -c 16 /dev/zero > control
    export DISK_SHIM_ROOT=$PWD/r/data DISK_SHIM_CONTROL=$PWD/control LD_PRELOAD=$BULLA_BUILD/bin/disk-shim.so
    exec "$@"
}

fault() { # ERRNO: each change of the disk fails with it; 0: none does
    printf '%b' "\\x$(printf %02x "$1")\\0\\0\\0" | dd of=control conv=notrunc bs=4 status=none
}

clock_ahead() { # SECONDS, may be negative
    python3 -c 'import struct, sys
with open("control", "r+b") as f: f.seek(8); f.write(struct.pack("<q", int(sys.argv[1])))' "$1"
}

# Runs the server with its data on a small disk of its own, which nobody else sees.
on_small_disk() {
    # shellcheck disable=SC2016 # for the inner shell
    exec unshare -m --propagation private sh -c 'mv "$0/r/data" "$0/r/away" && mkdir -m 700 "$0/r/data" &&
        mount -t tmpfs -o size=6m,mode=700 tmpfs "$0/r/data" && cp -a "$0/r/away/." "$0/r/data/" && exec "$@"' "$PWD" "$@"
}

start() { # [HOW]
    REGISTRY_RUN=${1:-} registry_start "$BATS_TEST_TMPDIR/r"
}

data() { # the data folder as the server sees it
    echo "/proc/$REGISTRY_PID/root$PWD/r/data"
}

blob_file() { # DIGEST
    local hex=${1#sha256:}
    printf '%s/blobs/sha256/%.2s/%s' "$PWD/r/data" "$hex" "$hex"
}

post_blob() { # FILE [CURL OPTION…]: prints status and body
    registry_curl "${@:2}" -w '\n%{http_code}' -X POST -H Expect: --data-binary "@$1" \
        "/v2/k/app/blobs/uploads/?digest=$(digest_of "$1")"
}

location() {
    sed -n 's/^location: \(.*\)\r$/\1/Ip'
}

# What was pushed before is served, by the same process, which has not grown.
others_are_served() {
    [[ $(registry_status /v2/) == 200 ]]
    registry_curl "/v2/k/app/blobs/$KEPT" | cmp - kept
    [[ $(digest_of <(registry_curl /v2/k/app/manifests/v1)) == "$IMAGE" ]]
    registry_runs "$REGISTRY_PID"
    [[ $ASAN_OPTIONS == *exitcode* || $(sed -n 's/^VmRSS:\s*\([0-9]*\).*/\1/p' "/proc/$REGISTRY_PID/status") -lt 100000 ]]
}

something_kept() {
    head -c 100000 /dev/urandom > kept
    KEPT=$(push_blob k/app kept)
    IMAGE=$(push_image k/app v1)
}

resume_all() {
    local pid
    for pid in ${STOPPED:-}; do kill -CONT "$pid" 2> /dev/null || true; done
}

signer_pid() {
    tr ' ' '\n' < "/proc/$REGISTRY_PID/task/$REGISTRY_PID/children" | head -n 1
}

@test "a full disk: 507 that says so, reads go on, nothing half-done stays, and freed space is used at once" {
    start on_small_disk
    something_kept
    head -c 8000000 /dev/urandom > big
    head -c 300000 /dev/urandom > next
    run post_blob big
    [[ $output == *"No space left"*507 && -z $(ls "$(data)/uploads") ]]
    url=$(registry_curl -o /dev/null -D - -X POST /v2/k/app/blobs/uploads/ | location)
    [[ $(registry_status -X PATCH -H Expect: --data-binary @<(head -c 100000 next) "$url") == 202 ]]
    dd if=/dev/zero of="$(data)/filler" bs=1M 2> /dev/null || true
    [[ $(registry_status -X PATCH -H Expect: --data-binary @<(tail -c +100001 next) "$url") == 507 ]]
    for _ in 1 2 3; do
        run registry_curl -w '\n%{http_code}' -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
            --data-binary @<(image_manifest "$KEPT" 100000 "$KEPT" 100000) /v2/k/app/manifests/v1
        [[ $output == *507 ]]
        others_are_served
    done
    rm "$(data)/filler"
    have=$(registry_curl -o /dev/null -D - "$url" | sed -n 's/^range: 0-\(.*\)\r$/\1/Ip')
    tail -c +$((have + 2)) next > rest
    [[ $have -ge 99999 && $(registry_status -X PUT --data-binary @rest "$url?digest=$(digest_of next)") == 201 ]]
    registry_curl "/v2/k/app/blobs/$(digest_of next)" | cmp - next
    push_image k/app v2
    others_are_served
    [[ -z $(ls "$(data)/uploads") ]]
}

@test "no quota, a disk gone read-only, input/output errors: refused, others served, and over when it is over" {
    start shimmed
    something_kept
    head -c 200000 /dev/urandom > f
    url=$(registry_curl -o /dev/null -D - -X POST /v2/k/app/blobs/uploads/ | location)
    for case in 28:507 122:507 30:500 5:500; do
        fault "${case%:*}"
        run post_blob f
        [[ $output == *"${case#*:}" ]]
        [[ $(registry_status -X POST /v2/k/app/blobs/uploads/) == "${case#*:}" ]]
        [[ $(registry_status -X PATCH --data-binary @f "$url") == "${case#*:}" ]]
        [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary \
            @<(image_manifest "$KEPT" 100000 "$KEPT" 100000) /v2/k/app/manifests/v1) == 50* ]]
        [[ $(registry_status -X DELETE /v2/k/app/manifests/v1) == 50* ]]
        others_are_served
        fault 0
        # After a failed sync nobody knows what is on the disk: the audit log asks for a restart, and means it.
        if ((${case%:*} == 30 || ${case%:*} == 5)) && [[ $(post_blob f) == *"restart the registry"*503 ]]; then
            registry_stop
            start shimmed
        fi
        push_blob k/app f
        registry_curl "/v2/k/app/blobs/$(digest_of f)" | cmp - f
        push_image k/app "v${case%:*}"
    done
    grep -q 'Read-only file system' r/log
    grep -q 'Input/output error' r/log
    # The session that met all of it goes on.
    [[ $(registry_status -X PUT --data-binary @f "$url?digest=$(digest_of f)") == 201 ]]
    [[ -z $(ls r/data/uploads) ]]
    registry_kill
    start
    others_are_served
}

@test "a read-only disk at the start: said at once, nothing changed" {
    cp r/registry.yaml r/data.yaml
    sed -i 's/^dataDir: .*/dataDir: data/' r/data.yaml
    # shellcheck disable=SC2016 # for the inner shell
    run unshare -m --propagation private sh -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
        exec bulla-registry serve --config "$0.yaml"' "$PWD/r/data"
    [[ $status == 3 && $output == *"Read-only file system"* && $output != *"listening on 127"* ]]
}

@test "a damaged index: refused at the start or at the request, never a crash, and the file is left as it is" {
    start
    something_kept
    for n in $(seq 30); do push_image k/app "t$n" > /dev/null; done
    registry_stop
    cp -a r/data saved
    size=$(stat -c %s r/data/index.db)
    [[ $size -gt 40000 ]]
    damage() { # OFFSET LENGTH
        head -c "$2" /dev/urandom | dd of=r/data/index.db bs=1 seek="$1" conv=notrunc status=none
        before=$(sha256sum < r/data/index.db)
    }
    restore() {
        rm -rf r/data
        cp -a saved r/data
    }
    # The header; the schema's page; the file cut in two.
    for what in "damage 0 100" "damage 100 3900" "truncate -s $((size / 2)) r/data/index.db"; do
        $what
        before=$(sha256sum < r/data/index.db)
        run timeout 10 bulla-registry serve --config r/registry.yaml
        [[ $status == 1 || $status == 3 ]]
        [[ $output == *"index"*"restore it from a backup"* && $output != *"listening on 127"* ]]
        [[ $before == "$(sha256sum < r/data/index.db)" ]]
        restore
    done
    # Each page in the middle: it starts or says why not; what it then answers is right or 500.
    for ((page = 4096; page < size; page += 4096)); do
        damage "$page" 4096
        if start 2> /dev/null; then
            for path in /v2/ /v2/_catalog /v2/k/app/tags/list /v2/k/app/manifests/v1 "/v2/k/app/blobs/$KEPT"; do
                [[ $(registry_status "$path") =~ ^(200|401|403|404|500)$ ]]
            done
            registry_runs "$REGISTRY_PID"
            registry_stop
            [[ $REGISTRY_STATUS == 0 ]]
        else
            rm -f r/pid
        fi
        restore
    done
    grep -q 'restore it from a backup' r/log
    run ! grep -q 'Sanitizer' r/log
    start
    others_are_served
}

@test "garbage behind the index's log, and a log cut short, lose nothing that was committed before" {
    start
    something_kept
    registry_kill
    [[ -s r/data/index.db-wal ]]
    cp r/data/index.db-wal wal
    head -c 10000 /dev/urandom >> r/data/index.db-wal
    start
    others_are_served
    registry_stop
    # A log that is all garbage is not taken for one.
    head -c 20000 /dev/urandom > r/data/index.db-wal
    rm -f r/data/index.db-shm
    start
    others_are_served
}

@test "damaged blobs: a wrong manifest or length is never shown, and a push puts it right" {
    start
    something_kept
    head -c 50000 /dev/urandom > f
    digest=$(push_blob k/app f)
    chmod 600 "$(blob_file "$digest")"
    truncate -s 49999 "$(blob_file "$digest")"
    run registry_curl -I "/v2/k/app/blobs/$digest"
    [[ $output == *" 404 "* ]]
    [[ $(registry_status "/v2/k/app/blobs/$digest") == 404 ]]
    grep -q "the file of blob $digest has 49999 bytes and should have 50000" r/log
    push_blob k/app f
    registry_curl "/v2/k/app/blobs/$digest" | cmp - f
    rm "$(blob_file "$digest")"
    [[ $(registry_status "/v2/k/app/blobs/$digest") == 404 ]]
    push_blob k/app f
    registry_curl "/v2/k/app/blobs/$digest" | cmp - f
    # One byte of a manifest, which may lie in memory until a restart.
    registry_stop
    start
    chmod 600 "$(blob_file "$IMAGE")"
    cp "$(blob_file "$IMAGE")" manifest
    sed -i 's/"schemaVersion":2/"schemaVersion":3/' "$(blob_file "$IMAGE")"
    run registry_curl -w '\n%{http_code}' /v2/k/app/manifests/v1
    [[ $output != *schemaVersion* && $output =~ (404|500)$ ]]
    grep -q "$IMAGE" r/log
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @manifest \
        /v2/k/app/manifests/v1) == 201 ]]
    others_are_served
}

@test "a clock that jumps: logins, uploads under way, and what the server does by itself go on" {
    start shimmed
    something_kept
    head -c 200000 /dev/urandom > f
    url=$(registry_curl -o /dev/null -D - -X POST /v2/k/app/blobs/uploads/ | location)
    [[ $(registry_status -X PATCH --data-binary @<(head -c 100000 f) "$url") == 202 ]]
    for jump in 86400 -86400 31536000 -31536000 4000000000; do
        clock_ahead "$jump"
        others_are_served
        head -c 1000 /dev/urandom > g
        push_blob k/app g
        push_image k/app "jump$jump"
        [[ $(registry_status "$url") == 204 ]]
    done
    clock_ahead 0
    [[ $(registry_status -X PUT --data-binary @<(tail -c +100001 f) "$url?digest=$(digest_of f)") == 201 ]]
    registry_curl "/v2/k/app/blobs/$(digest_of f)" | cmp - f
    others_are_served
    # Nothing spins: a wait until a moment that is past ends at once, again and again.
    clock_ahead 31536000
    sleep 0.5
    ticks() { awk '{ print $14 + $15 }' "/proc/$REGISTRY_PID/stat"; }
    before=$(ticks)
    sleep 2
    (($(ticks) - before < 50))
}

@test "no descriptors left: refused for the moment, and served again when there are some" {
    start
    something_kept
    used=$(find "/proc/$REGISTRY_PID/fd" -mindepth 1 | wc -l)
    prlimit --pid "$REGISTRY_PID" --nofile="$((used + 1)):20000"
    for _ in 1 2 3 4; do
        registry_curl -m 5 -o /dev/null -w '%{http_code}\n' /v2/k/app/manifests/v1 2> /dev/null || true
    done
    registry_runs "$REGISTRY_PID"
    prlimit --pid "$REGISTRY_PID" --nofile=4096:20000
    others_are_served
    push_image k/app v2
}

@test "the data folder vanishes: errors, no crash, and no empty registry comes up in its place" {
    start
    something_kept
    mv r/data gone
    for path in /v2/k/app/manifests/v1 "/v2/k/app/blobs/$KEPT" /v2/_catalog; do
        [[ $(registry_status "$path") =~ ^(200|401|404|500)$ ]]
    done
    [[ $(registry_status -X POST /v2/k/app/blobs/uploads/) =~ ^(202|401|500)$ ]]
    rm -rf gone/blobs gone/uploads
    [[ $(registry_status -X POST /v2/k/app/blobs/uploads/) =~ ^(401|500)$ ]]
    grep -q 'folder for uploads is gone' r/log
    registry_runs "$REGISTRY_PID"
    registry_stop
    mkdir -m 700 r/data
    run bulla-registry serve --config r/registry.yaml
    [[ $status == 3 && $output == *"'$PWD/r/data' holds no registry: is its disk mounted?"* ]]
    [[ -z $(ls r/data) ]]
}

@test "a signing service that hangs or is gone: pulls and pushes go on, publishing says why not" {
    start
    something_kept
    echo 'a passphrase for tests' > passphrase
    chmod 600 passphrase
    export BULLA_HOME=$PWD/home BULLA_PASSPHRASE_FILE=$PWD/passphrase REGISTRY_AUTH_FILE=$PWD/auth.json
    bulla() { command bulla --cacert "$REGISTRY_CA" "$@"; }
    bulla login "$REGISTRY_HOST" --username admin --password-stdin <<< "$REGISTRY_PASSWORD"
    bulla key generate key
    STOPPED=$(signer_pid)
    kill -STOP "$STOPPED"
    bulla trust init "$REGISTRY_HOST/k/app" --root-key key --targets-key key > init.out 2>&1 3>&- &
    init=$!
    sleep 1
    others_are_served
    push_image k/app v2
    others_are_served
    kill -0 "$init"
    kill -CONT "$STOPPED"
    wait "$init"
    # Gone: said at once.
    kill -KILL "$STOPPED"
    while [[ -d /proc/$STOPPED && $(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$STOPPED/status") != Z ]]; do sleep 0.05; done
    run bulla sign "$REGISTRY_HOST/k/app:v1@$IMAGE" --key key
    [[ $status == 3 && $output == *"signing service"* ]]
    others_are_served
    push_image k/app v3
    grep -q 'the signing service ended' r/log
    registry_stop
    start
    sed -i "s/^listen: .*/listen: \"$REGISTRY_HOST\"/" r/registry.yaml
    others_are_served
}

@test "folders that the service's account may not use: named at the start" {
    [[ $EUID == 0 ]] || skip "needs root to change accounts"
    OWN=$(mktemp -d) # the tests' own folders are closed to other accounts
    chmod 755 "$OWN"
    mv r "$OWN/r"
    sed -i 's/^#user: bulla$/user: daemon/; s/^  #user: .*/  user: nobody/' "$OWN/r/registry.yaml"
    run timeout 10 bulla-registry serve --config "$OWN/r/registry.yaml"
    [[ $status == 3 && $output == *"data folder '$OWN/r/data' is closed to "* ]]
    chown -R daemon "$OWN/r/data"
    chown root "$OWN/r/data/index.db"
    run timeout 10 bulla-registry serve --config "$OWN/r/registry.yaml"
    [[ $status == 3 && $output == *"index"*"$OWN/r/data/index.db"* ]]
}
