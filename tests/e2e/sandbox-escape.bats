# What a container must not be able to do, beside what it must.
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

# both WANTED PROBE…: the probe's answer to root and to a user of the container.
both() {
    local wanted=$1
    shift
    run run-folder "$root" -- probe "$@"
    expect 0 "$wanted"
    run run-folder -u 1000:1000 "$root" -- probe "$@"
    expect 0 "$wanted"
}

@test "keyrings: denied, and the runner's session keyring is not inherited" {
    both EPERM keyctl
    both EPERM add-key
    # The key list is covered, and so are the limits of others' keyrings.
    both empty read /proc/keys
}

@test "mounts: denied; so is undoing what is covered" {
    both EPERM mount
    both EPERM remount
    both EPERM umount /proc/keys
    both EPERM umount /tmp
    both EPERM open-tree
}

@test "new namespaces: denied; plain processes work" {
    both allowed fork
    both EPERM unshare-user
    both EPERM clone-user
    both EPERM setns
    # ENOSYS, not EPERM: the C library then uses clone.
    both ENOSYS clone3
}

@test "bpf, perf, io_uring, userfaultfd, modules, reboot, handles: denied" {
    both EPERM bpf
    both EPERM perf
    both EPERM io-uring
    both EPERM userfaultfd
    both EPERM module
    both EPERM reboot
    both EPERM handle
    both EPERM hostname other
}

@test "calls newer than the profile do not exist" {
    both ENOSYS call 451
    both ENOSYS call 999
}

@test "calls of other architectures end the process" {
    [ "$(uname -m)" = x86_64 ] || skip "x32 exists on x86-64 only"
    # SIGSYS: 128 + 31.
    run run-folder "$root" -- probe call 0x40000027
    expect 159 ""
}

@test "personality: only harmless ones" {
    both allowed personality 0
    both allowed personality 0xffffffff
    both ENOSYS personality 0x40000
    both ENOSYS personality 0x400000
}

@test "sockets: ordinary ones work; raw, packet, AF_ALG and AF_VSOCK do not" {
    both allowed inet-socket
    both EPERM raw-socket
    both EPERM packet-socket
    both EAFNOSUPPORT alg-socket
    both EAFNOSUPPORT alg-socket-high
    both EAFNOSUPPORT vsock
}

@test "terminals: a new one works; faking input or pasting does not" {
    both allowed terminal
    both EPERM tiocsti
    both EPERM tiocsti-high
    both EPERM tioclinux
}

@test "ptrace: own children only; not bulla-init" {
    both allowed ptrace-own
    both EPERM ptrace 1
}

@test "bulla-init is out of reach" {
    both EACCES readlink /proc/1/exe
    both EACCES read /proc/1/exe
    both EACCES open-write /proc/1/exe
    both EACCES read /proc/1/environ
    both EACCES open-write /proc/1/mem
}

@test "/proc and /sys: no switch of the host" {
    for file in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname \
        /proc/sys/vm/drop_caches /proc/irq/default_smp_affinity /proc/kcore /proc/1/oom_score_adj; do
        for user in 0:0 1000:1000; do
            run run-folder -u $user "$root" -- probe open-write "$file"
            [ "$status" -eq 0 ]
            [[ "$output" =~ ^(EROFS|ENOENT|EACCES|EPERM)$ ]]
        done
    done
    for file in /proc/interrupts /proc/kallsyms /proc/kmsg /proc/timer_list; do
        [ ! -e "$file" ] || both empty read "$file"
    done
    run run-folder "$root" -- probe read /proc/kcore
    [[ "$output" =~ ^(empty|ENOENT)$ ]]
    run run-folder "$root" -- sh -c 'ls -A /sys/firmware /proc/acpi 2> /dev/null | grep -v : | grep .'
    [ -z "$output" ]
    both EROFS create /sys/x
    # What concerns the container itself works.
    both allowed read /proc/self/status
    both allowed read /proc/cpuinfo
}

@test "cgroups: no release agent, no mount" {
    run run-folder "$root" -- sh -c 'find / -name release_agent 2> /dev/null | grep .; mkdir -p /tmp/c; mount -t cgroup none /tmp/c; ls -A /sys/fs/cgroup'
    expect_line 0 "permission denied"
    [[ "$output" != *release_agent* ]]
    # In a namespace of its own a container's cgroup is the root.
    run run-folder "$root" -- grep -E ':(pids|memory):' /proc/self/cgroup
    [[ "$output" == *:pids:/* ]]
    [[ "$output" != *bulla* ]]
}

@test "abstract sockets: the container's own work, the host's cannot be reached" {
    name=bulla-test-$$
    sandbox-probe serve-abstract $name > "$BATS_TEST_TMPDIR/out" &
    server=$!
    for _ in $(seq 100); do
        grep -q listening "$BATS_TEST_TMPDIR/out" && break
        sleep 0.05
    done
    both ECONNREFUSED abstract $name
    both allowed abstract-own $name
    kill $server
}

@test "network: the loopback of its own, nothing else" {
    run run-folder "$root" -- sh -c 'ls /sys/class/net; ip addr show lo | grep -c "inet 127.0.0.1"'
    expect 0 "lo
1"
    run run-folder "$root" -- sh -c 'ip route'
    expect 0 ""
}

@test "processes: only its own" {
    run run-folder "$root" -- sh -c 'ls -d /proc/[0-9]* | wc -l'
    [ "$output" -le 4 ]
    run run-folder "$root" -- kill -0 1
    expect 0 ""
    run run-folder "$root" -- sh -c 'kill -9 1; echo alive'
    expect 0 alive
}

@test "descriptors: 0, 1 and 2 only" {
    exec 7< /etc/passwd 9< /
    both "0 1 2 " descriptors
    exec 7<&- 9<&-
    # Also of bulla-init, as far as its own children may see.
    run run-folder "$root" -- ls /proc/1/fd
    expect_line 1 "Permission denied"
}

@test "a folder the caller stands in is no way out" {
    cd /etc
    run run-folder "$root" -- sh -c 'cd -P . ; pwd; cat /proc/self/cwd/shadow'
    [[ "$output" == "/
"*"No such file"* ]]
}

@test "capabilities: a short list for root, none for others" {
    run run-folder "$root" -- grep Cap /proc/self/status
    [ "$(tr -d '\t' <<< "$output")" = "CapInh:0000000000000000
CapPrm:00000000800405fb
CapEff:00000000800405fb
CapBnd:00000000800405fb
CapAmb:0000000000000000" ]
    run run-folder -u 1000:1000 "$root" -- grep Cap /proc/self/status
    [ "$(tr -d '\t' <<< "$output" | sort -u -t: -k2)" = "CapInh:0000000000000000" ]
    run run-folder "$root" -- probe setuid 5
    expect 0 allowed
    run run-folder -u 1000:1000 "$root" -- probe setuid 0
    expect 0 EPERM
    run run-folder -u 1000:1000 "$root" -- probe chroot /tmp
    expect 0 EPERM
}

@test "setuid programs gain nothing" {
    cp "$root/bin/probe" "$root/bin/setuid-probe"
    chmod 6755 "$root/bin/setuid-probe"
    run run-folder -u 1000:1000 "$root" -- setuid-probe ids
    expect 0 "1000 1000 1000 1000"
    run run-folder "$root" -- grep -E 'NoNewPrivs|Seccomp:' /proc/self/status
    [ "$(tr -d '\t' <<< "$output")" = "NoNewPrivs:1
Seccomp:2" ]
    # One made in the container is as void.
    run run-folder "$root" -- sh -c 'cat /bin/probe > /tmp/p; chmod 4755 /tmp/p; /tmp/p ids; grep " /tmp " /proc/mounts | grep -c nosuid'
    expect 0 "0 0 0 0
1"
    rm "$root/bin/setuid-probe"
}

@test "every mount is nosuid, and nodev but for the devices" {
    run run-folder "$root" -- sh -c 'grep -v nosuid /proc/mounts; grep -v nodev /proc/mounts | grep -v -E " /(dev|proc)/[a-z_]+ | /dev "; true'
    expect 0 ""
}

@test "root in the container is nobody special outside" {
    run-folder "$root" -- sleep 30 &
    pid=$!
    for _ in $(seq 100); do
        inner=$(pgrep -P $pid bulla-init || pgrep -P $pid || true)
        [ -n "$inner" ] && uid=$(awk '/^Uid:/ {print $2}' "/proc/$inner/status" 2> /dev/null) || continue
        [ "${uid:-0}" -ge 1879048192 ] && break
        sleep 0.05
    done
    kill -9 $pid
    wait $pid 2> /dev/null || true
    [ "$uid" -ge 1879048192 ]
}

@test "the root is read-only; /tmp, /run and /var/tmp are not" {
    both EROFS create /new
    both EROFS create /etc/new
    both EROFS create /dev/new
    both allowed create /tmp/new
    both allowed create /var/tmp/new
    both allowed create /dev/shm/new
    run run-folder "$root" -- probe create /run/new
    expect 0 allowed
    run run-folder "$root" -- dd if=/dev/zero of=/tmp/big bs=1M count=300
    expect_line 1 "No space left"
    [ -z "$(ls -A "$root/tmp")" ]
}

@test "--tmpfs: size and mode" {
    run run-folder --tmpfs /tmp:size=64k,mode=700 "$root" -- sh -c 'stat -c %a /tmp; dd if=/dev/zero of=/tmp/x bs=1k count=128 2>&1'
    expect_line 1 "No space left"
    [[ "$output" == 700* ]]
    run run-folder --tmpfs /scratch "$root" -- sh -c 'echo x > /scratch/x; cat /scratch/x'
    expect 0 x
    run run-folder --tmpfs /scratch:exec "$root" -- true
    expect_line 125 "unknown tmpfs option"
}

@test "devices: the harmless ones, nothing to make" {
    run run-folder "$root" -- sh -c 'ls /dev; echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c'
    expect 0 "fd
full
mqueue
null
ptmx
pts
random
shm
stderr
stdin
stdout
tty
urandom
zero
3
3"
    both EPERM mknod /tmp/null
}
