//! Serves the double of EventStoreDB until it is stopped: `eventstore-double [port]`, any free port without one.
//!
//! **Invariant:** what it prints is its connection string, once it can be connected to.

use std::env;
use std::io::{self, Write};

use events::testing::eventstore::EventStoreDouble;

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = match env::args().nth(1) {
        Some(port) => port.parse().map_err(io::Error::other)?,
        None => 0,
    };
    let double = EventStoreDouble::start_at(port).await?;
    let mut out = io::stdout();
    writeln!(out, "{}", double.url())?;
    out.flush()?;
    std::future::pending::<()>().await;
    Ok(())
}
