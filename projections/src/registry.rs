//! Every projection and every table there is.
//!
//! **Invariant:** a table that is not listed here does not exist: the store makes its file from this list, and the
//! erasure of a person goes through it (design invariant 13).

use crate::account::AccountProjection;
use crate::calendar::CalendarProjection;
use crate::case::CaseProjection;
use crate::case_type::CaseTypeProjection;
use crate::contact::ContactProjection;
use crate::conversation::ConversationProjection;
use crate::event_index::EventIndexProjection;
use crate::intake::IntakeProjection;
use crate::link::LinkProjection;
use crate::operator::OperatorProjection;
use crate::profile::ProfileProjection;
use crate::projection::{Erasure, PersonalColumns, Projection, Table};
use crate::queue::QueueProjection;
use crate::service_level::ServiceLevelProjection;
use crate::timeline::TimelineProjection;

/// Every projection.
pub const PROJECTIONS: &[&dyn Projection] = &[
    &AccountProjection,
    &ContactProjection,
    &ProfileProjection,
    &LinkProjection,
    &ConversationProjection,
    &TimelineProjection,
    &IntakeProjection,
    &CalendarProjection,
    &OperatorProjection,
    &QueueProjection,
    &CaseProjection,
    &CaseTypeProjection,
    &ServiceLevelProjection,
    &EventIndexProjection,
];

/// Every table of every projection.
pub fn tables() -> impl Iterator<Item = &'static Table> {
    PROJECTIONS.iter().flat_map(|projection| projection.tables())
}

/// Every statement that erases personal columns, with its table.
pub fn erasures() -> impl Iterator<Item = (&'static Table, &'static Erasure)> {
    tables().flat_map(|table| {
        let erased: &'static [Erasure] = match table.personal {
            PersonalColumns::None => &[],
            PersonalColumns::Columns { erased, .. } => erased,
        };
        erased.iter().map(move |erasure| (table, erasure))
    })
}

#[cfg(test)]
mod tests;
