//! What happened, and the log it is written in.
//!
//! The vocabulary of every event letopis ever stores, the envelope around it, the codec and the sealing of
//! personal fields, and the ports of the log, the feed, the key store, the blobs and the leases with their adapters:
//! embedded ones, and those of other engines as features.
//!
//! **Invariant:** depends on no other workspace crate. Stored payloads are never edited or renamed; an
//! incompatible change is a new version plus an upcaster ([`upcast`]).
//!
//! | stream category | subject file | one stream per |
//! |---|---|---|
//! | `account` | [`account`] | channel account of a tenant |
//! | `intake` | [`intake`] | (account, conversation key found in the raw delivery) |
//! | `contact` | [`contact`] | contact point: phone, address, messenger account |
//! | `profile` | [`profile`] | occupancy of a contact point: attributes of one person |
//! | `link` | [`link`] | pair of occupancies |
//! | `conversation` | [`conversation`] | (account, outside thread) |
//! | `calendar` | [`calendar`] | working hours of a team |
//! | `operator` | [`operator`] | person of the contact centre |
//! | `queue` | [`queue`] | queue of a tenant |
//! | `case` | [`case`] | matter of a customer |
//! | `casetype` | [`case_type`] | kind of matters |
//! | `caseregister` | [`case`] | tenant |
//! | `servicelevel` | [`service_level`] | promise to customers |

pub mod account;
pub mod archive;
pub mod asyncapi;
pub mod blobs;
pub mod calendar;
pub mod case;
pub mod case_type;
pub mod checkpoints;
pub mod clock;
pub mod codec;
pub mod consumer;
pub mod contact;
pub mod conversation;
pub mod drafts;
pub mod envelope;
pub mod feed;
pub mod heartbeats;
pub mod ids;
pub mod intake;
pub mod lease;
pub mod link;
pub mod log;
pub mod operator;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod profile;
pub mod queue;
#[cfg(feature = "kafka")]
pub mod relay;
pub mod seal;
pub mod service_level;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod upcast;
pub mod values;
pub mod viewer;
pub mod vocabulary;

pub use codec::DomainEvent;
pub use vocabulary::EventType;
