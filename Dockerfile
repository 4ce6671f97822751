# The one image of every role. Built from the repository alone: `docker build -t letopis:0.1.0 .`
# Not built by the tests, which have no container engine; linted, and its flags are checked (`make manifests`).

FROM rust:1.95-slim-bookworm AS build
# librdkafka with TLS needs OpenSSL; librdkafka, SQLite and AWS-LC are compiled from C and C++.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# Beside the default features (kafka, eventstore, postgres): TLS and SCRAM for Kafka.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked --features kafka-tls --bin letopis \
    && cp target/release/letopis /usr/local/bin/letopis

FROM debian:bookworm-slim
# ca-certificates: the roots by which providers and servers are known. libssl3: what librdkafka is linked to.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/letopis letopis \
    && install -d -o letopis -g letopis -m 0700 /var/lib/letopis
COPY --from=build /usr/local/bin/letopis /usr/local/bin/letopis
# By number, so that a cluster can tell that it is not root.
USER 10001:10001
WORKDIR /var/lib/letopis
EXPOSE 8080
ENTRYPOINT ["letopis"]
CMD ["serve"]
