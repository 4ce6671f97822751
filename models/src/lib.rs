//! What may happen: the domain models of letopis (not machine-learning models: those are `llm`, `classifier`,
//! `forecaster`), pure and synchronous but for [`handler`].
//!
//! A **command** is a wish, a **decider** answers it with events or a rejection, the **handler** loads, folds,
//! decides, appends and retries on conflict. There is no other way to write (design invariant 3).
//!
//! **Invariant:** depends on `events` alone; names no runtime, HTTP, database or LLM; no decision reads a read model,
//! a clock or a random number: what a decider needs comes in the command.

#![deny(clippy::wildcard_enum_match_arm)]

pub mod account;
pub mod calendar;
pub mod case;
pub mod case_type;
pub mod clock;
pub mod command;
pub mod contact;
pub mod conversation;
pub mod decider;
pub mod handler;
pub mod intake;
pub mod link;
pub mod operator;
pub mod policies;
pub mod profile;
pub mod queue;
pub mod service_level;
#[cfg(test)]
mod testing;
