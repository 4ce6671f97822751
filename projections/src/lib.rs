//! What we know: folds from events to read models, and the reads of them.
//!
//! A [`projection`] folds decoded events to rows; the [`projector`] drives all of them from the feed and commits rows
//! and checkpoint together to a [`store`]; [`views`] reads them for a viewer, through the [`mask`]. Read models are
//! disposable: [`rebuild`] makes them anew beside the live ones and compares; [`audit`] folds them as of a time.
//!
//! **Invariant:** depends on `events` alone. Read models are never written by commands, and no decision reads them.

pub mod account;
pub mod audit;
pub mod calendar;
pub mod case;
pub mod case_type;
pub mod contact;
pub mod conversation;
pub mod event_index;
pub mod intake;
pub mod link;
pub mod mask;
pub mod operator;
pub mod profile;
pub mod projection;
pub mod projector;
pub mod queue;
pub mod rebuild;
pub mod registry;
pub mod service_level;
pub mod statement;
pub mod store;
pub mod timeline;
pub mod value;
pub mod views;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use views::Views;
