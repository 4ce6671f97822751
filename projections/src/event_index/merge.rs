//! Reads several streams as one, in the order of the log.
//!
//! **Invariant:** of each stream no more than a few events are held at a time, so that a page over a thousand streams
//! holds no more events than one over a single stream.

use std::collections::VecDeque;

use events::envelope::{RecordedEvent, Revision, StreamName};
use events::log::{Direction, EventLog, ReadError};

use super::find::{FindError, Search};
use crate::views::Order;

/// Events of all streams together that are held at a time.
const HELD: usize = 1024;
/// Most events of one stream read at once.
const SLICE: usize = 128;

/// A stream on its way.
struct Strand<'a> {
    stream: &'a StreamName,
    held: VecDeque<RecordedEvent>,
    /// Where to read on; `None` at the end.
    next: Option<Revision>,
}

/// Looks through the streams until the search is over.
pub(super) async fn run(log: &dyn EventLog, streams: &[StreamName], search: &mut Search<'_>) -> Result<(), FindError> {
    let slice = (HELD / streams.len().max(1)).clamp(2, SLICE);
    let mut strands = Vec::with_capacity(streams.len());
    for stream in streams {
        strands.push(Strand { stream, held: VecDeque::new(), next: first(log, stream, search).await? });
    }
    loop {
        for strand in &mut strands {
            strand.fill(log, search.order, slice).await?;
        }
        // An order among the heads of all strands; a strand that ran empty is filled before the next event is taken.
        loop {
            let heads = strands.iter().enumerate().filter_map(|(at, strand)| Some((strand.held.front()?.position, at)));
            let next = match search.order {
                Order::Ascending => heads.min(),
                Order::Descending => heads.max(),
            };
            let Some((_, at)) = next else {
                search.at_the_end();
                return Ok(());
            };
            let strand = &mut strands[at];
            if let Some(event) = strand.held.pop_front()
                && !search.look(event)
            {
                return Ok(());
            }
            if strand.held.is_empty() && strand.next.is_some() {
                break;
            }
        }
    }
}

impl Strand<'_> {
    async fn fill(&mut self, log: &dyn EventLog, order: Order, slice: usize) -> Result<(), ReadError> {
        let Some(next) = self.next.filter(|_| self.held.is_empty()) else { return Ok(()) };
        let direction = match order {
            Order::Ascending => Direction::Forwards,
            Order::Descending => Direction::Backwards,
        };
        let events = log.read_stream(self.stream, Some(next), direction, slice).await?;
        self.next = match (events.last(), order) {
            (Some(last), Order::Ascending) if events.len() == slice => Some(last.revision.next()),
            (Some(last), Order::Descending) => last.revision.0.checked_sub(1).map(Revision),
            _ => None,
        };
        self.held.extend(events);
        Ok(())
    }
}

/// The first revision of a stream within the range of the search, in its order: a binary search, since positions grow
/// with revisions.
async fn first(log: &dyn EventLog, stream: &StreamName, search: &Search<'_>) -> Result<Option<Revision>, ReadError> {
    let Some(last) = log.last_revision(stream).await? else { return Ok(None) };
    // Revisions below `low` are before the place, those from `high` on behind it.
    let (mut low, mut high) = (0, last.0 + 1);
    let after = match search.order {
        Order::Ascending => search.range.low,
        Order::Descending => search.range.high,
    };
    if search.order == Order::Ascending && after.0 == 0 {
        return Ok(Some(Revision(0)));
    }
    while low < high {
        let middle = low + (high - low) / 2;
        let event = log.read_stream(stream, Some(Revision(middle)), Direction::Forwards, 1).await?;
        match event.first() {
            Some(event) if event.position <= after => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(match search.order {
        Order::Ascending => (low <= last.0).then_some(Revision(low)),
        Order::Descending => low.checked_sub(1).map(Revision),
    })
}
