#!/usr/bin/env bash
# Runs two clauses of the contract of the log on the double of EventStoreDB behind TLS, as the connection string asks for
# it: with a certificate authority of its own, with no verification, and, which must fail, with neither: tls.sh [features].
# Needs openssl and python3.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
# Those of `make engines` are given by it, so that nothing is built twice.
features=${1:-testing,kafka,eventstore,postgres}
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-$PWD/target}
folder=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -r "$folder"' EXIT

"$cargo" build --locked --package events --example eventstore-double --features testing

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj "/CN=authority of a test" \
    -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout "$folder/key.pem" -out "$folder/request.pem" 2>/dev/null
openssl x509 -req -days 1 -in "$folder/request.pem" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial \
    -extfile <(echo "subjectAltName=DNS:localhost") -out "$folder/certificate.pem" 2>/dev/null

exec {double}< <(exec "$target/debug/examples/eventstore-double")
pids+=($!)
read -r -t 30 url <&"$double"
port=${url##*:}
exec {tls}< <(exec python3 "$here/tls.py" "${port%%\?*}" "$folder/certificate.pem" "$folder/key.pem")
pids+=($!)
read -r -t 30 port <&"$tls"

clauses=(eventstore::log::an_append_with_any_revision_is_read_back_whole
    eventstore::log::a_subscription_neither_misses_nor_repeats_under_concurrent_writers)
suite() { # suite OPTION: the clauses over a connection with this option; their output is kept in a file, too
    echo "connection: $1"
    LETOPIS_TEST_EVENTSTORE_URL="esdb://admin:changeit@localhost:$port?$1" "$cargo" test --locked --package events \
        --test engines --features "$features" -- --exact "${clauses[@]}" | tee "$folder/output.txt"
}
# Names that match no test would pass, too.
ended() { # ended RESULT: all clauses ended so
    grep -q "^test result: $1;" "$folder/output.txt" && return
    cat "$folder/output.txt" >&2
    echo "not all clauses ended so: $1" >&2
    exit 1
}
for option in "tlsCaFile=$folder/ca.pem" "tlsVerifyCert=false"; do
    suite "$option"
    ended "ok. ${#clauses[@]} passed"
done
if suite "discoveryInterval=10" >/dev/null 2>&1; then
    echo "a certificate that nobody vouches for was taken" >&2
    exit 1
fi
ended "FAILED. 0 passed; ${#clauses[@]} failed"
echo "a certificate that nobody vouches for is refused: ok"
