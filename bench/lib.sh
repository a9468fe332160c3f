# Shared by the bench scripts: a scratch folder with registry, user, key and images; medians and tables.
# shellcheck shell=bash
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/bulla-bench.XXXXXX")
bench_pids=()
bench_cleanup() {
    local pid
    for pid in "${bench_pids[@]}"; do
        kill -TERM "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    done
    rm -rf "$work"
}
trap bench_cleanup EXIT

bench_build() {
    cmake --preset release -S "$top" > /dev/null
    cmake --build "$top/build/release" --target programs > /dev/null
    export PATH=$top/build/release/bin:$PATH
}

bench_need() { # COMMAND…: says what is missing and ends
    local name missing=()
    for name; do command -v "$name" > /dev/null || missing+=("$name"); done
    ((${#missing[@]} == 0)) || {
        echo "bench: install first: ${missing[*]}" >&2
        exit 3
    }
}

bench_registry() { # starts bulla-registry: sets host, ca; logged in, key 'bench', policy allows it
    echo "bench password" > "$work/secret"
    chmod 600 "$work/secret"
    export BULLA_HOME=$work/home BULLA_POLICY=$work/policy.json REGISTRY_AUTH_FILE=$work/auth.json
    export BULLA_PASSPHRASE_FILE=$work/secret
    bulla-registry init "$work/registry" --listen 127.0.0.1:0 --admin bench --password-stdin < "$work/secret" > /dev/null
    bulla-registry serve --config "$work/registry/registry.yaml" > "$work/out" 2> "$work/log" &
    bench_pids+=($!)
    host='' ca=$work/registry/ca.crt
    while [[ -z $host ]]; do
        sleep 0.05
        host=$(sed -n 's/^listening on //p' "$work/out")
    done
    bulla --cacert "$ca" login "$host" --username bench --password-stdin < "$work/secret" > /dev/null
    bulla key generate bench > /dev/null
    bulla policy allow "$host" --root-key "$(bulla key show bench --json | jq -r .keyid)" > /dev/null
}

bench_image() { # ROOT NAME: imports, pushes, signs HOST/bench/NAME:v1
    bulla import "$1" "bench/$2:v1" --cmd '["/bin/true"]' 2> /dev/null > /dev/null
    bulla --cacert "$ca" push "store:bench/$2:v1" "$host/bench/$2:v1" > /dev/null
    bulla --cacert "$ca" trust init "$host/bench/$2" --root-key bench 2> /dev/null > /dev/null
    bulla --cacert "$ca" sign "$host/bench/$2:v1" --key bench > /dev/null
}

busybox_root() { # DIR
    mkdir -p "$1/bin" "$1/tmp" "$1/proc" "$1/dev" "$1/sys" "$1/etc"
    cp "$(command -v busybox)" "$1/bin/busybox"
    local name
    for name in $("$1/bin/busybox" --list); do
        [[ $name == busybox ]] || ln -sf busybox "$1/bin/$name"
    done
}

debian_tar() { # FILE: BULLA_BENCH_ROOTFS or mmdebstrap
    if [[ -n ${BULLA_BENCH_ROOTFS:-} ]]; then
        cp "$BULLA_BENCH_ROOTFS" "$1"
    else
        mmdebstrap --variant=minbase bookworm "$1" > "$work/mmdebstrap.log" 2>&1
    fi
}

median_ms() { # RUNS COMMAND…: median wall time in ms; the command must succeed
    local runs=$1 i start
    shift
    for ((i = 0; i < runs; i++)); do
        start=$EPOCHREALTIME
        "$@" > /dev/null 2> "$work/stderr" || {
            cat "$work/stderr" >&2
            return 1
        }
        awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", (b - a) * 1000 }'
    done | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

row() { # LABEL VALUE UNIT BASE: BASE is the figure the ratio is against
    awk -v l="$1" -v v="$2" -v u="$3" -v b="$4" 'BEGIN { printf "  %-44s %10.1f %-5s %6.2f\n", l, v, u, v / b }'
}
