#!/usr/bin/env bash
# Lets the official Node and Python clients drive the double of EventStoreDB: clients.sh <cache folder>.
# With LETOPIS_TEST_EVENTSTORE_URL set they drive that server instead. Needs node, npm and python3; fails without them.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../../.." && pwd)
cache=${1:?usage: clients.sh <cache folder>}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

cp "$here/package.json" "$here/check.mjs" "$cache/"
(cd "$cache" && npm install --no-audit --no-fund --no-package-lock --ignore-scripts --silent)
[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
"$cache/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

url=${LETOPIS_TEST_EVENTSTORE_URL:-}
if [ -z "$url" ]; then
    (cd "$repository" && cargo build --locked --package events --example eventstore-double --features testing)
    target=${CARGO_TARGET_DIR:-$repository/target}
    exec {double}< <(exec "$target/debug/examples/eventstore-double")
    pid=$!
    trap 'kill "$pid"' EXIT
    read -r -t 30 url <&"$double" || { echo "the double did not start" >&2; exit 1; }
    echo "engine: double of EventStoreDB at $url"
else
    echo "engine: the server of LETOPIS_TEST_EVENTSTORE_URL"
fi

node "$cache/check.mjs" "$url"
"$cache/venv/bin/python" "$here/check.py" "$url"
