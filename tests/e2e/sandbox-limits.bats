# Limits hold, ids are separate, and nothing is left behind, whatever ends the runner.
bats_require_minimum_version 1.5.0
load ../support/sandbox.bash

setup_file() {
    need_root
    make_root "$BATS_FILE_TMPDIR/root"
}

setup() {
    need_root
    root=$BATS_FILE_TMPDIR/root
    background=()
}

teardown() {
    for pid in "${background[@]}"; do
        kill -9 "$pid" 2> /dev/null || true
    done
}

# in_background NAME ARGUMENT…: run-folder with its output in NAME; its pid in $pid. The container
# prints "ready" first.
in_background() {
    local out=$BATS_TEST_TMPDIR/$1
    shift
    run-folder "$@" > "$out" 2>&1 &
    pid=$!
    background+=("$pid")
    for _ in $(seq 200); do
        grep -q ready "$out" && return 0
        sleep 0.05
    done
    cat "$out"
    return 1
}

# Cgroups whose runner is gone (nobody holds their range), and mounts. Other containers on this
# machine do not count.
leftovers() {
    local group
    for group in /sys/fs/cgroup/*/bulla/range-*; do
        [ -d "$group" ] || continue
        flock -n "/run/bulla/${group##*/}" true && echo "$group"
    done
    grep bulla /proc/self/mountinfo | grep -v cgroup || true
}

wait_gone() {
    for _ in $(seq 100); do
        kill -0 "$1" 2> /dev/null || return 0
        sleep 0.05
    done
    return 1
}

has_controller() {
    grep -qE " - cgroup [^ ]+ ([^ ]*,)?$1(,|\$)" /proc/self/mountinfo ||
        skip "no cgroup v1 controller '$1' here: cgroup v2 is not supported yet"
}

@test "a fork bomb ends at the limit: 512 by default" {
    has_controller pids
    run timeout 60 run-folder "$root" -- probe fork-bomb
    # init and the probe itself count too.
    expect 0 "510 EAGAIN"
    run timeout 60 run-folder --pids-limit 20 "$root" -- probe fork-bomb
    expect 0 "18 EAGAIN"
    run timeout 60 run-folder --pids-limit 20 -u 1000:1000 "$root" -- probe fork-bomb
    expect 0 "18 EAGAIN"
    run timeout 60 run-folder --pids-limit -1 "$root" -- sh -c 'cat /proc/self/cgroup | grep -c pids:/$'
    [ "$status" -eq 0 ]
}

@test "memory over the limit ends the command, below it does not" {
    has_controller memory
    run run-folder --memory 64m "$root" -- probe memory 32
    expect 0 allowed
    run timeout 60 run-folder --memory 64m "$root" -- probe memory 128
    expect 137 ""
    # A file in memory counts too.
    run timeout 60 run-folder --memory 64m "$root" -- sh -c 'dd if=/dev/zero of=/tmp/x bs=1M count=128 2> /dev/null; echo after'
    [ "$status" -ne 0 ] || [ "$output" = after ]
    [ -z "$(leftovers)" ]
}

@test "CPU time is limited" {
    has_controller cpu
    in_background out --cpus 0.25 "$root" -- sh -c 'echo ready; while :; do :; done'
    index=$(echo /sys/fs/cgroup/cpu*/"$(awk -F: '$2 ~ /^cpu(,|$)/ {print $3}' "/proc/$(pgrep -P "$pid")/cgroup")")
    [ "$(cat "$index/cpu.cfs_quota_us")" = 25000 ]
    [ "$(cat "$index/cpu.cfs_period_us")" = 100000 ]
    [ "$(wc -l < "$index/cgroup.procs")" -ge 2 ]
    sleep 2
    inner=$(tail -1 "$index/cgroup.procs")
    ticks=$(awk '{print $14 + $15}' "/proc/$inner/stat")
    # Two seconds at a quarter are 50 ticks; unlimited they would be about 200.
    [ "$ticks" -lt 90 ]
    kill -TERM "$pid"
    wait "$pid" || true
}

@test "malformed limits" {
    for option in "--memory 1k" "--memory x" "--memory 99999999999999999999" "--memory -1" "--cpus 0" \
        "--cpus -1" "--cpus 1.2345" "--cpus x" "--cpus 99999" "--pids-limit x" "--pids-limit -2" \
        "--pids-limit 99999999999"; do
        # shellcheck disable=SC2086 # two words
        run run-folder $option "$root" -- true
        echo "$option: $status $output"
        [ "$status" -eq 125 ]
    done
}

@test "descriptors and core files" {
    run run-folder "$root" -- sh -c 'ulimit -Sn; ulimit -c; ulimit -Hc'
    expect 0 "1024
0
0"
}

@test "two containers at once: other ids, other processes, other names" {
    in_background one "$root" -- sh -c 'echo ready; cat /proc/self/uid_map; sleep 20'
    first=$pid
    in_background two "$root" -- sh -c 'echo ready; cat /proc/self/uid_map; ps; sleep 20'
    base_one=$(awk 'NF == 3 {print $2; exit}' "$BATS_TEST_TMPDIR/one")
    base_two=$(awk 'NF == 3 {print $2; exit}' "$BATS_TEST_TMPDIR/two")
    [ -n "$base_one" ] && [ -n "$base_two" ] && [ "$base_one" != "$base_two" ]
    [ $(((base_one - base_two) % 65536)) -eq 0 ]
    kill -TERM "$first" "$pid"
    wait "$first" "$pid" || true
    [ -z "$(leftovers)" ]
}

@test "ids that the host gives to somebody are passed over" {
    # In a mount namespace of its own: the host's files stay as they are.
    cp /etc/subuid "$BATS_TEST_TMPDIR/subuid" 2> /dev/null || true
    echo "somebody:1879048192:131072" >> "$BATS_TEST_TMPDIR/subuid"
    touch /etc/subuid
    run unshare -m bash -c "mount --bind '$BATS_TEST_TMPDIR/subuid' /etc/subuid; run-folder '$root' -- cat /proc/self/uid_map"
    [ "$status" -eq 0 ]
    read -r _ base _ <<< "$output"
    [ "$base" -ge $((1879048192 + 131072)) ]
}

@test "a killed runner takes its container along; the next start sweeps what it left" {
    in_background out --memory 64m "$root" -- sh -c 'echo ready; sleep 1000'
    inner=$(pgrep -P "$pid")
    kill -9 "$pid"
    wait "$pid" 2> /dev/null || true
    wait_gone "$inner"
    # Its cgroups have no one to remove them, until:
    run run-folder --memory 64m "$root" -- true
    expect 0 ""
    [ -z "$(leftovers)" ]
}

@test "what several killed runners left is swept by one start" {
    has_controller pids
    in_background one "$root" -- sh -c 'echo ready; sleep 1000'
    first=$pid
    in_background two "$root" -- sh -c 'echo ready; sleep 1000'
    second=$pid
    in_background three "$root" -- sh -c 'echo ready; sleep 1000'
    kill -9 "$first" "$second"
    wait "$first" "$second" 2> /dev/null || true
    [ "$(leftovers | wc -l)" -ge 2 ]
    run run-folder "$root" -- true
    expect 0 ""
    [ -z "$(leftovers)" ]
    # The one that still runs keeps its own.
    group=$(awk -F: '$2 == "pids" {print $3}' "/proc/$(pgrep -P "$pid")/cgroup")
    [ -d "/sys/fs/cgroup/pids$group" ]
    kill -TERM "$pid"
    wait "$pid" || true
    [ -z "$(leftovers)" ]
}

@test "a cgroup that somebody else's process sits in is emptied before its range is used again" {
    has_controller pids
    for _ in 1 2 3; do
        in_background out "$root" -- sh -c 'echo ready; sleep 1000'
        kill -9 "$pid"
        run run-folder "$root" -- true
        expect 0 ""
    done
    [ -z "$(leftovers)" ]
}

@test "nothing is left after a start that failed" {
    run run-folder -u nobody-here "$root" -- true
    [ "$status" -eq 125 ]
    run -127 run-folder "$root" -- no-such-command
    run run-folder -v /etc:/proc/x "$root" -- true
    [ "$status" -eq 125 ]
    mkdir -p "$BATS_TEST_TMPDIR/empty"
    run -127 run-folder "$BATS_TEST_TMPDIR/empty" -- /x
    [ -z "$(leftovers)" ]
}
