#!/usr/bin/env bash
# Mixed pushes, pulls, tag moves, deletes, signing, garbage collection and backups by several clients at once, while
# the server is killed at random; then: is everything that was acknowledged there and intact, and does everything
# that was deleted stay so? Usage: soak.sh [--seconds N] [--seed S] [--clients N] [--kill-every S] [--keep]
#   BULLA_BUILD=DIR   use the programs of that build folder; default: build/release, built first
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -z ${BULLA_BUILD:-} ]]; then
    cmake --preset release -S "$top" > /dev/null
    cmake --build "$top/build/release" --target programs disk-shim > /dev/null
    export BULLA_BUILD=$top/build/release
fi
for name in python3 "$BULLA_BUILD/bin/bulla-registry"; do
    command -v "$name" > /dev/null || {
        echo "soak: '$name' is missing" >&2
        exit 3
    }
done
export PATH=$BULLA_BUILD/bin:$PATH PYTHONDONTWRITEBYTECODE=1
exec python3 "$top/bench/soak/soak.py" "$@"
