# A container starts, does what it is told, and ends with the command's status.
bats_require_minimum_version 1.5.0
load ../support/sandbox.bash

setup_file() {
    need_root
    make_root "$BATS_FILE_TMPDIR/root"
}

setup() {
    need_root
    root=$BATS_FILE_TMPDIR/root
}

# ended_in_time PID: within ten seconds; its status in $status.
ended_in_time() {
    for _ in $(seq 200); do
        kill -0 "$1" 2> /dev/null || break
        sleep 0.05
    done
    kill -9 "$1" 2> /dev/null || true
    wait "$1" 2> /dev/null && status=0 || status=$?
}

@test "the command's status is passed on" {
    run run-folder "$root" -- true
    expect 0 ""
    run run-folder "$root" -- false
    expect 1 ""
    run run-folder "$root" -- sh -c 'exit 42'
    expect 42 ""
    run run-folder "$root" -- sh -c 'exit 255'
    expect 255 ""
    # A status that looks like ours is still the command's.
    run -127 run-folder "$root" -- sh -c 'exit 127'
    expect 127 ""
}

@test "a signal that ends the command is 128 + n" {
    run run-folder "$root" -- sh -c 'kill -TERM $$'
    expect 143 ""
    run run-folder "$root" -- sh -c 'kill -KILL $$'
    expect 137 ""
}

@test "126 and 127 as in a shell" {
    mkdir "$BATS_TEST_TMPDIR/bin"
    echo text > "$root/bin/not-executable"
    chmod 644 "$root/bin/not-executable"
    printf '\177ELF garbage' > "$root/bin/garbage"
    chmod 755 "$root/bin/garbage"
    run -127 run-folder "$root" -- no-such-command
    expect_line 127 "command 'no-such-command'"
    run -127 run-folder "$root" -- /bin/no-such-command
    expect_line 127 "No such file"
    run -127 run-folder "$root" -- /bin/busybox/x
    expect_line 127 "Not a directory"
    run -127 run-folder "$root" -- ""
    expect_line 127 "No such file"
    run run-folder "$root" -- not-executable
    expect_line 126 "Permission denied"
    run run-folder "$root" -- /etc
    expect_line 126 "Permission denied"
    run run-folder "$root" -- garbage
    expect_line 126 "Exec format"
}

@test "what is on PATH later is found behind what cannot be executed" {
    mkdir -p "$root/first"
    echo text > "$root/first/echo"
    run run-folder -e PATH=/first:/nowhere:/bin "$root" -- echo found
    expect 0 found
}

@test "a specification that makes no sense is 125" {
    run run-folder "$root" --
    expect_line 125 "no command"
    run run-folder -w relative "$root" -- true
    expect_line 125 "not an absolute path"
    run run-folder -w /../etc "$root" -- true
    expect_line 125 "contains '..'"
    run run-folder -e NOVALUE "$root" -- true
    expect_line 125 "NAME=value"
    run run-folder -e =value "$root" -- true
    expect_line 125 "NAME=value"
    run run-folder --hostname 'a b' "$root" -- true
    expect_line 125 "not a host name"
    run run-folder --network private "$root" -- true
    expect_line 125 "not available yet"
    run run-folder --network host "$root" -- true
    expect_line 125 "not available yet"
    run run-folder --network none "$root" -- true
    expect 0 ""
}

@test "a standard stream that is a folder is refused" {
    run run-folder "$root" -- true < /
    expect_line 125 "standard input is a folder"
}

@test "closed standard streams become /dev/null, not a descriptor of ours" {
    for fd in 0 1 2; do
        # shellcheck disable=SC2016 # for the shell inside
        inside='[ "$(readlink /proc/$$/fd/'$fd')" = /dev/null ]'
        run bash -c "run-folder '$root' -- sh -c '$inside' $fd>&-"
        expect 0 ""
    done
}

@test "the environment holds what was set and nothing of the host's" {
    SECRET=leaked run run-folder --hostname box -e A=1 -e B=2 -e A=3 "$root" -- env
    [ "$status" -eq 0 ]
    sorted=$(sort <<< "$output")
    [ "$sorted" = "A=3
B=2
HOME=/root
HOSTNAME=box
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" ]
}

@test "host name, working folder, user, home" {
    run run-folder --hostname box "$root" -- hostname
    expect 0 box
    run run-folder -w /var/tmp "$root" -- pwd
    expect 0 /var/tmp
    run run-folder -u ann "$root" -- sh -c 'env | grep HOME=; id -u; id -g; probe groups'
    expect 0 "HOME=/home/ann
1000
1000
29 50"
}

@test "a working folder that the image lacks is made" {
    run run-folder -w /srv/app/data "$root" -- pwd
    expect 0 /srv/app/data
    [ ! -e "$root/srv" ]
}

@test "a working folder that is a file is refused" {
    run run-folder -w /bin/busybox "$root" -- pwd
    expect_line 125 "'/bin/busybox' in the image is not a folder"
}

@test "standard input and output pass through; the end of output is seen when the command closes it" {
    run bash -c "echo hello | run-folder '$root' -- cat"
    expect 0 hello
    # The container lives on, but holds no end of the pipe.
    start=$SECONDS
    {
        run-folder "$root" -- sh -c 'echo early; exec >&- 2>&-; sleep 5' &
        pid=$!
    } > >(cat > "$BATS_TEST_TMPDIR/out"; echo end >> "$BATS_TEST_TMPDIR/out") 2> /dev/null
    # The runner itself has one, as long as it runs: stop looking at it, look at who is inside.
    sleep 1
    inner=$(pgrep -P $pid)
    for process in $inner $(pgrep -P "$inner"); do
        [ -z "$(find "/proc/$process/fd" -lname 'pipe:*')" ]
    done
    kill -9 $pid
    wait $pid 2> /dev/null || true
    [ $((SECONDS - start)) -lt 5 ]
}

@test "signals reach the command" {
    for signal in INT TERM HUP USR1 USR2 QUIT; do
        run-folder "$root" -- sh -c "trap 'echo got; exit 9' $signal; echo ready; while :; do sleep 0.05; done" \
            > "$BATS_TEST_TMPDIR/out" &
        pid=$!
        for _ in $(seq 100); do
            grep -q ready "$BATS_TEST_TMPDIR/out" && break
            sleep 0.05
        done
        kill -s "$signal" $pid
        ended_in_time $pid
        [ "$status" -eq 9 ]
        grep -q got "$BATS_TEST_TMPDIR/out"
    done
}

@test "a signal during the start is not lost" {
    run-folder "$root" -- sleep 20 &
    pid=$!
    # As soon as it has signals blocked, long before the command runs.
    for _ in $(seq 1000); do
        grep -q '^SigBlk:.*[1-9a-f]' /proc/$pid/status 2> /dev/null && break
    done
    kill -TERM $pid
    ended_in_time $pid
    [ "$status" -eq 143 ]
}

@test "orphans are reaped, and end with the command" {
    # The shell's grandchild becomes init's child and ends: no zombie stays.
    run run-folder "$root" -- sh -c '(sh -c "sleep 0.1 &" &) ; sleep 0.5; ps | grep -c "\[sleep\]"'
    expect 1 0
    run timeout 10 run-folder "$root" -- sh -c 'sleep 1000 & exit 3'
    expect 3 ""
}

@test "signals of the command are at their defaults, none blocked" {
    run run-folder "$root" -- probe signals
    expect 0 0
    # Also where the caller ignores some.
    run bash -c "trap '' INT TERM PIPE; run-folder '$root' -- probe signals"
    expect 0 0
}

@test "several layers: the upper hides, changes and removes what lies below" {
    low=$BATS_TEST_TMPDIR/low top=$BATS_TEST_TMPDIR/top
    make_root "$low"
    mkdir -p "$low/data/sub" "$top/data/sub"
    echo one > "$low/data/one"
    echo two > "$low/data/two"
    echo hidden > "$low/data/sub/hidden"
    echo changed > "$top/data/one"
    mknod "$top/data/two" c 0 0
    python3 -c 'import os,sys; os.setxattr(sys.argv[1], "trusted.overlay.opaque", b"y")' "$top/data/sub"
    echo new > "$top/data/sub/new"
    chown 1000:1000 "$top/data/sub/new"
    run run-folder "$low,$top" -- sh -c 'cat /data/one; ls /data /data/sub; stat -c %u:%g /data/sub/new'
    expect 0 "changed
/data:
one
sub

/data/sub:
new
1000:1000"
    run run-folder "$low,$top" -- probe create /data/x
    expect 0 EROFS
    [ -z "$(find "$low" "$top" -newer "$BATS_TEST_TMPDIR/top/data/sub/new" -name x)" ]
}

@test "many layers" {
    layers=$root
    for i in $(seq 127); do
        mkdir -p "$BATS_TEST_TMPDIR/$i/l"
        echo "$i" > "$BATS_TEST_TMPDIR/$i/l/$i"
        layers=$layers,$BATS_TEST_TMPDIR/$i
    done
    run run-folder "$layers" -- sh -c 'ls /l | wc -l; cat /l/127'
    expect 0 "127
127"
    run run-folder "$layers,$root" -- true
    expect_line 125 "129 layers"
}

@test "a layer without the usual folders gets them, and stays as it was" {
    bare=$BATS_TEST_TMPDIR/bare
    mkdir -p "$bare/bin"
    cp "$(command -v busybox)" "$bare/bin/busybox"
    run run-folder "$bare" -- /bin/busybox sh -c '/bin/busybox ls / ; echo x > /tmp/x && echo y > /run/y'
    expect 0 "bin
dev
proc
run
sys
tmp
var"
    [ "$(ls "$bare")" = bin ]
    run run-folder "$bare" -- /bin/busybox mkdir /new
    expect_line 1 "Read-only"
}

@test "a writable root forgets" {
    run run-folder --writable "$root" -- sh -c 'echo x > /etc/new && cat /etc/new && stat -c %u /etc/new'
    expect 0 "x
0"
    [ ! -e "$root/etc/new" ]
    run run-folder --writable -u ann "$root" -- probe create /etc/new
    expect 0 EACCES
}
