//! What becomes of the appends of a group, decided within the turn: made, recognised or refused, each for itself.
//!
//! **Invariant:** pure: it sees what the log held when the turn began and what the group adds, and gives an answer to
//! each append and the rows of those that are made. A refused append leaves no row.

use std::collections::HashMap;
use std::sync::Arc;

use super::queue::{Answer, Request};
use super::row::category_number;
use crate::envelope::{Position, Revision, StreamName};
use crate::ids::EventId;
use crate::log::{AppendError, AppendRequest, Appended, ExpectedRevision};

/// Where an event with some id is already.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) stream: StreamName,
    pub(super) position: Position,
    pub(super) revision: Revision,
    pub(super) event_type: Arc<str>,
    /// `None` when the log that it was imported from did not tell.
    pub(super) digest: Option<[u8; 16]>,
}

/// What the log holds, as far as it matters to a group.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Last revisions of those streams of the group that exist.
    pub(super) ends: HashMap<StreamName, Revision>,
    /// Those events of the group that are there.
    pub(super) ids: HashMap<EventId, Found>,
    /// Position of the last event.
    pub(super) head: Position,
}

/// Rows to insert, by columns.
#[derive(Debug, Default)]
pub(super) struct Rows<'g> {
    pub(super) position: Vec<i64>,
    pub(super) revision: Vec<i64>,
    pub(super) stream_id: Vec<uuid::Uuid>,
    pub(super) event_id: Vec<uuid::Uuid>,
    pub(super) category: Vec<i16>,
    pub(super) version: Vec<i32>,
    pub(super) tenant: Vec<&'g str>,
    pub(super) event_type: Vec<&'g str>,
    pub(super) digest: Vec<&'g [u8]>,
    pub(super) metadata: Vec<&'g str>,
    pub(super) payload: Vec<&'g [u8]>,
}

impl Held {
    /// Decides the appends in their order.
    pub(super) fn decide<'g>(&mut self, group: &'g [Request]) -> (Vec<Answer>, Rows<'g>) {
        let mut rows = Rows::default();
        let answers = group.iter().map(|request| self.append(request, &mut rows)).collect();
        (answers, rows)
    }

    fn append<'g>(&mut self, request: &'g Request, rows: &mut Rows<'g>) -> Answer {
        let append = &request.append;
        if append.events.iter().any(|event| self.ids.contains_key(&event.id)) {
            return self.recognise(append);
        }
        let last = self.ends.get(&append.stream).copied();
        let fits = match append.expected {
            ExpectedRevision::Any => true,
            ExpectedRevision::NoStream => last.is_none(),
            ExpectedRevision::Exact(expected) => last == Some(expected),
        };
        if !fits {
            return Err(AppendError::Conflict { expected: append.expected, actual: last });
        }
        let first_revision = last.map_or(Revision(0), Revision::next);
        let mut revision = first_revision;
        for (event, metadata) in append.events.iter().zip(&request.metadata) {
            self.head = Position(self.head.0 + 1);
            rows.position.push(self.head.0.cast_signed());
            rows.revision.push(revision.0.cast_signed());
            rows.stream_id.push(append.stream.id);
            rows.event_id.push(event.id.uuid());
            rows.category.push(category_number(append.stream.category));
            rows.version.push(event.version.into());
            rows.tenant.push(append.stream.tenant.as_str());
            rows.event_type.push(&event.event_type);
            rows.digest.push(&event.digest);
            rows.metadata.push(metadata);
            rows.payload.push(&event.payload);
            let found = Found {
                stream: append.stream.clone(),
                position: self.head,
                revision,
                event_type: Arc::clone(&event.event_type),
                digest: Some(event.digest),
            };
            self.ids.insert(event.id, found);
            self.ends.insert(append.stream.clone(), revision);
            revision = revision.next();
        }
        Ok(Appended { first_revision, last_revision: Revision(revision.0 - 1), position: self.head, repeated: false })
    }

    /// Answers an append some of whose ids are there: a repetition, or ids that are taken.
    fn recognise(&self, append: &AppendRequest) -> Answer {
        let found: Vec<Option<&Found>> = append.events.iter().map(|event| self.ids.get(&event.id)).collect();
        let taken = |index: usize| Err(AppendError::IdTaken(append.events[index].id));
        if found.iter().any(Option::is_none) {
            return taken(found.iter().position(Option::is_some).unwrap_or_default());
        }
        let found: Vec<&Found> = found.into_iter().flatten().collect();
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            return Err(AppendError::Invalid("no events"));
        };
        for (index, (old, event)) in found.iter().zip(&append.events).enumerate() {
            let same = old.stream == append.stream
                && old.revision.0 == first.revision.0 + index as u64
                && old.event_type == event.event_type
                && old.digest.is_none_or(|digest| digest == event.digest);
            if !same {
                return taken(index);
            }
        }
        Ok(Appended {
            first_revision: first.revision,
            last_revision: last.revision,
            position: last.position,
            repeated: true,
        })
    }
}

#[cfg(test)]
mod tests;
