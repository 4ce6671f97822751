//! Positions by time: the server has no index of times.
//!
//! **Invariant:** a mark is the position of a record that the server took in the hour of the mark or after it, less
//! [`STEP`]. The server refuses positions at which no record begins, so the log cannot be halved; it is read backwards
//! from a mark.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::Log;
use super::reads::{More, Part};
use super::records::{created_micros, position};
use crate::envelope::Position;
use crate::log::{Direction, Filter, ReadError};

/// How far the server's clock may go back.
const STEP_MICROS: i64 = 60_000_000;

const HOUR_MICROS: i64 = 3_600_000_000;

/// Positions passed, one for each hour in which there was any: 16 bytes, 140 KB in a year.
#[derive(Default)]
pub(super) struct Times(Mutex<BTreeMap<i64, Position>>);

impl Times {
    /// Notes what a read has passed.
    pub(super) fn note(&self, recorded_at: DateTime<Utc>, position: Position) {
        self.note_micros(recorded_at.timestamp_micros(), position);
    }

    fn note_micros(&self, micros: i64, position: Position) {
        let mut marks = self.0.lock();
        let mark = marks.entry(micros.div_euclid(HOUR_MICROS)).or_insert(position);
        *mark = (*mark).min(position);
    }

    /// How many hours have a mark.
    #[cfg(test)]
    pub(super) fn hours(&self) -> usize {
        self.0.lock().len()
    }

    /// A position that nothing after it was taken by `micros`, if one is known.
    fn mark_after(&self, micros: i64) -> Option<Position> {
        let hour = (micros + STEP_MICROS).div_euclid(HOUR_MICROS) + 1;
        self.0.lock().range(hour..).next().map(|(_, position)| *position)
    }
}

/// The last position whose running maximum of times is not after `time`.
pub(super) async fn position_at(log: &Log, time: DateTime<Utc>) -> Result<Position, ReadError> {
    let time = time.timestamp_micros();
    let part = Part {
        from: log.times.mark_after(time),
        direction: Direction::Backwards,
        filter: &Filter::default(),
        count: usize::MAX,
    };
    // The last one before the earliest that is too late.
    let mut found = None;
    log.visit_all(&part, |record| {
        let Some(taken) = created_micros(record) else { return More::Wanted };
        let position = position(record);
        log.times.note_micros(taken, position);
        if taken > time {
            found = None;
        } else if found.is_none() {
            found = Some(position);
        }
        // Nothing before it can be too late, as far as the clock goes back.
        if taken <= time - STEP_MICROS { More::Enough } else { More::Wanted }
    })
    .await?;
    Ok(found.unwrap_or(Position::START))
}
