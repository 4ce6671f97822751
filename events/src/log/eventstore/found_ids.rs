//! Where events are by their ids, gathered by reading: the server has no index of ids.
//!
//! **Invariant:** an id is answered only after everything up to the end of the log was gathered, as it was when the
//! question came; and what is found is read again, so that a wrong trace gives no wrong answer.

use rustc_hash::FxHashMap;
use tokio::sync::Mutex;

use super::Log;
use super::reads::{More, Part};
use super::records::{decode, position};
use crate::envelope::{Position, RecordedEvent, StreamName};
use crate::ids::EventId;
use crate::log::{Direction, Filter, ReadError};

/// Records read with one call.
const PAGE: usize = 4096;

/// What was gathered so far.
#[derive(Default)]
pub(super) struct FoundIds(Mutex<Gathered>);

#[derive(Default)]
struct Gathered {
    reached: Position,
    /// The first event whose id has this trace.
    places: FxHashMap<u64, Position>,
    /// Others: ids written twice, and the few that share a trace.
    others: Vec<(u64, Position)>,
}

impl Gathered {
    fn take(&mut self, id: EventId, position: Position) {
        let trace = trace(id);
        if *self.places.entry(trace).or_insert(position) != position {
            self.others.push((trace, position));
        }
    }

    fn places_of(&self, id: EventId) -> Vec<Position> {
        let trace = trace(id);
        let others = self.others.iter().filter(|(of, _)| *of == trace).map(|(_, position)| *position);
        self.places.get(&trace).copied().into_iter().chain(others).collect()
    }
}

/// Half of an id: enough to find it, not to prove it.
fn trace(id: EventId) -> u64 {
    let (most, least) = id.uuid().as_u64_pair();
    most ^ least
}

impl FoundIds {
    pub(super) async fn find(&self, log: &Log, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        let places = {
            let mut gathered = self.0.lock().await;
            gather(log, &mut gathered).await?;
            gathered.places_of(id)
        };
        for place in places {
            if let Some(event) = at(log, place).await?.filter(|event| event.id == id) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

async fn gather(log: &Log, gathered: &mut Gathered) -> Result<(), ReadError> {
    loop {
        let from = (gathered.reached > Position::START).then_some(gathered.reached);
        let part = Part { from, direction: Direction::Forwards, filter: &Filter::default(), count: PAGE };
        let is_end = log
            .visit_all(&part, |record| {
                let position = position(record);
                if position > gathered.reached {
                    gathered.reached = position;
                    if record.stream_id().parse::<StreamName>().is_ok() {
                        gathered.take(EventId::new(record.id), position);
                    }
                }
                More::Wanted
            })
            .await?;
        if is_end {
            return Ok(());
        }
    }
}

async fn at(log: &Log, place: Position) -> Result<Option<RecordedEvent>, ReadError> {
    let part = Part { from: Some(place), direction: Direction::Forwards, filter: &Filter::default(), count: 1 };
    let mut found = Ok(None);
    log.visit_all(&part, |record| {
        if position(record) == place {
            found = decode(record);
        }
        More::Enough
    })
    .await?;
    Ok(found?.map(|stored| stored.event))
}
