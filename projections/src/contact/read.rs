//! Reads of contact points: the occupancies and who may not write to them.
//!
//! **Invariant:** addresses leave through [`crate::mask`] only.

use chrono::{DateTime, Utc};
use events::contact::VacatedReason;
use events::ids::{AccountId, ContactId, Occupancy};
use events::values::ContactKind;
use events::viewer::Viewer;

use crate::mask;
use crate::store::StoreError;
use crate::value::Columns;

/// One occupancy of a contact point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OccupancyView {
    /// Which.
    pub occupancy: Occupancy,
    /// What kind of contact point it is.
    pub kind: ContactKind,
    /// The account through which it was first seen.
    pub account: AccountId,
    /// The address in its normal form, masked for the viewer; `None` when erased.
    pub normalised: Option<String>,
    /// The address as it was written, masked for the viewer; `None` when erased.
    pub source_form: Option<String>,
    /// Since when.
    pub occupied_at: DateTime<Utc>,
    /// Until when.
    pub vacated_at: Option<DateTime<Utc>>,
    /// Why it ended.
    pub vacated_reason: Option<VacatedReason>,
    /// Accounts that the customer has blocked or unblocked.
    pub blocks: Vec<BlockView>,
}

/// Whether a customer lets an account write to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockView {
    /// The account.
    pub account: AccountId,
    /// True while it may not write.
    pub blocked: bool,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// The columns that [`occupancy_of`] reads, of the table called `o`.
pub(crate) const OCCUPANCY_COLUMNS: &str = "o.contact, o.number, o.kind, o.account, o.normalised, o.source_form, \
    o.occupied_at, o.vacated_at, o.vacated_reason";

/// Reads [`OCCUPANCY_COLUMNS`] and masks.
pub(crate) fn occupancy_of(viewer: &Viewer, row: &mut Columns) -> Result<OccupancyView, StoreError> {
    let occupancy = Occupancy { contact: ContactId::new(row.id()?), number: row.small()? };
    let kind: ContactKind = row.named()?;
    Ok(OccupancyView {
        occupancy,
        kind,
        account: AccountId::new(row.id()?),
        normalised: row.opt_text()?.map(|text| mask::address(viewer, kind, text)),
        source_form: row.opt_text()?.map(|text| mask::address(viewer, kind, text)),
        occupied_at: row.time()?,
        vacated_at: row.opt_time()?,
        vacated_reason: row.opt_named()?,
        blocks: Vec::new(),
    })
}
