//! What happened, and the log it is written in.
//!
//! The vocabulary of every event letopis ever stores, the envelope around it, the codec and the sealing of
//! personal fields, and the ports of the log, the feed, the key store and the blobs with their embedded adapters.
//!
//! **Invariant:** depends on no other workspace crate. Stored payloads are never edited or renamed; an
//! incompatible change is a new version plus an upcaster (`upcast`).
//!
//! | stream category | subject file | one stream per |
//! |---|---|---|
//! | `account` | `account` | channel account of a tenant |
//! | `intake` | `intake` | (account, conversation key found in the raw delivery) |
//! | `contact` | `contact` | contact point: phone, address, messenger account |
//! | `profile` | `profile` | occupancy of a contact point: attributes of one person |
//! | `link` | `link` | pair of occupancies |
//! | `conversation` | `conversation` | (account, outside thread) |

pub mod clock;
pub mod envelope;
pub mod feed;
pub mod ids;
pub mod log;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod viewer;
