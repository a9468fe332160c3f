#!/usr/bin/env bash
# Push and pull of an image of ten layers of 32 MiB over TLS to one bulla-registry: bulla beside skopeo and podman, in
# turn. Pulls verify every digest and end in a local store; bulla's also verifies the signature. Fresh repositories
# for pushes (nothing to mount: the registry's blobs go with them), fresh stores for pulls.
# Usage: bench/transfer.sh [RUNS]   BULLA_BENCH_PARALLEL: what bulla gets as --parallel
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
runs=${1:-5} layers=10 mib=32
bench_need skopeo podman jq
bench_build
bench_registry
mkdir -p "$work/certs" "$work/layout/blobs/sha256"
cp "$ca" "$work/certs/ca.crt"

blob() { # FILE: moves it into the layout; prints digest and size as members
    local hex size
    hex=$(sha256sum < "$1" | cut -d ' ' -f 1)
    size=$(stat -c %s "$1")
    mv "$1" "$work/layout/blobs/sha256/$hex"
    printf '"digest":"sha256:%s","size":%s' "$hex" "$size"
}
make_layout() { # random layers, as tars: what compresses would measure compressors
    local i list=() ids=()
    for ((i = 0; i < layers; i++)); do
        mkdir "$work/layer"
        head -c "${mib}M" /dev/urandom > "$work/layer/file$i"
        tar -C "$work/layer" --mtime=@0 --owner=0 --group=0 -cf "$work/one.tar" .
        ids+=("\"sha256:$(sha256sum < "$work/one.tar" | cut -d ' ' -f 1)\"")
        list+=("{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",$(blob "$work/one.tar")}")
        rm -r "$work/layer"
    done
    local IFS=,
    printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%s]}}' "${ids[*]}" > "$work/config"
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},"layers":[%s]}' \
        "$(blob "$work/config")" "${list[*]}" > "$work/manifest"
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}' \
        "$(blob "$work/manifest")" > "$work/layout/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' > "$work/layout/oci-layout"
}
make_layout
flags=()
[[ -z ${BULLA_BENCH_PARALLEL:-} ]] || flags=(--parallel "$BULLA_BENCH_PARALLEL")
storage=(--root "$work/podman" --runroot "$work/podman-run" --storage-driver vfs)
n=0

# Each push finds a registry without these blobs: as it was before the first one. Not measured.
empty_registry() {
    local pid=${bench_pids[-1]}
    kill -TERM "$pid"
    wait "$pid" || true
    [[ -d $work/registry.empty ]] || cp -a "$work/registry" "$work/registry.empty"
    rm -rf "$work/registry"
    cp -a "$work/registry.empty" "$work/registry"
    sed -i "s/^listen:.*/listen: \"$host\"/" "$work/registry/registry.yaml"
    : > "$work/out"
    bulla-registry serve --config "$work/registry/registry.yaml" > "$work/out" 2> "$work/log" &
    bench_pids[-1]=$!
    until grep -q '^listening on' "$work/out"; do sleep 0.02; done
}
measure() { # FILE COMMAND…: appends its time in ms
    local file=$1 start
    shift
    start=$EPOCHREALTIME
    "$@" > /dev/null 2> "$work/stderr" || {
        cat "$work/stderr" >&2
        exit 1
    }
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }' >> "$file"
}
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

bulla_push() { bulla --cacert "$ca" push "${flags[@]}" "oci:$work/layout:v1" "$host/bench/b$n:v1"; }
skopeo_push() {
    skopeo copy -q --preserve-digests --dest-cert-dir "$work/certs" --authfile "$REGISTRY_AUTH_FILE" "oci:$work/layout:v1" \
        "docker://$host/bench/s$n:v1"
}
podman_push() {
    podman "${storage[@]}" push -q --cert-dir "$work/certs" --authfile "$REGISTRY_AUTH_FILE" localhost/bench/big:v1 \
        "docker://$host/bench/p$n:v1"
}
bulla_pull() { bulla --cacert "$ca" pull "${flags[@]}" "$host/bench/big:v1"; }
skopeo_pull() {
    skopeo copy -q --preserve-digests --src-cert-dir "$work/certs" --authfile "$REGISTRY_AUTH_FILE" \
        "docker://$host/bench/big:v1" "oci:$work/pulled:v1"
}
podman_pull() {
    podman "${storage[@]}" pull -q --cert-dir "$work/certs" --authfile "$REGISTRY_AUTH_FILE" "$host/bench/big:v1"
}

skopeo copy -q "oci:$work/layout:v1" "containers-storage:[vfs@$work/podman+$work/podman-run]localhost/bench/big:v1"
for ((n = 0; n < runs; n++)); do
    for who in bulla skopeo podman; do
        empty_registry
        rm -rf "$BULLA_HOME/images"
        measure "$work/push.$who" "${who}_push"
    done
done
empty_registry
bulla --cacert "$ca" push "oci:$work/layout:v1" "$host/bench/big:v1" > /dev/null
bulla --cacert "$ca" trust init "$host/bench/big" --root-key bench > /dev/null 2>&1
bulla --cacert "$ca" sign "$host/bench/big:v1" --key bench > /dev/null
for ((n = 0; n < runs; n++)); do
    rm -rf "$BULLA_HOME/images"
    measure "$work/pull.bulla" bulla_pull
    rm -rf "$work/pulled"
    measure "$work/pull.skopeo" skopeo_pull
    podman "${storage[@]}" rmi -af > /dev/null 2>&1
    measure "$work/pull.podman" podman_pull
done
for what in push pull; do
    echo "$what of $layers layers of $mib MiB, median of $runs: ms, ratio to bulla"
    ours=$(median "$work/$what.bulla")
    for who in bulla skopeo podman; do row "$who" "$(median "$work/$what.$who")" ms "$ours"; done
done
