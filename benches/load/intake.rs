//! P3: signed webhooks to durable answers over loopback, all roles running, beside the bare handler.
//!
//! **Invariant:** bare and letopis take turns; the load generator has one thread of its own. A figure counts only when
//! afterwards the read model holds exactly the deliveries that were acknowledged, each once.

use std::rc::Rc;
use std::time::Duration;

use crate::deliveries::Deliveries;
use crate::drive::{Pace, Plan, Sent, drive};
use crate::machine;
use crate::report::{Gate, Report, rates, ratios, spread};
use crate::server::{Counts, Server};

/// Keys that the pool makes at a time; a run shorter than ten times that would live on keys made before it.
const KEY_POOL: u64 = 32_768;
/// Deliveries per second that one large number causes. **Source:** performance goals, P3.
const OPEN_LOOP_PER_SECOND: u32 = 4_000;

/// How long and how often.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Rounds of both sides.
    pub(crate) rounds: usize,
    /// Of a leg of the bare handler.
    pub(crate) bare: Duration,
    /// Of a leg of letopis, at least.
    pub(crate) letopis: Duration,
    /// True when a leg also lasts until ten pools of keys are used up.
    pub(crate) ten_pools: bool,
    /// How long P4 warms up...
    pub(crate) warm_up: Duration,
    /// ...and is measured.
    pub(crate) visible: Duration,
    /// How long the backlog may take to drain.
    pub(crate) patience: Duration,
}

/// Runs the closed loop beside the bare handler, then the open loop.
pub(crate) async fn run(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let deliveries = Rc::new(Deliveries::new());
    let (mut bare, mut letopis, mut drains) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        let server = Server::bare()?;
        let sent = drive(&server.target, &deliveries, closed(scale.bare, 0), |_, _, _| ()).await?;
        tell("bare", &sent, &server, Duration::ZERO);
        bare.push(sent.per_second());
        drop(server);

        let (mut server, _) = Server::letopis(None).await?;
        let least = if scale.ten_pools { 10 * KEY_POOL } else { 0 };
        let sent = drive(&server.target, &deliveries, closed(scale.letopis, least), |_, _, _| ()).await?;
        tell("letopis", &sent, &server, server.cpu());
        letopis.push(sent.per_second());
        drains.push(settle(&mut server, "P3", &sent, scale.patience, report).await?);
        if round + 1 == scale.rounds {
            report.row(
                "P3",
                "latency at 64 connections, closed loop",
                &format!("p50 {:.2} ms, p99 {:.2} ms", sent.ms(0.5), sent.ms(0.99)),
                "",
                Gate::None,
            );
            report.row("P3", "rebuilt read models", &server.rebuild_and_compare()?, "equal", Gate::Met);
        }
    }
    let over: Vec<f64> = letopis.iter().zip(&bare).map(|(letopis, bare)| letopis / bare).collect();
    let fast = Gate::when(spread(&letopis).0 >= 12_000.0);
    report.row("P3", "signed webhooks, all roles", &rates(&letopis), ">= 12,000/s", fast);
    report.row("P3", "bare sealing handler", &rates(&bare), "", Gate::None);
    report.row("P3", "letopis over bare", &ratios(&over), ">= 0.60", Gate::when(spread(&over).0 >= 0.6));
    let (median, low, high) = spread(&drains);
    report.row("P3", "backlog drain", &format!("{median:.1} s ({low:.1}-{high:.1})"), "", Gate::None);
    open_loop(scale, &deliveries, report).await
}

async fn open_loop(scale: Scale, deliveries: &Rc<Deliveries>, report: &mut Report) -> anyhow::Result<()> {
    let (mut server, _) = Server::letopis(None).await?;
    let plan = Plan { pace: Pace::Open { per_second: OPEN_LOOP_PER_SECOND }, ..closed(scale.bare, 0) };
    let plan = Plan { connections: 256, ..plan };
    let sent = drive(&server.target, deliveries, plan, |_, _, _| ()).await?;
    tell("open loop", &sent, &server, server.cpu());
    let figure = format!("p50 {:.2} ms, p99 {:.2} ms, max {:.0} ms", sent.ms(0.5), sent.ms(0.99), sent.ms(1.0));
    let what = format!("latency at {OPEN_LOOP_PER_SECOND}/s, open loop");
    report.row("P3", &what, &figure, "p99 <= 25 ms (or 3 F99)", Gate::when(sent.ms(0.99) <= 25.0));
    settle(&mut server, "P3", &sent, scale.patience, report).await.map(drop)
}

/// Waits for the backlog, stops the server and counts. Gives how long the backlog took, in seconds.
pub(crate) async fn settle(
    server: &mut Server,
    goal: &str,
    sent: &Sent,
    patience: Duration,
    report: &mut Report,
) -> anyhow::Result<f64> {
    let drained = server.drained(sent.acknowledged, patience).await?;
    let (written, resident) = machine::written_and_resident(server.process());
    let (events, cpu) = (server.events()?, server.cpu());
    let stopped = server.stop()?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let (per_event, us) = (written as f64 / events as f64, cpu.as_secs_f64() * 1e6 / sent.acknowledged as f64);
    println!(
        "     drained in {drained:.1?}, stopped in {stopped:.1?}; {events} events, {per_event:.0} bytes written and \
         {us:.0} us CPU a delivery in all, {} MiB resident at most",
        resident / 1024
    );
    let counts = server.counts()?;
    let acknowledged = sent.acknowledged;
    let expected = Counts { raw: acknowledged, messages: acknowledged, shown: acknowledged, distinct: acknowledged };
    let figure = format!(
        "{acknowledged} acknowledged (+{} repeats, {} refused): {} raw, {} messages, {} shown, {} distinct",
        sent.repeated, sent.refused, counts.raw, counts.messages, counts.shown, counts.distinct
    );
    report.row(goal, "nothing lost, nothing doubled", &figure, "0 lost, 0 doubled", Gate::when(counts == expected));
    Ok(drained.as_secs_f64())
}

fn closed(time: Duration, deliveries: u64) -> Plan {
    Plan { pace: Pace::Closed, connections: 64, first: 1, time, deliveries, at_most: time * 5 }
}

fn tell(name: &str, sent: &Sent, server: &Server, cpu: Duration) {
    println!(
        "     {name}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {} refused; CPU {:.1} s of {:.1} s (load {:.1}), process {}",
        sent.per_second(),
        sent.ms(0.5),
        sent.ms(0.99),
        sent.refused,
        cpu.as_secs_f64(),
        sent.elapsed.as_secs_f64(),
        machine::load(),
        server.process(),
    );
}
