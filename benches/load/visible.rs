//! P4: from the acceptance of a webhook to its message in GraphQL, by query and by subscription, in an open loop.
//!
//! **Invariant:** every message comes through the subscription, or the run fails; of the queries a sample is taken, since
//! asking costs the server time. How often is asked is part of the figure. The first seconds warm up and are not counted:
//! in an empty system almost every message is of a new customer.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::deliveries::Deliveries;
use crate::drive::{Pace, Plan, drive, histogram, ms, record};
use crate::graphql::Wanted;
use crate::intake::{Scale, settle};
use crate::machine;
use crate::report::{Gate, Report};
use crate::server::Server;

/// Deliveries per second of the gate. **Source:** performance goals, P4.
pub(crate) const PER_SECOND: u32 = 2_000;
/// Every so many-th delivery is asked for.
const ASK_FOR_EVERY: u64 = 100;
/// The busiest chats are not asked for: the page that is asked for does not reach back far enough there.
const BUSY_CHATS: u64 = 10;

/// Runs it at so many deliveries a second: with the embedded log as the feed, or with Kafka at these addresses.
pub(crate) async fn run(
    scale: Scale,
    per_second: u32,
    brokers: Option<&str>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let deliveries = Rc::new(Deliveries::new());
    // **Source:** performance goals, P4.
    let (feed, most) = brokers.map_or(("", 50.0), |_| (" and Kafka", 150.0));
    let (mut server, account) = Server::letopis(brokers).await?;
    let seen: Arc<Mutex<HashMap<Uuid, Instant>>> = Arc::default();
    let listener = server.asker().listen(Arc::clone(&seen)).await?;
    let (ask, asked) = tokio::sync::mpsc::unbounded_channel();
    let asker = tokio::spawn(server.asker().poll(asked));
    let accepted: Rc<std::cell::RefCell<Vec<(Uuid, Instant)>>> = Rc::default();
    let plan = Plan {
        pace: Pace::Open { per_second },
        connections: 64,
        first: 1,
        time: scale.warm_up + scale.visible,
        deliveries: 0,
        at_most: scale.warm_up + scale.visible,
    };
    let counted_from = Instant::now() + scale.warm_up;
    let sent = {
        let (known, hasher, accepted) = (Rc::clone(&deliveries), account.codec.hasher().clone(), Rc::clone(&accepted));
        let hear = move |number: u64, _, at: Instant| {
            accepted.borrow_mut().push((hasher.delivery(account.id, &number.to_string()).uuid(), at));
            let chat = known.chat(number);
            if number.is_multiple_of(ASK_FOR_EVERY) && chat > known.busiest() + BUSY_CHATS {
                let conversation = hasher.conversation(account.id, &chat.to_string());
                let message = hasher.message(conversation, &number.to_string()).uuid();
                // The asker ends after the sender, or with an error that is told below.
                let counts = at >= counted_from;
                let _ = ask.send(Wanted { conversation: conversation.uuid(), message, accepted: at, counts });
            }
        };
        drive(&server.target, &deliveries, plan, hear).await?
    };
    println!("     load {:.1}; acknowledged p50 {:.2} ms, p99 {:.2} ms", machine::load(), sent.ms(0.5), sent.ms(0.99));
    let mut by_query = histogram()?;
    asker.await??.into_iter().for_each(|took| record(&mut by_query, took));
    let accepted = accepted.take();
    wait_for_all(&seen, accepted.len(), scale.patience).await?;
    listener.abort();
    let mut by_subscription = histogram()?;
    let seen = std::mem::take(&mut *seen.lock());
    for (delivery, at) in &accepted {
        let shown = seen.get(delivery);
        ensure!(shown.is_some(), "a message did not come through the subscription");
        let shown = shown.filter(|_| *at >= counted_from);
        shown.into_iter().for_each(|shown| record(&mut by_subscription, shown.saturating_duration_since(*at)));
    }
    for (how, figures) in [("query", &by_query), ("subscription", &by_subscription)] {
        let what = format!("accepted to visible at {per_second}/s, by {how}{feed} ({})", figures.len());
        let (asked, gate) = match per_second {
            PER_SECOND => (format!("p99 <= {most:.0} ms"), Gate::when(ms(figures, 0.99) <= most)),
            _ => (String::new(), Gate::None),
        };
        report.row("P4", &what, &figure(figures), &asked, gate);
    }
    settle(&mut server, "P4", &sent, scale.patience, report).await.map(drop)
}

fn figure(histogram: &Histogram<u32>) -> String {
    let (half, most, all) = (ms(histogram, 0.5), ms(histogram, 0.99), ms(histogram, 1.0));
    format!("p50 {half:.1} ms, p99 {most:.1} ms, max {all:.0} ms")
}

async fn wait_for_all(seen: &Mutex<HashMap<Uuid, Instant>>, count: usize, patience: Duration) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let here = seen.lock().len();
        if here >= count {
            return Ok(());
        }
        ensure!(start.elapsed() < patience, "{here} of {count} messages came through the subscription");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
