# Images that lie: links instead of folders, hostile account files, places that lead outside.
bats_require_minimum_version 1.5.0
load ../support/sandbox.bash

setup() {
    need_root
    root=$BATS_TEST_TMPDIR/root
    make_root "$root"
}

@test "/dev, /proc or /sys as a symbolic link, a file, a link to the host's: refused" {
    for name in dev proc sys; do
        for target in /tmp /etc ../../../../../../"$name" /nowhere; do
            rmdir "$root/$name" 2> /dev/null || rm "$root/$name"
            ln -s "$target" "$root/$name"
            run run-folder "$root" -- true
            [ "$status" -eq 125 ]
        done
        rm "$root/$name"
        touch "$root/$name"
        run run-folder "$root" -- true
        expect_line 125 "'/$name' in the image is not a folder"
        rm "$root/$name"
        mkdir "$root/$name"
        run run-folder "$root" -- true
        expect 0 ""
    done
}

@test "/tmp, /run or /var/tmp as links: resolved inside, never onto /proc, /sys or /dev" {
    rmdir "$root/var/tmp"
    ln -s ../tmp "$root/var/tmp"
    run run-folder "$root" -- probe create /tmp/x
    expect 0 allowed
    for target in /proc /proc/sys /sys /dev /dev/shm/..; do
        rm "$root/var/tmp"
        ln -s $target "$root/var/tmp"
        run run-folder "$root" -- true
        expect_line 125 "lead" # into /proc, /sys or /dev, or, before they are there, nowhere
    done
    rm "$root/var/tmp"
    ln -s ../../../../../../../../etc "$root/var/tmp"
    run run-folder "$root" -- sh -c 'echo x > /etc/made; ls /etc'
    expect 0 made
    [ ! -e /etc/made ]
}

@test "/etc as a link out of the image: the host's accounts are never read" {
    rm -r "${root:?}/etc"
    ln -s ../../../../../../../../../../etc "$root/etc"
    # Inside the root this leads to /etc itself: a loop.
    run run-folder -u daemon "$root" -- true
    [ "$status" -eq 125 ]
    rm "$root/etc"
    ln -s /proc/1/root/etc "$root/etc"
    run run-folder -u daemon "$root" -- true
    [ "$status" -eq 125 ]
    mkdir "$root/real"
    rm "$root/etc"
    ln -s real "$root/etc"
    echo 'daemon:x:7:8::/:/bin/sh' > "$root/real/passwd"
    run run-folder -u daemon "$root" -- sh -c 'id -u; id -g'
    expect 0 "7
8"
}

@test "a working folder that leads out of the root stays inside" {
    ln -s /proc/self/fd "$root/fds"
    ln -s ../../../../../../.. "$root/up"
    run run-folder -w /up "$root" -- pwd
    expect 0 /
    for fd in 3 4 5 6 7 8 9 10 11 12; do
        run run-folder -w /fds/$fd "$root" -- pwd
        [ "$status" -eq 125 ]
        run run-folder -w /proc/self/fd/$fd "$root" -- pwd
        [ "$status" -eq 125 ]
    done
}

@test "users: numbers and names" {
    run run-folder "$root" -- id -u
    expect 0 0
    run run-folder -u "" "$root" -- id -u
    expect 0 0
    run run-folder -u 1000 "$root" -- sh -c 'id -u; id -g; probe groups'
    expect 0 "1000
1000
29 50"
    # With a group given, the image's other groups do not apply.
    run run-folder -u ann:staff "$root" -- sh -c 'id -u; id -g; probe groups'
    expect 0 "1000
50"
    # No entry: the group of the same number, never root's.
    run run-folder -u 4711 "$root" -- sh -c 'id -u; id -g; probe groups; env | grep HOME='
    expect 0 "4711
4711

HOME=/"
    run run-folder -u 65535:65535 "$root" -- id -u
    expect 0 65535
}

@test "users that cannot be: refused, never root" {
    for user in nobody-here 65536 4294967295 4294967296 4294967297 18446744073709551616 -1 +1 0x0 1e3 \
        "1000:" ":" ":0" "0:" " 0" "0 " "ann:nogroup" "ann:65536" "ann:-1" "ann:0:0" "ann:4294967296" \
        "$(printf 'a\nb')" "$(head -c 300 /dev/zero | tr '\0' a)" "*" "ann,root"; do
        run run-folder -u "$user" "$root" -- id -u
        echo "user '$user': $status $output"
        [ "$status" -eq 125 ]
    done
}

@test "account files that lie: refused" {
    printf 'evil:x:4294967296:0::/:/bin/sh\nneg:x:-1:0::/:/bin/sh\nempty:x:::::\nshort:x:0\nbig:x:65536:1::/:\n0x:x:0:0::/:\n' \
        >> "$root/etc/passwd"
    printf '1234:x:0:0:a name of digits:/:/bin/sh\n' >> "$root/etc/passwd"
    printf 'evil:x:4294967296:\nbad:x:\n' >> "$root/etc/group"
    for user in evil neg empty short big ann:evil ann:bad; do
        run run-folder -u "$user" "$root" -- id -u
        echo "user '$user': $status $output"
        [ "$status" -eq 125 ]
    done
    # Digits are an id even where somebody is called that way.
    run run-folder -u 1234 "$root" -- sh -c 'id -u 2> /dev/null'
    expect 0 1234
    # The malformed lines harm nobody else.
    run run-folder -u ann "$root" -- sh -c 'id -u 2> /dev/null'
    expect 0 1000
}

@test "account files that are no files, or endless" {
    for file in passwd group; do
        rm "$root/etc/$file"
        mkfifo "$root/etc/$file"
        run timeout 10 run-folder -u ann:staff "$root" -- true
        expect_line 125 "/etc/$file': it is no file"
        rm "$root/etc/$file"
        mkdir "$root/etc/$file"
        run run-folder -u ann:staff "$root" -- true
        expect_line 125 "/etc/$file': it is no file"
        rmdir "$root/etc/$file"
        ln -s /dev/zero "$root/etc/$file"
        run timeout 10 run-folder -u ann:staff "$root" -- true
        [ "$status" -eq 125 ]
        rm "$root/etc/$file"
        truncate -s 2G "$root/etc/$file"
        run timeout 10 run-folder -u ann:staff "$root" -- true
        expect_line 125 "/etc/$file"
        rm "$root/etc/$file"
        printf 'ann:x:1000:1000:\0:/:/bin/sh\n' > "$root/etc/$file"
        run run-folder -u ann:staff "$root" -- true
        expect_line 125 "NUL"
        printf 'ann:x:1000:1000::/:/bin/sh\n' > "$root/etc/passwd"
    done
}

@test "a user with too many groups is refused" {
    for i in $(seq 100 165); do
        echo "g$i:x:$i:ann"
    done >> "$root/etc/group"
    run run-folder -u ann "$root" -- true
    expect_line 125 "more than 64 groups"
}

@test "device nodes and setuid files in a layer are void" {
    mknod "$root/bin/vda" b 254 0
    mknod "$root/bin/mem" c 1 1
    mknod "$root/bin/null2" c 1 3
    chmod 666 "$root/bin/vda" "$root/bin/mem" "$root/bin/null2"
    for node in vda mem null2; do
        run run-folder "$root" -- probe read /bin/$node
        expect 0 EACCES
    done
    run run-folder --writable "$root" -- probe read /bin/null2
    expect 0 EACCES
}

@test "links in the image that point outside find the image's own files" {
    ln -s ../../../../../../../../etc/hostname "$root/out"
    ln -s /etc/hostname "$root/abs"
    echo inside > "$root/etc/hostname"
    run run-folder "$root" -- cat /out /abs
    expect 0 "inside
inside"
}
