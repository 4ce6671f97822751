#!/usr/bin/env bash
# Measures what goes by Kafka, on one broker that is started for it (docs/benchmarks.md).
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/engines/servers.sh

engines_begin
engines_kafka one 1
LETOPIS_BENCH_KAFKA_BROKERS=$KAFKA_BROKERS LETOPIS_BENCH_ONLY=${LETOPIS_BENCH_ONLY:-P4K,P15} \
    "${CARGO:-cargo}" bench --locked --bench load || engines_fail "the benchmark failed"
