//! `letopis import`: empty engines filled from an archive.
//!
//! **Invariant:** an archive that is damaged, another key-encryption key and engines with data are refused before anything
//! is written.

use std::path::PathBuf;

use events::archive::import;

use crate::command::export::summary;
use crate::command::progress::Shown;
use crate::command::say;
use crate::config::Config;
use crate::engines;
use crate::telemetry;

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file that `letopis export` made.
    #[arg(long)]
    from: PathBuf,
}

/// Imports.
///
/// # Errors
/// See the invariant; or the engines cannot be written.
pub async fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    telemetry::install_logs(&config.logs)?;
    let places = engines::places(&config)?;
    let kek = engines::key_of_target(&config)?;
    let shown = Shown::new("importing");
    let contents = import(&arguments.from, &places, &kek, &|progress| shown.show(progress)).await?;
    say(summary(&contents))?;
    say("now make the read models: letopis rebuild")
}
