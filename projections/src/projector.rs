//! Drives every projection: decodes and opens a batch, folds it, commits rows and checkpoint together.
//!
//! **Invariant:** one consumer, one checkpoint and one transaction for all projections, so that a reader never sees one
//! of them ahead of another. What is committed together is committed in the order of the feed.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use async_trait::async_trait;
use events::codec::{Codec, CodecError, Decoded};
use events::consumer::{Batch, ConsumeError, Handler};
use events::envelope::{Category, RecordedEvent};
use events::feed::{Checkpoints, Delivery};
use events::log::Filter;
use events::seal::{DataKey, KEYS_KEPT_FOR, KeyId, KeyStoreError, MOST_KEYS_KEPT, SealerError};
use rustc_hash::FxHashMap;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::projection::Changes;
use crate::registry::PROJECTIONS;
use crate::store::{Commit, ParkedEvent, ReadStore, StoreError};

/// Stable name of the consumer that drives all projections.
pub const CONSUMER: &str = "projections";

/// Most events of one transaction: in a backlog a page is written once for all its rows in so many. While they are
/// written, the next are decoded.
const TOGETHER: usize = 4_096;

/// The handler of all projections.
pub struct Projector {
    codec: Codec,
    store: Arc<dyn ReadStore>,
}

impl Projector {
    /// A projector that opens events with `codec` and writes to `store`.
    #[must_use]
    pub fn new(codec: Codec, store: Arc<dyn ReadStore>) -> Self {
        Self { codec, store }
    }

    /// Begins to decode and fold deliveries, opened with `keys`.
    fn fold(&self, deliveries: &[Delivery], keys: OpenKeys) -> Folding {
        let codec = self.codec.clone();
        let events: Vec<RecordedEvent> = deliveries.iter().map(|delivery| delivery.event.clone()).collect();
        AbortOnDropHandle::new(tokio::spawn(async move { fold(&codec, keys, events).await }))
    }
}

/// Decodes and folds events.
async fn fold(codec: &Codec, mut keys: OpenKeys, events: Vec<RecordedEvent>) -> Result<Folded, ConsumeError> {
    let mut changes = Changes::with_capacity(events.len());
    let mut decoded = Vec::with_capacity(events.len());
    decode_all(codec, &mut keys, events.into_iter(), &mut decoded).await;
    for event in decoded {
        apply_all(&event.map_err(|(_, error)| of_codec(&error))?, &mut changes);
    }
    Ok((changes, keys))
}

/// Events that are being decoded and folded; given up when it is dropped.
type Folding = AbortOnDropHandle<Result<Folded, ConsumeError>>;

/// What events change, and the keys that they were opened with.
type Folded = (Changes, OpenKeys);

/// What came of it.
async fn folded(folding: Folding) -> Result<Folded, ConsumeError> {
    match folding.await {
        Ok(folded) => folded,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(ConsumeError::Retry(format!("events were not folded: {error}"))),
        },
    }
}

/// What the consume loop does about an event that does not decode.
pub(crate) fn of_codec(error: &CodecError) -> ConsumeError {
    let text = error.to_string();
    match error {
        CodecError::Seal(SealerError::Keys(KeyStoreError::Unavailable(_))) => ConsumeError::Retry(text),
        CodecError::Seal(SealerError::Keys(KeyStoreError::Corrupt(_))) => ConsumeError::Halt(text),
        CodecError::Seal(SealerError::Keys(KeyStoreError::Destroyed) | SealerError::Seal(_))
        | CodecError::UnknownType(_)
        | CodecError::Upcast { .. }
        | CodecError::Malformed(_)
        | CodecError::NotSealed(_) => ConsumeError::Park(text),
    }
}

/// What the consume loop does about a store that did not commit.
pub(crate) fn of_store(error: StoreError) -> ConsumeError {
    let text = error.to_string();
    match error {
        StoreError::Unavailable(_) | StoreError::Stale { .. } => ConsumeError::Retry(text),
        StoreError::Refused(_) | StoreError::Invalid(_) => ConsumeError::Park(text),
        StoreError::Corrupt(_) | StoreError::Outdated { .. } => ConsumeError::Halt(text),
    }
}

/// Folds one event through every projection that reads its stream.
pub fn apply_all(event: &Decoded, changes: &mut Changes) {
    let category = event.recorded.stream.category;
    for projection in PROJECTIONS {
        if projection.categories().contains(&category) {
            projection.apply(event, changes);
        }
    }
}

/// True for events whose sealed part the projections show. Raw bodies and secrets never reach the read models, so they
/// stay sealed: that saves their keys, too.
const fn is_opened(category: Category) -> bool {
    match category {
        Category::Intake
        | Category::Account
        | Category::Link
        | Category::Calendar
        | Category::Operator
        | Category::Queue
        | Category::CaseType
        | Category::CaseRegister
        | Category::ServiceLevel => false,
        Category::Contact | Category::Profile | Category::Conversation | Category::Case => true,
    }
}

/// Opens what the projections show of an event.
///
/// # Errors
/// See [`CodecError`].
pub(crate) async fn decode(codec: &Codec, recorded: RecordedEvent) -> Result<Decoded, CodecError> {
    if is_opened(recorded.stream.category) { codec.decode_open(recorded).await } else { codec.decode(recorded) }
}

/// An event that is decoded and open, or the reason why it is not.
pub(crate) type Opened = Result<Decoded, (RecordedEvent, CodecError)>;

/// Keys that events were opened with, kept for the next ones.
#[derive(Default)]
pub(crate) struct OpenKeys {
    /// Within, `None` for one that was destroyed.
    known: FxHashMap<KeyId, Result<Option<DataKey>, KeyStoreError>>,
    /// How many this process had destroyed when the first was asked for, and when that was.
    since: Option<(u64, Instant)>,
}

impl OpenKeys {
    /// Forgets all when one was destroyed, and from time to time: another process may have destroyed one.
    fn refresh(&mut self, destructions: u64) {
        let good = |(then, at): (u64, Instant)| then == destructions && at.elapsed() < KEYS_KEPT_FOR;
        if !self.since.is_some_and(good) || self.known.len() > MOST_KEYS_KEPT {
            self.known.clear();
            self.since = Some((destructions, Instant::now()));
        }
    }
}

/// Opens what the projections show of many events, in `into`. Keys are asked for together, each once; those in `keys`
/// are not asked for again.
pub(crate) async fn decode_all(
    codec: &Codec,
    keys: &mut OpenKeys,
    events: impl Iterator<Item = RecordedEvent>,
    into: &mut Vec<Opened>,
) {
    keys.refresh(codec.sealer().destructions());
    let keys = &mut keys.known;
    let mut unknown = Vec::new();
    for recorded in events {
        into.push(match codec.decode_payload(&recorded) {
            Ok(event) => Ok(Decoded { recorded, event }),
            Err(error) => Err((recorded, error)),
        });
        let Some(id) = into.last_mut().and_then(sealed_with) else { continue };
        if let Entry::Vacant(place) = keys.entry(id) {
            match codec.sealer().key_in_memory(id) {
                Some(key) => {
                    place.insert(Ok(key));
                }
                None => unknown.push(id),
            }
        }
    }
    if !unknown.is_empty() {
        unknown.sort_unstable();
        unknown.dedup();
        let found = codec.sealer().keys_stored(&unknown).await;
        keys.extend(unknown.into_iter().zip(found));
    }
    for slot in into {
        let Some(id) = sealed_with(slot) else { continue };
        let Ok(event) = slot else { continue };
        let opened = match keys.get(&id) {
            Some(Ok(key)) => codec.open_with(event, key.as_ref()).map_err(SealerError::from),
            Some(Err(error)) => Err(error.clone().into()),
            None => codec.open(event).await,
        };
        if let Err(error) = opened {
            *slot = Err((event.recorded.clone(), error.into()));
        }
    }
}

/// The key of the part that is to be opened.
fn sealed_with(slot: &mut Opened) -> Option<KeyId> {
    let decoded = slot.as_mut().ok().filter(|decoded| is_opened(decoded.recorded.stream.category))?;
    decoded.event.personal()?.key()
}

#[async_trait]
impl Handler for Projector {
    fn name(&self) -> &str {
        CONSUMER
    }

    fn filter(&self) -> Filter {
        Filter::default()
    }

    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError> {
        self.store.checkpoints(CONSUMER).await.map_err(of_store)
    }

    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError> {
        let mut chunks = batch.deliveries.chunks(TOGETHER);
        let mut chunk = chunks.next().unwrap_or_default();
        let mut folding = self.fold(chunk, OpenKeys::default());
        loop {
            let (changes, keys) = folded(folding).await?;
            let next = chunks.next();
            let ahead = next.map(|next| (next, self.fold(next, keys)));
            let mut checkpoints: Checkpoints = chunk.iter().map(|delivery| &delivery.checkpoint).collect();
            if ahead.is_none() {
                batch.watermarks.iter().for_each(|watermark| checkpoints.add(watermark));
            }
            let commit = Commit { consumer: Cow::Borrowed(CONSUMER), changes, parked: Vec::new(), checkpoints };
            self.store.commit(commit).await.map_err(of_store)?;
            let Some(ahead) = ahead else { return Ok(()) };
            (chunk, folding) = ahead;
        }
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        let commit = Commit {
            consumer: Cow::Borrowed(CONSUMER),
            changes: Changes::default(),
            parked: vec![parked(&delivery.event, reason)],
            checkpoints: delivery.checkpoint.clone().into(),
        };
        self.store.commit(commit).await.map_err(of_store)
    }
}

/// The row of a parked event.
pub(crate) fn parked(event: &RecordedEvent, reason: &str) -> ParkedEvent {
    ParkedEvent {
        position: event.position,
        tenant: event.tenant().as_str().to_owned(),
        stream: event.stream.to_string(),
        revision: event.revision.0,
        event: event.id,
        event_type: event.event_type.as_ref().to_owned(),
        reason: reason.to_owned(),
        recorded_at: event.recorded_at,
    }
}

#[cfg(test)]
mod tests;
