#!/usr/bin/env bash
# Starts and stops real servers for tests: Apache Kafka (one broker, or three) and PostgreSQL, on loopback, each in a
# folder of its own. Meant to be sourced.
#
# LETOPIS_ENGINES_CACHE  where packages are kept between runs
#
#   engines_begin          a folder for this run; everything that was started is stopped when the shell ends
#   engines_openssl        makes sure that letopis can be built with the feature kafka-tls
#   engines_kafka NAME N   a cluster of N brokers; sets KAFKA_BROKERS and KAFKA_PIDS
#   engines_kafka NAME N secured
#                          the same, which also listens with TLS and SCRAM; sets KAFKA_SECURED and KAFKA_SECRETS, the folder
#                          with ca.pem, which vouches for it, stranger.pem, which does not, and the user's password
#   engines_postgres       a server; sets POSTGRES_URL
#   engines_control        makes a script with which a test kills servers and starts them again; sets ENGINES_CONTROL
#   engines_tests COMMAND  runs tests by cargo; fails when they fail, and when none ran
#
# It sets no options, for a reader's own shell may source it: a lane sets -euo pipefail before. Without them, too, what
# cannot be started ends the shell and says why.

engines_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
engines_cache=${LETOPIS_ENGINES_CACHE:-$HOME/.cache/letopis-engines}

engines_fail() { printf 'engines: %s\n' "$*" >&2; exit 1; }
engines_say() { printf '== engines: %s\n' "$*"; }

engines_begin() {
    engines_run=$(mktemp -d "${TMPDIR:-/tmp}/letopis-engines.XXXXXX")
    chmod 755 "$engines_run"
    : >"$engines_run/pids"
    trap engines_end EXIT
}

# A process to be stopped at the end, whichever shell started it.
engines_started() { echo "$1" >>"$engines_run/pids"; }

# Stops everything that was started here, by its own pid, and nothing else.
engines_end() {
    local status=$? pid
    trap - EXIT
    for pid in $(cat "$engines_run/pids"); do kill "$pid" 2>/dev/null || true; done
    for pid in $(cat "$engines_run/pids"); do
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
    done
    if [[ $status -ne 0 ]]; then
        engines_say "failed; the last lines of the servers' logs:"
        tail -n 5 "$engines_run"/*/log "$engines_run"/*/*/log 2>/dev/null || true
    fi
    rm -rf "$engines_run"
    exit "$status"
}

engines_install() { # engines_install WHAT PACKAGE
    engines_say "installing $2"
    apt-get install -y --no-install-recommends "$2" >/dev/null 2>&1 ||
        { apt-get update >/dev/null && apt-get install -y --no-install-recommends "$2" >/dev/null; } ||
        engines_fail "$1 is needed (Debian package $2) and cannot be installed"
}

engines_need() { # engines_need PROGRAM PACKAGE
    command -v "$1" >/dev/null || engines_install "$1" "$2"
}

# Runs tests by cargo and fails also when none ran: a filter that matches nothing would pass for ever.
engines_tests() { # engines_tests COMMAND...
    local - output
    set -o pipefail
    output=$(mktemp "$engines_run/tests.XXXXXX") || return
    "$@" | tee "$output" || return
    awk '/^running [0-9]+ tests?$/ { ran += $2 } END { exit !ran }' "$output" && return
    printf 'engines: no test ran: %s\n' "$*" >&2
    return 1
}

# What librdkafka with TLS is built with.
engines_openssl() {
    engines_need pkg-config pkg-config
    pkg-config --exists openssl || engines_install OpenSSL libssl-dev
}

# A port that nobody listens on, from below the range that the system gives to clients.
engines_port() {
    local port
    for _ in $(seq 200); do
        port=$((10000 + RANDOM % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    engines_fail "no free port"
}

# The jars of Apache Kafka, once.
engines_kafka_jars() {
    engines_need java default-jre-headless
    engines_jars=$engines_cache/kafka-$(sha256sum <"$engines_here/kafka/pom.xml" | cut -c 1-16)
    [[ -e $engines_jars/complete ]] && return
    engines_need mvn maven
    engines_say "getting Apache Kafka"
    mkdir -p "$engines_jars"
    mvn -q -B -f "$engines_here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$engines_jars/libs" >"$engines_jars/mvn.log" 2>&1 ||
        { cat "$engines_jars/mvn.log" >&2; engines_fail "Apache Kafka cannot be got with Maven"; }
    touch "$engines_jars/complete"
}

# Starts broker N of a cluster whose files are in FOLDER; sets engines_broker_pid. Also after it was killed.
engines_broker() { # engines_broker FOLDER N
    local folder=$1/broker-$2 count
    count=$(ls -d "$1"/broker-*/ | wc -l)
    java -Xmx$((count > 1 ? 512 : 1024))m -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS -cp "$engines_jars/libs/*" kafka.Kafka "$folder/server.properties" \
        >>"$folder/log" 2>&1 &
    engines_broker_pid=$!
    # A reader who stops the jobs of a shell does not mean this one.
    disown "$engines_broker_pid"
    engines_started "$engines_broker_pid"
    echo "$engines_broker_pid" >"$folder/pid"
}

# Certificates and a password for the brokers of a cluster, made anew for this run: nothing secret outlives it.
engines_kafka_secrets() { # engines_kafka_secrets FOLDER
    local folder=$1 authority request=(openssl req -newkey rsa:2048 -nodes -sha256)
    engines_need openssl openssl
    mkdir -m 700 "$folder"
    for authority in ca stranger; do
        "${request[@]}" -x509 -days 2 -subj "/CN=$authority of a test" \
            -keyout "$folder/$authority.key" -out "$folder/$authority.pem" 2>>"$folder/log"
    done
    # The key first, then the certificate: as Kafka wants a PEM file. It is good for the address only, not for a name.
    "${request[@]}" -subj "/CN=a broker" -keyout "$folder/broker.pem" -out "$folder/broker.request" 2>>"$folder/log"
    openssl x509 -req -days 2 -in "$folder/broker.request" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial \
        -extfile <(echo "subjectAltName=IP:127.0.0.1") 2>>"$folder/log" >>"$folder/broker.pem"
    openssl rand -hex 16 >"$folder/password"
}

engines_kafka() { # engines_kafka NAME COUNT [secured]
    local folder=$engines_run/$1 count=$2 secured=${3:-} n id voters="" brokers="" in_sync=1 also="" user=()
    engines_kafka_jars
    mkdir -p "$folder"
    local ports=() controllers=() inner=() outer=() tls=()
    if [[ -n $secured ]]; then
        KAFKA_SECRETS=$folder/secrets KAFKA_SECURED=""
        engines_kafka_secrets "$KAFKA_SECRETS"
        user=(--add-scram "SCRAM-SHA-512=[name=letopis,password=$(cat "$KAFKA_SECRETS/password")]")
    fi
    for n in $(seq "$count"); do
        ports+=("$(engines_port)")
        controllers+=("$(engines_port)")
        inner+=("$(engines_port)")
        outer+=("$(engines_port)")
        if [[ -n $secured ]]; then
            tls+=("$(engines_port)")
            KAFKA_SECURED+="${KAFKA_SECURED:+,}127.0.0.1:${tls[n - 1]}"
        fi
        voters+="${voters:+,}$n@127.0.0.1:${controllers[n - 1]}"
        brokers+="${brokers:+,}127.0.0.1:${ports[n - 1]}"
    done
    [[ $count -lt 3 ]] || in_sync=2
    id=$(java -cp "$engines_jars/libs/*" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -1)
    for n in $(seq "$count"); do
        mkdir -p "$folder/broker-$n"
        [[ -z $secured ]] || also=",SECURED://127.0.0.1:${tls[n - 1]}"
        cat >"$folder/broker-$n/server.properties" <<END
process.roles=broker,controller
node.id=$n
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:${ports[n - 1]},VIA://127.0.0.1:${inner[n - 1]},CONTROLLER://127.0.0.1:${controllers[n - 1]}$also
advertised.listeners=PLAINTEXT://127.0.0.1:${ports[n - 1]},VIA://127.0.0.1:${outer[n - 1]}$also
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,VIA:PLAINTEXT,SECURED:SASL_SSL
log.dirs=$folder/broker-$n/data
num.partitions=6
min.insync.replicas=$in_sync
default.replication.factor=$count
offsets.topic.replication.factor=$count
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=$count
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.replication.factor=$count
share.coordinator.state.topic.min.isr=$in_sync
group.initial.rebalance.delay.ms=0
END
        if [[ -n $secured ]]; then
            cat >>"$folder/broker-$n/server.properties" <<END
listener.name.secured.ssl.keystore.type=PEM
listener.name.secured.ssl.keystore.location=$KAFKA_SECRETS/broker.pem
listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
END
        fi
        java -cp "$engines_jars/libs/*" kafka.tools.StorageTool format -t "$id" "${user[@]}" \
            -c "$folder/broker-$n/server.properties" >"$folder/broker-$n/log" 2>&1 ||
            engines_fail "broker $n cannot be formatted: $(tail -1 "$folder/broker-$n/log")"
    done
    KAFKA_PIDS=()
    for n in $(seq "$count"); do
        engines_broker "$folder" "$n"
        KAFKA_PIDS+=("$engines_broker_pid")
    done
    for n in $(seq "$count"); do
        for _ in $(seq 600); do
            grep -q 'Kafka Server started' "$folder/broker-$n/log" && break
            kill -0 "${KAFKA_PIDS[n - 1]}" 2>/dev/null || engines_fail "broker $n ended: $(tail -1 "$folder/broker-$n/log")"
            sleep 0.1
        done
        grep -q 'Kafka Server started' "$folder/broker-$n/log" || engines_fail "broker $n did not start in a minute"
    done
    KAFKA_BROKERS=$brokers
    KAFKA_FOLDER=$folder
    # Who bootstraps at an outer port is sent to outer ports only: a test puts a proxy between those and the inner ones.
    KAFKA_VIA=$(for n in $(seq "$count"); do printf '%s=%s ' "${outer[n - 1]}" "${inner[n - 1]}"; done)
    engines_say "Apache Kafka, $count broker(s): $brokers"
}

engines_postgres() {
    local bin folder=$engines_run/postgres as=()
    [[ -n $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null) ]] || engines_need /usr/lib/postgresql/15/bin/postgres postgresql
    bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
    mkdir -p "$folder"
    # The server refuses to run as root.
    if [[ $(id -u) -eq 0 ]]; then
        chown postgres "$folder"
        as=(runuser -u postgres --)
    fi
    POSTGRES_PORT=$(engines_port)
    POSTGRES_DATA=$folder/data
    POSTGRES_BIN=$bin
    POSTGRES_AS=("${as[@]}")
    (cd "$folder" && "${as[@]}" "$bin/initdb" -D data -A trust -U postgres --no-instructions -E UTF8 --locale=C.UTF-8) \
        >"$folder/log" 2>&1 || engines_fail "PostgreSQL cannot be set up: $(tail -1 "$folder/log")"
    engines_postgres_start
    POSTGRES_URL=postgres://postgres@127.0.0.1:$POSTGRES_PORT/postgres
    engines_say "PostgreSQL $("$bin/postgres" --version | grep -oE '[0-9.]+' | head -1): 127.0.0.1:$POSTGRES_PORT"
}

# Starts the server that was set up; also after it was killed.
engines_postgres_start() {
    local folder=$engines_run/postgres
    # fsync and synchronous_commit are on by default, and stay so.
    (cd "$folder" && "${POSTGRES_AS[@]}" "$POSTGRES_BIN/pg_ctl" -D data -l "$folder/server.log" -w -t 60 \
        -o "-p $POSTGRES_PORT -k $folder -c listen_addresses=127.0.0.1 -c max_connections=300" start) \
        >>"$folder/log" 2>&1 || engines_fail "PostgreSQL did not start: $(tail -1 "$folder/server.log")"
    POSTGRES_PID=$(head -1 "$POSTGRES_DATA/postmaster.pid")
    engines_started "$POSTGRES_PID"
}

# `control kill broker N`, `control start broker N`, `control kill postgres`, `control start postgres`.
engines_control() {
    ENGINES_CONTROL=$engines_run/control
    {
        echo '#!/usr/bin/env bash'
        declare -p engines_run engines_jars KAFKA_FOLDER POSTGRES_PORT POSTGRES_DATA POSTGRES_BIN POSTGRES_AS
        declare -f engines_fail engines_started engines_broker engines_postgres_start
        cat <<'END'
set -euo pipefail
case "$1 $2" in
"kill broker") kill -9 "$(cat "$KAFKA_FOLDER/broker-$3/pid")" ;;
"start broker")
    log=$KAFKA_FOLDER/broker-$3/log
    started() { grep -c 'Kafka Server started' "$log" || true; }
    before=$(started)
    engines_broker "$KAFKA_FOLDER" "$3"
    for _ in $(seq 600); do
        [[ $(started) -gt $before ]] && exit
        kill -0 "$engines_broker_pid" 2>/dev/null || engines_fail "broker $3 ended: $(tail -1 "$log")"
        sleep 0.1
    done
    engines_fail "broker $3 did not start again in a minute"
    ;;
"kill postgres")
    # Its children end by themselves when they notice.
    kill -9 "$(head -1 "$POSTGRES_DATA/postmaster.pid")"
    ;;
"start postgres")
    for attempt in $(seq 100); do
        (engines_postgres_start) 2>/dev/null && exit
        sleep 0.1
    done
    engines_fail "PostgreSQL does not start again"
    ;;
*) exit 2 ;;
esac
END
    } >"$ENGINES_CONTROL"
    chmod +x "$ENGINES_CONTROL"
}
