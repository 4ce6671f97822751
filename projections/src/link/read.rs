//! Walks along active links: the connected component of an occupancy is the person.
//!
//! **Invariant:** a walk ends, whatever the links are, since it visits an occupancy once; answers are bounded.

use chrono::{DateTime, Utc};
use events::ids::{ContactId, LinkId, Occupancy};
use events::link::LinkBasis;

use crate::store::StoreError;
use crate::value::{Columns, Row};

/// Most rows of members or links in one answer. Far above any person; a bound against a mistake that links everybody
/// with everybody.
pub(crate) const MOST_MEMBERS: usize = 10_000;

/// A link between two occupancies of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// Its id.
    pub link: LinkId,
    /// The lesser side.
    pub one: Occupancy,
    /// The greater side.
    pub other: Occupancy,
    /// Why this is believed.
    pub basis: Option<LinkBasis>,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A recursive table `member(seed, contact, number)` over the occupancies that are linked, directly or not, with the
/// profiles of `seeds`, a query of `(profile, contact, number)`. `active` is the condition on edges.
pub(crate) fn components(seeds: &str, active: &str) -> String {
    format!(
        "WITH RECURSIVE member (seed, contact, number) AS ({seeds} UNION \
         SELECT m.seed, e.other_contact, e.other_number FROM member m \
         JOIN link_edge e ON e.contact = m.contact AND e.number = m.number{active}) "
    )
}

/// The active links among the members.
pub(crate) fn links_query(members: &str) -> String {
    format!(
        "{members}SELECT DISTINCT m.seed, e.link, e.contact, e.number, e.other_contact, e.other_number, e.basis, \
         e.since FROM member m JOIN link_edge e ON e.contact = m.contact AND e.number = m.number AND e.active = 1 \
         WHERE (e.contact, e.number) < (e.other_contact, e.other_number) ORDER BY e.since, e.link LIMIT {MOST_MEMBERS}"
    )
}

/// The rows of [`links_query`]: the seed and the link.
pub(crate) fn links_of_rows(rows: Vec<Row>) -> Result<Vec<(uuid::Uuid, LinkView)>, StoreError> {
    let read = |row: Row| {
        let mut row = Columns::from(row);
        let seed = row.id()?;
        let link = LinkId::new(row.id()?);
        let one = Occupancy { contact: ContactId::new(row.id()?), number: row.small()? };
        let other = Occupancy { contact: ContactId::new(row.id()?), number: row.small()? };
        Ok((seed, LinkView { link, one, other, basis: row.opt_named()?, since: row.time()? }))
    };
    rows.into_iter().map(read).collect()
}
