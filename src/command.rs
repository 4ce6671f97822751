//! What the command line does.
//!
//! **Invariant:** a command that fails says what to do and leaves the data as it was.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;

pub mod demo;
pub mod export;
pub mod import;
mod progress;
pub mod rebuild;
pub mod replay;
pub mod serve;

/// The configuration file that is read when none is named.
const DEFAULT_FILE: &str = "letopis.toml";

/// Reads the configuration.
///
/// # Errors
/// A message that names the key and where its value came from.
pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    match file {
        Some(file) => Config::load(file, true),
        None => Config::load(Path::new(DEFAULT_FILE), false),
    }
}

/// Says why a command failed.
#[must_use]
pub fn failed(error: &anyhow::Error) -> ExitCode {
    // When standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "letopis: {error:#}");
    ExitCode::FAILURE
}

/// Prints one line for people.
///
/// # Errors
/// Standard output is closed.
pub fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Prints the configuration in force, which holds no secrets.
///
/// # Errors
/// Standard output is closed.
pub fn check_config(config: &Config) -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(config)?)
}
