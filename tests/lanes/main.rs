//! The lanes: long checks against the real server that `make test` leaves out. `docs/testing.md` says how to run each.
//!
//! **Invariant:** a lane that lacks what it needs fails; none passes because it looked at nothing. What a lane prints
//! are counts and file names, never what a fixture says.

mod accounts;
mod corpus;
mod durability;
mod kill;
mod server;
mod trace;

/// Prints one line for whoever runs the lane, also when the output of tests is captured.
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    // A closed standard error has no reader.
    let _ = writeln!(std::io::stderr(), "{line}");
}
