# shellcheck shell=bash disable=SC2154 # status and output are set by bats' run
# Shared by the sandbox tests: a small root with busybox and the probe.

# make_root DIR: the folders every image has, busybox under the usual names, the probe.
make_root() {
    local root=$1 name
    mkdir -p "$root"/{bin,etc,tmp,var/tmp,run,proc,sys,dev,home/ann}
    cp "$(command -v busybox)" "$root/bin/busybox"
    cp "$(command -v sandbox-probe)" "$root/bin/probe"
    for name in sh cat echo false true id ls ps pwd env sleep kill mount grep hostname mkdir touch \
        stat wc dd ip head readlink; do
        ln -s busybox "$root/bin/$name"
    done
    printf '%s\n' root:x:0:0:root:/root:/bin/sh ann:x:1000:1000:Ann:/home/ann:/bin/sh \
        > "$root/etc/passwd"
    printf '%s\n' root:x:0: ann:x:1000: staff:x:50:ann,bob audio:x:29:bob,ann > "$root/etc/group"
}

need_root() {
    if [ "$(id -u)" -ne 0 ]; then
        skip "needs root: rootless containers are not available yet"
    fi
}

# expect STATUS TEXT: of the last `run`; TEXT is all of the output.
expect() {
    if [ "$status" -ne "$1" ] || [ "$output" != "$2" ]; then
        echo "status $status, wanted $1; output: $output; wanted: $2"
        return 1
    fi
}

# expect_line STATUS PART: the output contains PART.
expect_line() {
    if [ "$status" -ne "$1" ] || [[ "$output" != *"$2"* ]]; then
        echo "status $status, wanted $1; output: $output; wanted in it: $2"
        return 1
    fi
}
