//! Log lines and metrics.
//!
//! **Invariant:** neither holds personal data, tokens or bodies; metric labels come from closed lists.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogsConfig};

/// Upper bounds of latency histograms, in seconds.
const LATENCY_BUCKETS_S: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Sends log lines to standard error.
///
/// # Errors
/// The filter cannot be read, or logging was set up before.
pub fn install_logs(config: &LogsConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match config.format {
        LogFormat::Json => lines.json().try_init(),
        LogFormat::Text => lines.try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("logging cannot be set up: {error}"))
}

/// Collects metrics for `/metrics`. One process has one recorder; further calls give the same one.
///
/// # Errors
/// Another recorder was installed before.
pub fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    // Locked while it is installed, so that two servers of one process that start at once share one.
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = HANDLE.lock();
    if let Some(handle) = installed.as_ref() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().set_buckets(LATENCY_BUCKETS_S)?.install_recorder()?;
    describe();
    Ok(installed.insert(handle).clone())
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("letopis_webhooks_total", "Webhook deliveries by channel and outcome");
    describe_histogram!("letopis_webhook_seconds", Unit::Seconds, "From the head of a delivery to its answer");
    describe_counter!("letopis_intake_total", "Raw deliveries by what became of them");
    describe_counter!("letopis_deliveries_total", "Attempts to send by channel and outcome");
    describe_gauge!("letopis_consumer_lag_events", "Positions between a consumer and the head of the log");
    describe_gauge!(
        "letopis_consumer_lag_seconds",
        Unit::Seconds,
        "Age of the oldest event a consumer has not handled"
    );
    describe_gauge!("letopis_consumer_held_parts", "Parts of the feed that wait for an event while the others go on");
    describe_counter!("letopis_parked_events_total", "Events that a consumer could not handle and put aside");
    describe_gauge!("letopis_visitor_sockets", "Sockets of web chat visitors that are open");
    describe_gauge!("letopis_log_writable", "1 while the log takes appends");
}
