//! `letopis export`: the data of the configured engines as one file.
//!
//! **Invariant:** reads only; works beside a running server. No key and no personal data is in the file in clear.

use std::path::PathBuf;

use events::archive::{Contents, export};

use crate::command::progress::Shown;
use crate::command::say;
use crate::config::{Config, Keeping, LogEngine};
use crate::engines;
use crate::telemetry;

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file to make; it must not be there.
    #[arg(long)]
    to: PathBuf,
}

/// Exports.
///
/// # Errors
/// The data cannot be read or the file not be written; then there is no file.
pub async fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    telemetry::install_logs(&config.logs)?;
    let embedded =
        [(config.log.engine == LogEngine::Embedded, "log.db"), (config.keys.engine == Keeping::Embedded, "keys.db")];
    for (_, name) in embedded.into_iter().filter(|(embedded, _)| *embedded) {
        let there = config.data_file(name).exists();
        anyhow::ensure!(there, "there is no {name} in {}: is data_dir right?", config.data_dir.display());
    }
    let places = engines::places(&config)?;
    let shown = Shown::new("exporting");
    let (contents, head) = export(&places, &arguments.to, &|progress| shown.show(progress)).await?;
    say(summary(&contents))?;
    if head > contents.position {
        say(format_args!(
            "note: the log went on to position {head} meanwhile; stop the server and export again before you move to a copy"
        ))?;
    }
    Ok(())
}

/// What an archive holds, in one line.
pub(super) fn summary(contents: &Contents) -> String {
    let Contents { position, events, keys, pages, blobs, checkpoints } = contents;
    format!(
        "events: {events}, keys: {keys}, pages of keys: {pages}, blobs: {blobs}, checkpoints: {checkpoints}, \
         position: {position}"
    )
}
