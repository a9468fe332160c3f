#!/usr/bin/env bash
# Pull and unpack of a Debian minbase image: bulla (verified, re-checkable) beside skopeo into containers-storage,
# umoci, tar. Budget: ≥ 4 × skopeo. Usage: bench/pull.sh [RUNS]   BULLA_BENCH_ROOTFS: a tar made before
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
runs=${1:-5}
bench_need skopeo umoci jq
bench_build
bench_registry
debian_tar "$work/debian.tar"
bench_image "$work/debian.tar" debian
mkdir -p "$work/certs"
cp "$ca" "$work/certs/ca.crt"
skopeo copy -q --src-cert-dir "$work/certs" --src-authfile "$REGISTRY_AUTH_FILE" "docker://$host/bench/debian:v1" \
    "oci:$work/layout:v1"
layer=$(jq -r '.layers[0].digest' "$work/layout/blobs/sha256/$(jq -r '.manifests[0].digest' "$work/layout/index.json" | cut -d: -f2)")

bulla_pull() {
    rm -rf "$BULLA_HOME/images"
    bulla --cacert "$ca" pull "$host/bench/debian:v1"
}
skopeo_pull() {
    umount "$work/storage/overlay" 2> /dev/null || true
    rm -rf "$work/storage" "$work/storage-run"
    skopeo copy -q --src-cert-dir "$work/certs" --src-authfile "$REGISTRY_AUTH_FILE" "docker://$host/bench/debian:v1" \
        "containers-storage:[overlay@$work/storage+$work/storage-run]bench/debian:v1"
}
umoci_unpack() {
    rm -rf "$work/bundle"
    umoci unpack --image "$work/layout:v1" "$work/bundle"
}
trap 'umount "$work/storage/overlay" 2> /dev/null; bench_cleanup' EXIT
tar_unpack() {
    rm -rf "$work/tar"
    mkdir "$work/tar"
    zcat "$work/layout/blobs/sha256/${layer#sha256:}" | tar -C "$work/tar" -x
}
ours=$(median_ms "$runs" bulla_pull)
echo "Debian minbase, median of $runs: ms, ratio to bulla"
row "bulla pull (verify, download, unpack, record)" "$ours" ms "$ours"
row "skopeo copy to containers-storage" "$(median_ms "$runs" skopeo_pull)" ms "$ours"
row "umoci unpack (local, no download)" "$(median_ms "$runs" umoci_unpack)" ms "$ours"
row "zcat | tar x (local, no check)" "$(median_ms "$runs" tar_unpack)" ms "$ours"
