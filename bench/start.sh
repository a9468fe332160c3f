#!/usr/bin/env bash
# Start of a container: `bulla run` with everything it checks, beside bubblewrap, runc and podman, which check
# nothing. Budget: busybox ≤ 2.5 × bubblewrap, ≤ 0.4 × runc, ≤ 0.1 × podman; Debian minbase ≤ 1.5 × runc.
# Usage: bench/start.sh [RUNS]   BULLA_BENCH_ROOTFS: a Debian minbase tar made before
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
runs=${1:-31}
bench_need bwrap runc podman jq busybox
bench_build
bench_registry

bundle() { # DIR: an OCI bundle for runc of the root in DIR/rootfs
    (cd "$1" && runc spec && jq '.process.terminal = false | .process.args = ["/bin/true"] | .root.readonly = true' \
        config.json > c && mv c config.json)
}

busybox_root "$work/busybox/rootfs"
bench_image "$work/busybox/rootfs" busybox
bundle "$work/busybox"
debian_tar "$work/debian.tar"
mkdir -p "$work/debian/rootfs"
tar -C "$work/debian/rootfs" --exclude=./dev/\* -xf "$work/debian.tar"
bench_image "$work/debian.tar" debian
bundle "$work/debian"

bulla_run() { bulla --cacert "$ca" run "$host/bench/$1:v1"; }
bwrap_run() { bwrap --unshare-all --ro-bind "$work/$1/rootfs" / --dev /dev --proc /proc --tmpfs /tmp /bin/true; }
runc_run() { runc --root "$work/runc" run --bundle "$work/$1" "bench$RANDOM$RANDOM"; }
podman_run() {
    podman --root "$work/podman" --runroot "$work/podman-run" --runtime runc --storage-driver vfs \
        --cgroup-manager cgroupfs run --rm --network none --rootfs "$work/$1/rootfs" /bin/true
}
for image in busybox debian; do
    bulla_run "$image" # pulls, and checks every byte once
    ours=$(median_ms "$runs" bulla_run "$image")
    echo "$image, /bin/true, median of $runs: ms, ratio to bulla"
    row "bulla run (policy, verdict, layers re-checked)" "$ours" ms "$ours"
    row "bwrap --unshare-all" "$(median_ms "$runs" bwrap_run "$image")" ms "$ours"
    row "runc run" "$(median_ms "$runs" runc_run "$image")" ms "$ours"
    if podman_run "$image" > /dev/null 2>&1; then
        row "podman run --runtime runc" "$(median_ms 7 podman_run "$image")" ms "$ours"
    else
        echo "  podman cannot run here"
    fi
done
