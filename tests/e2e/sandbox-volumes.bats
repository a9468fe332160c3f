# Volumes: shown as asked, their owner as the container's user, never what must not be shown.
bats_require_minimum_version 1.5.0
load ../support/sandbox.bash

setup() {
    need_root
    root=$BATS_TEST_TMPDIR/root
    data=$BATS_TEST_TMPDIR/data
    make_root "$root"
    mkdir "$data"
    echo content > "$data/file"
    chown -R 4242:4243 "$data"
}

@test "a folder: the container's user owns what its owner owns" {
    run run-folder -v "$data:/data" "$root" -- sh -c 'cat /data/file; stat -c %u:%g /data/file; echo new > /data/new'
    expect 0 "content
0:0"
    [ "$(stat -c %u:%g "$data/new")" = 4242:4243 ]
    run run-folder -u ann -v "$data:/data" "$root" -- sh -c 'stat -c %u:%g /data/file; echo more > /data/more'
    expect 0 "1000:1000"
    [ "$(stat -c %u:%g "$data/more")" = 4242:4243 ]
    [ "$(cat "$data/more")" = more ]
}

@test "others' files in it belong to nobody" {
    echo secret > "$data/root-only"
    chmod 600 "$data/root-only"
    chown 0:0 "$data/root-only"
    run run-folder -v "$data:/data" "$root" -- sh -c 'stat -c %u /data/root-only; probe read /data/root-only'
    expect 0 "65534
EACCES"
}

@test "read-only" {
    run run-folder -v "$data:/data:ro" "$root" -- probe create /data/new
    expect 0 EROFS
    run run-folder -v "$data:/data:ro" "$root" -- cat /data/file
    expect 0 content
    run run-folder -v "$data:/data:rw" "$root" -- probe create /data/new
    expect 0 allowed
    run run-folder -v "$data:/data:z" "$root" -- true
    expect_line 125 "unknown volume option"
}

@test "a file" {
    run run-folder -v "$data/file:/etc/config:ro" "$root" -- cat /etc/config
    expect 0 content
    run run-folder -v "$data/file:/etc/passwd" -u ann "$root" -- sh -c 'id -u 2> /dev/null'
    # The user comes from the image, not from a volume.
    expect 0 1000
    run run-folder -v "$data/file:/etc" "$root" -- true
    expect_line 125 "not a file"
    run run-folder -v "$data:/etc/passwd" "$root" -- true
    expect_line 125 "not a folder"
}

@test "places below a tmpfs and below another volume" {
    mkdir "$data/inner"
    run run-folder -v "$data:/tmp/deep/data" "$root" -- cat /tmp/deep/data/file
    expect 0 content
    run run-folder -v "$data:/data" -v "$data/file:/data/inner/file" "$root" -- true
    expect_line 125 "data"
    touch "$data/inner/file"
    run run-folder -v "$data:/data" -v "$data/file:/data/inner/file" "$root" -- cat /data/inner/file
    expect 0 content
    run run-folder -v "$data:/tmp" "$root" -- cat /tmp/file
    expect 0 content
}

@test "devices, setuid and mounts below do not come along" {
    mkdir "$data/sub"
    mount -t tmpfs none "$data/sub"
    echo hidden > "$data/sub/hidden"
    mknod "$data/null" c 1 3
    chmod 666 "$data/null"
    run run-folder -v "$data:/data" "$root" -- sh -c 'ls -A /data/sub; probe read /data/null; grep " /data " /proc/mounts | grep -c nosuid,nodev'
    umount "$data/sub"
    expect 0 "EACCES
1"
}

@test "a destination that is a link stays inside, and never covers /proc, /sys or /dev" {
    ln -s ../../../../../../../etc "$root/link"
    run run-folder -v "$data:/link" "$root" -- cat /etc/file
    expect 0 content
    [ ! -e /etc/file ]
    for target in /proc /proc/self /sys /dev /dev/shm/..; do
        ln -sfn $target "$root/link"
        run run-folder -v "$data:/link" "$root" -- true
        expect_line 125 "lead"
    done
    for target in /proc /proc/sys /sys/firmware /dev; do
        run run-folder -v "$data:$target" "$root" -- true
        expect_line 125 "lead"
    done
    ln -sfn /proc/self/cwd/../../.. "$root/link"
    run run-folder -v "$data:/link/x" "$root" -- true
    [ "$status" -eq 125 ]
}

@test "destinations that make no sense" {
    for destination in relative /a/../b .. ""; do
        run run-folder -v "$data:$destination" "$root" -- true
        [ "$status" -eq 125 ]
    done
    run run-folder -v "$data:/" "$root" -- true
    [ "$status" -eq 125 ]
    run run-folder -v "$data" "$root" -- true
    expect_line 125 "SOURCE:DESTINATION"
}

@test "sources that are never shown" {
    for source in / /proc /proc/self /sys /sys/fs/cgroup /dev /dev/null /run /run/bulla /var/lib /var; do
        run run-folder -v "$source:/data" "$root" -- true
        echo "$source: $status $output"
        [ "$status" -eq 125 ]
        [[ "$output" == *"never shown"* || "$output" == *"neither a folder nor a file"* ||
            "$output" == *"No such file"* ]]
    done
    # Nor through a link, nor a socket anywhere.
    ln -s / "$BATS_TEST_TMPDIR/link"
    run run-folder -v "$BATS_TEST_TMPDIR/link:/data" "$root" -- true
    expect_line 125 "never shown"
    python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$data/engine.sock"
    run run-folder -v "$data/engine.sock:/engine.sock" "$root" -- true
    expect_line 125 "neither a folder nor a file"
    run run-folder -v "relative:/data" "$root" -- true
    expect_line 125 "not an absolute path"
    run run-folder -v "/no/such/place:/data" "$root" -- true
    expect_line 125 "No such file"
}

@test "a source that is swapped for a link while containers start shows one of its two states" {
    mkdir "$BATS_TEST_TMPDIR/other"
    echo other > "$BATS_TEST_TMPDIR/other/file"
    place=$BATS_TEST_TMPDIR/place
    ln -s "$data" "$place"
    (
        end=$((SECONDS + 8))
        while [ $SECONDS -lt $end ]; do
            ln -sfn /etc "$place"
            ln -sfn / "$place"
            ln -sfn /proc/1/root "$place"
            ln -sfn "$data" "$place"
        done
    ) &
    swapper=$!
    for _ in $(seq 20); do
        run run-folder -v "$place:/data" "$root" -- sh -c 'ls -d /data/etc /data/proc /data/root 2>/dev/null'
        # Refused, or a folder that may be shown; the host's root never.
        [ "$output" = "" ] || [[ "$output" == *"never shown"* ]] || [[ "$output" == *"place"* ]]
    done
    kill $swapper 2> /dev/null || true
    wait $swapper 2> /dev/null || true
}
