//! `letopis demo`: a story on a throw-away data folder.
//!
//! **Invariant:** talks to the server as everybody does, over HTTP.

use crate::config::Config;

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the story.
///
/// # Errors
/// Not there yet.
pub async fn run(_config: Config, _arguments: Arguments) -> anyhow::Result<()> {
    anyhow::bail!("the demo is not there yet")
}
