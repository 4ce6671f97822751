//! Health and metrics.
//!
//! **Invariant:** `live` depends on nothing; `ready` is true only while the log takes appends and no consumer lags
//! behind its bound, so that traffic goes elsewhere when it is not.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use events::envelope::Position;
use events::log::{EventLog, LogHealth};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

/// What readiness looks at.
pub struct Health {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// False for a process that only reads it.
    pub appends: bool,
    /// Every consumer, by name.
    pub consumers: Vec<Arc<dyn Lag>>,
    /// Largest lag of a ready server, in seconds.
    pub max_lag_s: u64,
}

/// How far a consumer is behind.
pub trait Lag: Send + Sync {
    /// The stable name of the consumer.
    fn name(&self) -> &str;

    /// Positions between the consumer and `head`, the last of the log; what it passes over unseen does not count.
    fn positions(&self, head: Position) -> u64;

    /// Age of the oldest event that it has not handled, in seconds, or for how long it has had no way to get at any; 0 when
    /// it is at the head.
    fn seconds(&self) -> f64;

    /// Events that it could not handle and put aside since the start.
    fn parked(&self) -> u64 {
        0
    }

    /// Parts of the feed whose next event has to wait while it goes on with the others.
    fn held_parts(&self) -> usize {
        0
    }

    /// Why it stopped, if it did.
    fn halted(&self) -> Option<String>;

    /// What it waits for, if it does: something that it needs is away, and it tries again by itself.
    fn waiting(&self) -> Option<String> {
        None
    }

    /// False for whoever waits for providers: that one of them is slow is no reason to take no more deliveries.
    fn bears_on_readiness(&self) -> bool {
        true
    }
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    log: String,
    consumers: Vec<ConsumerReport>,
}

#[derive(Serialize)]
struct ConsumerReport {
    name: String,
    lag_events: u64,
    lag_seconds: f64,
    parked: u64,
    held_parts: usize,
    #[serde(skip)]
    bears_on_readiness: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    halted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
}

/// `GET /health/live`: the process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "live": true }))
}

/// `GET /health/ready`: 200 when traffic is welcome, 503 when not, with the reasons.
pub async fn ready(health: web::Data<Health>) -> HttpResponse {
    let report = health.report().await;
    if report.ready { HttpResponse::Ok().json(report) } else { HttpResponse::ServiceUnavailable().json(report) }
}

/// `GET /metrics`: Prometheus text format.
pub async fn metrics(health: web::Data<Health>, handle: web::Data<PrometheusHandle>) -> HttpResponse {
    let report = health.report().await;
    metrics::gauge!("letopis_log_writable").set(if report.log == "writable" { 1.0 } else { 0.0 });
    for consumer in report.consumers {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; lags and parts are far below 2^52")]
        let (events, held) = (consumer.lag_events as f64, consumer.held_parts as f64);
        metrics::gauge!("letopis_consumer_lag_events", "consumer" => consumer.name.clone()).set(events);
        metrics::gauge!("letopis_consumer_held_parts", "consumer" => consumer.name.clone()).set(held);
        metrics::counter!("letopis_parked_events_total", "consumer" => consumer.name.clone()).absolute(consumer.parked);
        metrics::gauge!("letopis_consumer_lag_seconds", "consumer" => consumer.name).set(consumer.lag_seconds);
    }
    handle.run_upkeep();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(handle.render())
}

impl Health {
    async fn report(&self) -> Report {
        // When the head cannot be read the log is halted, and that is told.
        let read = self.log.head().await;
        let head = read.clone().unwrap_or_default();
        let (writable, log) = match (self.log.health(), read) {
            (LogHealth::Halted { .. }, Ok(_)) if !self.appends => (true, "readable".to_owned()),
            (LogHealth::Writable, _) => (true, "writable".to_owned()),
            (LogHealth::Halted { reason }, _) => (false, format!("halted: {reason}")),
        };
        let consumers: Vec<ConsumerReport> = self
            .consumers
            .iter()
            .map(|consumer| ConsumerReport {
                name: consumer.name().to_owned(),
                lag_events: consumer.positions(head),
                lag_seconds: consumer.seconds(),
                parked: consumer.parked(),
                held_parts: consumer.held_parts(),
                bears_on_readiness: consumer.bears_on_readiness(),
                halted: consumer.halted(),
                waiting: consumer.waiting(),
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a bound in seconds is far below 2^52")]
        let bound = self.max_lag_s as f64;
        let keeping_up = consumers.iter().all(|consumer| {
            consumer.halted.is_none() && (!consumer.bears_on_readiness || consumer.lag_seconds <= bound)
        });
        Report { ready: writable && keeping_up, log, consumers }
    }
}
