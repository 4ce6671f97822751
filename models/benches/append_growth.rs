//! What one more event costs when its stream has 100, 1,000, 10,000 and 100,000 already.
//!
//! **Invariant:** appends go through the handler to the embedded log, one at a time, each a customer's message that
//! the decider checks against all before it. Two legs: without the sync, whose cost is the same at every length and
//! would hide a growth, and with it, as the program runs. The median of a window is compared with that of the first.
//!
//! `cargo bench -p models --bench append_growth`; `LETOPIS_BENCH_EVENTS` (default 100000) is the greatest length.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use events::clock::FixedClock;
use events::codec::Codec;
use events::conversation::ConversationKind;
use events::conversation::content::{MessageContent, MessageKind, OutsideThread};
use events::envelope::{Actor, Category, StreamName};
use events::ids::{AccountId, CommandId, ContactId, ConversationId, IdHasher, MessageId, Occupancy, TenantId};
use events::log::EventLog;
use events::log::embedded::{Durability, EmbeddedLog, EmbeddedLogConfig};
use events::seal::Sealer;
use events::testing::memory_keys::MemoryKeyStore;
use events::values::Channel;
use models::command::Origin;
use models::conversation::{ConversationCommand, ConversationDecider, ThreadFacts};
use models::handler::Handler;
use uuid::Uuid;

/// Lengths at which a window is measured.
const LENGTHS: [u64; 4] = [100, 1_000, 10_000, 100_000];
/// Appends of a window.
const WINDOW: u64 = 500;
/// Characters of a message.
const TEXT_CHARS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let greatest = match std::env::var("LETOPIS_BENCH_EVENTS") {
        Ok(text) => text.parse()?,
        Err(_) => 100_000,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("append through the handler to one stream, {profile} profile, windows of {WINDOW}");
    for durability in [Durability::Unsafe, Durability::Synced] {
        runtime.block_on(leg(durability, greatest))?;
    }
    Ok(())
}

async fn leg(durability: Durability, greatest: u64) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut config = EmbeddedLogConfig::new(folder.path().join("log.db"));
    config.durability = durability;
    let clock = Arc::new(FixedClock::new(DateTime::UNIX_EPOCH));
    let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(config, clock)?);
    let codec = Codec::new(Sealer::new(Arc::new(MemoryKeyStore::default())), IdHasher::new([7; 32]));
    let handler = Handler::new(Arc::clone(&log), codec.clone());

    println!("\n{durability:?}: events in stream | median of append | ratio to first | mean of append | cold load");
    let mut first = None;
    let mut length = 0;
    for start in LENGTHS.into_iter().filter(|start| *start <= greatest) {
        // The first message writes three events: opened, joined, received.
        while length + 2 < start {
            append(&handler, length).await?;
            length += 1;
        }
        let cold = cold_load(&log, &codec).await?;
        let mut costs = Vec::new();
        for _ in 0..WINDOW {
            costs.push(append(&handler, length).await?);
            length += 1;
        }
        costs.sort_unstable();
        let median = costs[costs.len() / 2];
        let mean = costs.iter().sum::<Duration>() / u32::try_from(costs.len())?;
        let ratio = median.as_secs_f64() / first.get_or_insert(median).as_secs_f64();
        println!("{durability:?}: {start:>7} | {median:>10.1?} | {ratio:>5.2} | {mean:>10.1?} | {cold:>10.1?}");
    }
    Ok(())
}

async fn append(handler: &Handler, n: u64) -> Result<Duration, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let handled = handler.handle::<ConversationDecider>(conversation().uuid(), &origin(n)?, message(n)).await?;
    let cost = begun.elapsed();
    assert!(handled.written, "each message is a new one");
    Ok(cost)
}

/// How long a handler that knows nothing needs to have the state.
async fn cold_load(log: &Arc<dyn EventLog>, codec: &Codec) -> Result<Duration, Box<dyn std::error::Error>> {
    let handler = Handler::new(Arc::clone(log), codec.clone());
    let stream = StreamName::new(Category::Conversation, tenant()?, conversation().uuid());
    let begun = Instant::now();
    let open = handler.inspect::<ConversationDecider, _>(&stream, |state| state.is_open()).await?;
    assert!(open, "the conversation is there");
    Ok(begun.elapsed())
}

fn tenant() -> Result<TenantId, events::ids::ParseIdError> {
    "acme".parse()
}

fn conversation() -> ConversationId {
    ConversationId::new(Uuid::from_u128(1))
}

fn origin(n: u64) -> Result<Origin, events::ids::ParseIdError> {
    Ok(Origin {
        id: CommandId::new(Uuid::from_u128(u128::from(n) + 1)),
        tenant: tenant()?,
        actor: Actor::Customer(ContactId::new(Uuid::from_u128(3))),
        causation: None,
        correlation: Uuid::from_u128(u128::from(n)),
        occurred_at: DateTime::UNIX_EPOCH,
        traceparent: None,
        seen_at: None,
        wish: None,
    })
}

fn message(n: u64) -> ConversationCommand {
    ConversationCommand::Receive {
        thread: ThreadFacts {
            conversation: conversation(),
            account: AccountId::new(Uuid::from_u128(2)),
            channel: Channel::Telegram,
            kind: ConversationKind::Direct,
            outside: OutsideThread {
                key: "42".to_owned(),
                topic: None,
                title: None,
                reply_address: None,
                business_connection: None,
            },
        },
        message: MessageId::new(Uuid::from_u128(u128::from(n) + 1)),
        author: Occupancy { contact: ContactId::new(Uuid::from_u128(3)), number: 1 },
        kind: MessageKind::Text,
        marks: Vec::new(),
        reply_to: None,
        album: None,
        content: MessageContent { text: Some("x".repeat(TEXT_CHARS)), ..MessageContent::default() },
    }
}
