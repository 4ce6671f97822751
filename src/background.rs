//! Threads for what need not be done before a sender is answered: reactors and projections.
//!
//! **Invariant:** where processors are short, intake goes first. What was taken in is in the log and can wait; a
//! provider that is not answered cannot.

use std::future::Future;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// How much they give way, in steps of `nice`: one thread at +10 beside one at 0 gets about a tenth of a processor that
/// both want, and all of it while the other sleeps. **Source:** Linux, `sched(7)` and `sched_prio_to_weight`, 110 to 1024.
#[cfg(target_os = "linux")]
const GIVES_WAY_BY: i32 = 10;

/// A runtime whose threads give way to all others.
pub struct Background {
    /// Taken when it ends.
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts the threads, one per processor.
    ///
    /// # Errors
    /// No threads can be started.
    pub fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("background")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs a task there.
    ///
    /// # Panics
    /// Never: the runtime is there until `self` is gone.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.as_ref().expect("the runtime is there until it is dropped").spawn(task)
    }
}

impl Drop for Background {
    /// Tasks that still run end at their next wait; whoever cares has waited for them.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes the calling thread give way to others. On Linux a thread has a `nice` of its own; elsewhere it is the whole
/// process's, which is left alone.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(GIVES_WAY_BY) {
        tracing::warn!(%error, "a background thread keeps its priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn threads_in_the_background_give_way_and_others_do_not() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let background = Background::start().unwrap();
        let before = nice();
        assert_eq!(background.spawn(async move { nice() }).await.unwrap(), (before + GIVES_WAY_BY).min(19));
        assert_eq!(nice(), before);
    }
}
