//! Waits for a shutdown.
//!
//! **Invariant:** a closed channel counts as asked: its owner ended without asking.

use tokio::sync::watch;

/// Resolves once a shutdown is asked for.
pub async fn asked(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the owner is gone, which ends the wait as well.
    let _ = shutdown.wait_for(|asked| *asked).await;
}
