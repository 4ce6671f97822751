//! The plainest durable group commit there is: frames appended to one file, one `fdatasync` per group.
//!
//! **Invariant:** an append is answered after the sync of its bytes; no index, no revision, nothing can be found again.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::appends::legs::Appends;

/// Bytes of an event.
const FRAME: [u8; 512] = [b'x'; 512];

/// How many frames to append, and whom to tell.
type Waiting = Vec<(u64, oneshot::Sender<()>)>;

#[derive(Default)]
struct Buffer {
    /// What waits, and whether the probe is closed.
    waiting: Mutex<(Waiting, bool)>,
    wake: Condvar,
}

/// A file with a writer thread.
pub(crate) struct FileProbe {
    buffer: Arc<Buffer>,
    writer: Option<JoinHandle<()>>,
}

impl FileProbe {
    /// Makes a fresh file in `folder`.
    pub(crate) fn open(folder: &Path) -> std::io::Result<Self> {
        let file = File::create(folder.join("frames"))?;
        let buffer = Arc::new(Buffer::default());
        let shared = Arc::clone(&buffer);
        let writer = Some(std::thread::spawn(move || write(file, &shared)));
        Ok(Self { buffer, writer })
    }
}

impl Appends for Arc<FileProbe> {
    async fn append(&self, _stream: u64, _revision: u64, count: u64) {
        let (answer, answered) = oneshot::channel();
        self.buffer.waiting.lock().0.push((count, answer));
        self.buffer.wake.notify_one();
        answered.await.expect("the writer answers");
    }
}

impl Drop for FileProbe {
    fn drop(&mut self) {
        self.buffer.waiting.lock().1 = true;
        self.buffer.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            writer.join().expect("the writer ends well");
        }
    }
}

fn write(mut file: File, buffer: &Buffer) {
    let (mut group, mut bytes) = (Vec::new(), Vec::new());
    loop {
        {
            let mut waiting = buffer.waiting.lock();
            while waiting.0.is_empty() {
                if waiting.1 {
                    return;
                }
                buffer.wake.wait(&mut waiting);
            }
            std::mem::swap(&mut waiting.0, &mut group);
        }
        bytes.clear();
        for (count, _) in &group {
            for _ in 0..*count {
                bytes.extend_from_slice(&FRAME);
            }
        }
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("the disk takes the group");
        for (_, answer) in group.drain(..) {
            // Whoever waited went away only when the leg is over.
            let _ = answer.send(());
        }
    }
}
