#!/usr/bin/env bash
# The contract suites and the stories on real servers, Apache Kafka and PostgreSQL, and on the double of EventStoreDB, whose
# contract and clients run on the server that LETOPIS_TEST_EVENTSTORE_URL names, if any. Starts what it needs and stops it.
# Skips nothing that it could run; what is about the files of the embedded engines is named below.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/engines/servers.sh

cargo=${CARGO:-cargo}
began=$SECONDS
suites=()
run() { # run NAME COMMAND...
    local name=$1 from=$SECONDS
    shift
    engines_say "$name"
    "$@" || engines_fail "$name: failed"
    suites+=("$(printf '%-80s %5d s' "$name" $((SECONDS - from)))")
}
suite() { run "$1" engines_tests "${@:2}"; } # suite NAME COMMAND...: tests by cargo, of which one at least must run

engines_begin
engines_openssl
engines_postgres
export LETOPIS_TEST_POSTGRES_URL=$POSTGRES_URL
engines_kafka one 1 secured
one=$KAFKA_BROKERS
engines_kafka three 3
three=$KAFKA_BROKERS

# Always with TLS, so that librdkafka is built once for all of these; the other suites share the build of `make test`.
features=testing,kafka-tls,eventstore,postgres
contracts=("$cargo" test --locked -p events --features "$features" --test engines --)
export LETOPIS_TEST_KAFKA_BROKERS=$one
export CARGO=$cargo
eventstore="double of EventStoreDB"
[[ -z ${LETOPIS_TEST_EVENTSTORE_URL:-} ]] || eventstore="EventStoreDB of LETOPIS_TEST_EVENTSTORE_URL"
suite "contracts: Kafka (one broker), PostgreSQL, $eventstore" "${contracts[@]}" --skip kafka_tls::
suite "contracts: Kafka (one broker) over TLS with SCRAM" env LETOPIS_TEST_KAFKA_SECURED="$KAFKA_SECURED" \
    LETOPIS_TEST_KAFKA_SECRETS="$KAFKA_SECRETS" "${contracts[@]}" kafka_tls::
suite "contracts: Kafka (three brokers)" env LETOPIS_TEST_KAFKA_BROKERS="$three" "${contracts[@]}" kafka::
suite "read models: SQLite and PostgreSQL" "$cargo" test --locked -p projections --features postgres,testing --test engines
run "official clients: $eventstore" tests/engines/eventstore/clients.sh "$engines_cache/eventstore-clients"
suite "contracts: double of EventStoreDB over TLS" tests/engines/eventstore/tls.sh "$features"

# These look into the files of the embedded engines: a log whose disk is full, blobs in a folder.
files=(--skip operations::a_full_disk_refuses_deliveries_and_the_server_recovers_by_itself
    --skip files::a_picture_is_fetched_sealed_and_shown_to_its_tenant_only)
stories=("$cargo" test --locked -p letopis --test e2e --)
suite "stories: Kafka (three brokers) and PostgreSQL" \
    env LETOPIS_TEST_ENGINES=postgres+kafka LETOPIS_TEST_KAFKA_BROKERS="$three" "${stories[@]}" "${files[@]}"
suite "stories: Kafka (one broker) and the double of EventStoreDB" \
    env LETOPIS_TEST_ENGINES=double+kafka "${stories[@]}" "${files[@]}"
suite "processes that share engines" "$cargo" test --locked -p letopis --test engines -- --skip faults::

engines_say "all passed, in $((SECONDS - began)) s"
printf '%s\n' "${suites[@]}"
