#!/usr/bin/env bash
# Kills and cuts off, one after another, what letopis runs on: a relay, a projector, a broker of three, PostgreSQL, the
# network between a projector and the brokers; LETOPIS_FAULT_ROUNDS times each (1 when not set), with traffic.
# LETOPIS_TEST_SERVER names the server's binary; when not set, it is built.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/engines/servers.sh

cargo=${CARGO:-cargo}
if [[ -z ${LETOPIS_TEST_SERVER:-} ]]; then
    # A development build is held up by itself, not by what is killed.
    "$cargo" build --locked --profile lanes --bin letopis
    LETOPIS_TEST_SERVER=$(realpath "${CARGO_TARGET_DIR:-target}")/lanes/letopis
fi
export LETOPIS_TEST_SERVER

engines_begin
engines_postgres
engines_kafka three 3
engines_control
export LETOPIS_TEST_POSTGRES_URL=$POSTGRES_URL LETOPIS_TEST_KAFKA_BROKERS=$KAFKA_BROKERS
export LETOPIS_TEST_KAFKA_VIA=$KAFKA_VIA LETOPIS_TEST_CONTROL=$ENGINES_CONTROL
export LETOPIS_FAULT_ROUNDS=${LETOPIS_FAULT_ROUNDS:-1}
engines_tests "$cargo" test --locked -p letopis --test engines -- --nocapture faults:: || engines_fail "faults: failed"
