//! How far a consumer has come, part by part.
//!
//! **Invariant:** adding a checkpoint never takes one back: within a part the greater position counts, so that a process
//! that still writes after another took over undoes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::envelope::Position;

/// A part of a feed that is in order by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part(Arc<str>);

impl Part {
    /// The only part of a feed that has no others.
    #[must_use]
    pub fn whole() -> Self {
        Self(Arc::from(""))
    }

    /// The part of this stable name: `<topic>/<partition>`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its stable name; empty for the whole.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "the feed" } else { &self.0 })
    }
}

/// How far a consumer has come in one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where.
    pub part: Part,
    /// Place of the last record in the part, opaque to consumers: for the embedded feed the position, for Kafka the offset.
    pub offset: u64,
    /// Every event of the part up to this position of the log is handled.
    pub position: Position,
}

impl Checkpoint {
    /// The checkpoint of a feed whose order is the log's.
    #[must_use]
    pub fn of_position(position: Position) -> Self {
        Self { part: Part::whole(), offset: position.0, position }
    }
}

/// A text that is no checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the checkpoints of a feed")]
pub struct CheckpointError;

/// How far a consumer has come in every part that it has met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoints(BTreeMap<Part, (u64, Position)>);

impl Checkpoints {
    /// Before the first event.
    #[must_use]
    pub const fn start() -> Self {
        Self(BTreeMap::new())
    }

    /// At a position of the log in every part.
    #[must_use]
    pub fn of_position(position: Position) -> Self {
        Self::from(Checkpoint::of_position(position))
    }

    /// Adds a checkpoint.
    pub fn add(&mut self, checkpoint: &Checkpoint) {
        let place = self.0.entry(checkpoint.part.clone()).or_default();
        let (offset, position) = *place;
        if (checkpoint.position, checkpoint.offset) > (position, offset) {
            *place = (checkpoint.offset, checkpoint.position);
        }
    }

    /// Takes a part out.
    pub fn remove(&mut self, part: &Part) {
        self.0.remove(part);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for checkpoint in other.iter() {
            self.add(&checkpoint);
        }
    }

    /// Each part's.
    pub fn iter(&self) -> impl Iterator<Item = Checkpoint> {
        self.0.iter().map(|(part, (offset, position))| Checkpoint {
            part: part.clone(),
            offset: *offset,
            position: *position,
        })
    }

    /// That of one part, if it has one of its own.
    #[must_use]
    pub fn get(&self, part: &Part) -> Option<Checkpoint> {
        let (offset, position) = *self.0.get(part)?;
        Some(Checkpoint { part: part.clone(), offset, position })
    }

    /// The position that is reached in a part: its own, or that of the whole where that is greater.
    #[must_use]
    pub fn position_in(&self, part: &Part) -> Position {
        let own = self.0.get(part).map(|(_, position)| *position);
        let whole = self.0.get(&Part::whole()).map(|(_, position)| *position);
        own.max(whole).unwrap_or_default()
    }

    /// The position that is reached in all of these parts.
    #[must_use]
    pub fn reached(&self, parts: &[Part]) -> Position {
        parts.iter().map(|part| self.position_in(part)).min().unwrap_or_default()
    }

    /// The least position that any part has reached, that of the whole at least; the start when there is none.
    #[must_use]
    pub fn least(&self) -> Position {
        let whole = Part::whole();
        let of_whole = self.0.get(&whole).map(|(_, position)| *position);
        let least = self.0.iter().filter(|(part, _)| **part != whole).map(|(_, (_, position))| *position).min();
        of_whole.max(least).unwrap_or_default()
    }

    /// The greatest position that any part has reached.
    #[must_use]
    pub fn greatest(&self) -> Position {
        self.0.values().map(|(_, position)| *position).max().unwrap_or_default()
    }

    /// True when nothing was handled yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Checkpoint> for Checkpoints {
    fn from(checkpoint: Checkpoint) -> Self {
        Self(BTreeMap::from([(checkpoint.part, (checkpoint.offset, checkpoint.position))]))
    }
}

impl<'a> FromIterator<&'a Checkpoint> for Checkpoints {
    fn from_iter<I: IntoIterator<Item = &'a Checkpoint>>(iter: I) -> Self {
        let mut all = Self::default();
        for checkpoint in iter {
            all.add(checkpoint);
        }
        all
    }
}

/// The form in which files keep it: the position alone where there is one part, else a line per part with name, offset
/// and position.
impl fmt::Display for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Part::whole();
        for (index, (part, (offset, position))) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if *part == whole {
                write!(f, "{position}")?;
            } else {
                write!(f, "{} {offset} {position}", part.as_str())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Checkpoints {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut all = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let number = |text: &str| text.parse::<u64>().map_err(|_| CheckpointError);
            let checkpoint = match fields[..] {
                [position] => Checkpoint::of_position(Position(number(position)?)),
                [part, offset, position] if !part.is_empty() => Checkpoint {
                    part: Part::named(part),
                    offset: number(offset)?,
                    position: Position(number(position)?),
                },
                _ => return Err(CheckpointError),
            };
            all.add(&checkpoint);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(part: &str, offset: u64, position: u64) -> Checkpoint {
        Checkpoint { part: Part::named(part), offset, position: Position(position) }
    }

    proptest! {
        #[test]
        fn the_stored_form_reads_back(parts in prop::collection::btree_map("[a-z.]{1,9}/[0-9]{1,2}", (any::<u64>(), any::<u64>()), 0..5),
                                      whole in any::<Option<u64>>()) {
            let mut all: Checkpoints = parts.iter().map(|(part, (offset, at))| of(part, *offset, *at)).collect::<Vec<_>>().iter().collect();
            if let Some(whole) = whole {
                all.add(&Checkpoint::of_position(Position(whole)));
            }
            prop_assert_eq!(all.to_string().parse::<Checkpoints>(), Ok(all));
        }
    }

    #[test]
    fn a_late_checkpoint_takes_nothing_back() {
        let mut all = Checkpoints::from(of("a/0", 10, 100));
        all.add(&of("a/0", 11, 90));
        assert_eq!(all.get(&Part::named("a/0")), Some(of("a/0", 10, 100)));
        all.add(&of("a/0", 12, 100));
        assert_eq!(all.get(&Part::named("a/0")), Some(of("a/0", 12, 100)));
    }

    #[test]
    fn what_is_reached_is_what_the_slowest_part_has_reached() {
        let parts = ["a/0", "a/1"].map(Part::named);
        let mut all = Checkpoints::from(of("a/0", 1, 50));
        assert_eq!(all.reached(&parts), Position::START, "the other part has not begun");
        all.add(&of("a/1", 1, 70));
        assert_eq!((all.reached(&parts), all.least(), all.greatest()), (Position(50), Position(50), Position(70)));
        all.add(&Checkpoint::of_position(Position(60)));
        assert_eq!((all.reached(&parts), all.least()), (Position(60), Position(60)), "the whole was read up to there");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["no checkpoint of any feed", "a", "1 2", "a/0 1 x", " 1 2"] {
            assert_eq!(text.parse::<Checkpoints>(), Err(CheckpointError), "{text}");
        }
    }
}
