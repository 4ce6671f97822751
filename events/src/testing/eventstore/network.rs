//! The wire between a client and a double: real TCP, which a test can cut.
//!
//! **Invariant:** what is cut is gone for both sides at once; a server behind it goes on and keeps what it has.

use std::io;
use std::sync::Arc;

use futures::stream::{self, Stream};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Bytes on their way between the socket and the server.
const BUFFERED_BYTES: usize = 64 * 1024;

/// Connections of one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Wires(Arc<Mutex<Vec<AbortHandle>>>);

impl Wires {
    /// Cuts every connection there is; new ones can be made.
    pub(super) fn cut(&self) {
        for wire in self.0.lock().drain(..) {
            wire.abort();
        }
    }

    /// Takes connections of `listener` until the receiving side is gone.
    pub(super) async fn accept(self, listener: TcpListener, incoming: mpsc::Sender<io::Result<DuplexStream>>) {
        while let Ok((socket, _)) = listener.accept().await {
            let (ours, servers) = duplex(BUFFERED_BYTES);
            if incoming.send(Ok(servers)).await.is_err() {
                return;
            }
            let wire = tokio::spawn(join(socket, ours));
            let mut wires = self.0.lock();
            wires.retain(|wire| !wire.is_finished());
            wires.push(wire.abort_handle());
        }
    }
}

/// Carries bytes both ways; an end of either side ends the other.
async fn join(mut socket: TcpStream, server: DuplexStream) {
    // Small messages that are waited for.
    let _ = socket.set_nodelay(true);
    let (mut from_server, mut to_server) = split(server);
    let (mut from_client, mut to_client) = socket.split();
    let upwards = async {
        let mut bytes = vec![0; BUFFERED_BYTES];
        loop {
            let read = from_client.read(&mut bytes).await?;
            acknowledge(from_client.as_ref());
            if read == 0 {
                return to_server.shutdown().await;
            }
            to_server.write_all(&bytes[..read]).await?;
        }
    };
    tokio::select! {
        _ = upwards => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// Acknowledges at once. The Rust client (1.2) sends a call in two small segments and leaves Nagle's algorithm on, so the
/// second waits 40 ms for a delayed acknowledgement of the first (KurrentDB-Client-Rust#232, mended after 1.2).
fn acknowledge(socket: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = socket.set_quickack(true);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// The receiving side as a stream.
pub(super) fn connections<T: Send>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send {
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}
