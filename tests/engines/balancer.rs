//! A plain TCP balancer: each connection goes to the next server that takes it.
//!
//! **Invariant:** it knows nothing of HTTP, as the balancers in front of replicas may not.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A balancer, until it is dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Balancer {
    /// In front of these servers.
    pub(crate) async fn start(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let task = tokio::spawn(async move {
            for turn in (0..servers.len()).cycle() {
                let Ok((mut inner, _)) = listener.accept().await else { return };
                let turns: Vec<SocketAddr> = [&servers[turn..], &servers[..turn]].concat();
                tokio::spawn(async move {
                    for server in turns {
                        if let Ok(mut outer) = TcpStream::connect(server).await {
                            // Either side may go at any time.
                            let _ = copy_bidirectional(&mut inner, &mut outer).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
