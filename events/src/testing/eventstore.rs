//! A double of EventStoreDB: its protocol on a real socket over a store in memory, as weak as the server and no better.
//!
//! **Invariant:** a double forgets event ids, accepts late repeats and never compares payloads, so that what passes on it
//! relies on nothing that the server does not give (`store.rs` cites where the server says so). It is called a double
//! everywhere: no result on it is a result on a server. The official clients check it (`tests/engines/eventstore`).
//!
//! It knows appends, batch appends, reads, subscriptions, gossip and server features. It deletes nothing, resolves no
//! links, has no persistent subscriptions, no access control, and of regular expressions only the two that mean "no
//! system events". Its clock is its own: it starts at 2026-01-01 and moves with every append.
#![expect(clippy::result_large_err, reason = "a status is what tonic asks for")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::transport::Server;

mod answers;
mod network;
mod reads;
mod services;
mod store;
#[doc(hidden)]
#[expect(
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    reason = "compiled from the protocol's own files"
)]
pub mod wire;

use network::{Wires, connections};
use reads::End;
use services::Services;
use store::Store;

/// Where doubles listen: nobody outside needs one.
const HOST: &str = "127.0.0.1";

/// The Rust client (1.2) waits for this time before its first connection, too; half a second is its default.
const SOON: &str = "discoveryInterval=10";

/// The server's default for `--max-append-size`. **Source:** its manual, "Configuration", 23.10.
const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// Ids that 8 MiB hold at 28 bytes and two per character of a stream name of 70 (`CommitedEventsMemCacheLimit`).
const REMEMBERED_IDS: usize = 49_000;

/// One server of a database in memory; it stops when it is dropped.
pub struct EventStoreDouble {
    node: Arc<Node>,
    port: u16,
    tasks: Vec<AbortHandle>,
}

/// What the tasks of a server share.
struct Node {
    store: Arc<Store>,
    cluster: Arc<Cluster>,
    faults: Faults,
    wires: Wires,
    max_append_bytes: usize,
}

/// The servers of one database.
#[derive(Default)]
struct Cluster {
    ports: Mutex<Vec<u16>>,
    leader: Mutex<u16>,
}

/// What a test tells a server to do wrong.
struct Faults {
    /// Calls still to be refused.
    refusals: AtomicU32,
    is_down: AtomicBool,
    lost_answers: AtomicU32,
    /// The leader that whoever requires one is sent to.
    follows: Mutex<Option<u16>>,
    ended: watch::Sender<(u64, End)>,
    authorization: Mutex<Option<String>>,
    refused: AtomicU64,
}

impl Faults {
    fn new() -> Self {
        Self {
            refusals: AtomicU32::new(0),
            is_down: AtomicBool::new(false),
            lost_answers: AtomicU32::new(0),
            follows: Mutex::new(None),
            ended: watch::Sender::new((0, End::Unavailable)),
            authorization: Mutex::new(None),
            refused: AtomicU64::new(0),
        }
    }

    fn admit(&self, requires_leader: bool) -> Result<(), Status> {
        if self.is_down.load(Ordering::SeqCst) || take_one(&self.refusals) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Status::unavailable("the test makes this server fail"));
        }
        match *self.follows.lock() {
            Some(leader) if requires_leader => Err(answers::not_leader(HOST, leader)),
            _ => Ok(()),
        }
    }

    fn loses_an_answer(&self) -> bool {
        take_one(&self.lost_answers)
    }
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl EventStoreDouble {
    /// A server of an empty database on a port that is free.
    ///
    /// # Errors
    /// There is no port to listen on.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(0).await
    }

    /// A server of an empty database on this port.
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub async fn start_at(port: u16) -> io::Result<Self> {
        Self::serve(port, Arc::new(Store::new(REMEMBERED_IDS)), Arc::default()).await
    }

    /// Another server of the same database, which follows this one.
    ///
    /// # Errors
    /// There is no port to listen on.
    pub async fn start_follower(&self) -> io::Result<Self> {
        let follower = Self::serve(0, Arc::clone(&self.node.store), Arc::clone(&self.node.cluster)).await?;
        *follower.node.faults.follows.lock() = Some(self.port);
        Ok(follower)
    }

    async fn serve(port: u16, store: Arc<Store>, cluster: Arc<Cluster>) -> io::Result<Self> {
        let listener = TcpListener::bind((HOST, port)).await?;
        let port = listener.local_addr()?.port();
        cluster.ports.lock().push(port);
        let mut leader = cluster.leader.lock();
        if *leader == 0 {
            *leader = port;
        }
        drop(leader);
        let (faults, wires) = (Faults::new(), Wires::default());
        let node = Arc::new(Node { store, cluster, faults, wires: wires.clone(), max_append_bytes: MAX_APPEND_BYTES });
        let (sender, receiver) = mpsc::channel(8);
        let services = Services(Arc::clone(&node));
        let server = Server::builder()
            .add_service(wire::event_store::client::streams::streams_server::StreamsServer::new(services.clone()))
            .add_service(wire::event_store::client::gossip::gossip_server::GossipServer::new(services.clone()))
            .add_service(wire::event_store::client::server_features::server_features_server::ServerFeaturesServer::new(
                services,
            ))
            .serve_with_incoming(connections(receiver));
        let tasks = vec![
            tokio::spawn(async move {
                if let Err(error) = server.await {
                    tracing::error!(%error, "the double of EventStoreDB has stopped");
                }
            })
            .abort_handle(),
            tokio::spawn(wires.accept(listener, sender)).abort_handle(),
        ];
        Ok(Self { node, port, tasks })
    }

    /// The port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The connection string of this server alone.
    #[must_use]
    pub fn url(&self) -> String {
        format!("esdb://{HOST}:{}?tls=false&{SOON}", self.port)
    }

    /// The connection string of all servers of the database, whose leader is wanted.
    #[must_use]
    pub fn cluster_url(&self) -> String {
        let hosts: Vec<String> = self.node.cluster.ports.lock().iter().map(|port| format!("{HOST}:{port}")).collect();
        format!("esdb://{}?tls=false&nodePreference=leader&{SOON}", hosts.join(","))
    }

    /// Refuses the next calls, as a server that is about to stop.
    pub fn refuse(&self, calls: u32) {
        self.node.faults.refusals.store(calls, Ordering::SeqCst);
    }

    /// How many calls were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.node.faults.refused.load(Ordering::SeqCst)
    }

    /// Refuses every call, or none.
    pub fn set_down(&self, is_down: bool) {
        self.node.faults.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Makes the next appends and cuts all connections instead of answering.
    pub fn lose_answers(&self, appends: u32) {
        self.node.faults.lost_answers.store(appends, Ordering::SeqCst);
    }

    /// Cuts all connections.
    pub fn cut_connections(&self) {
        self.node.wires.cut();
    }

    /// Ends all subscriptions with a status.
    pub fn end_subscriptions(&self) {
        self.node.faults.ended.send_modify(|(count, how)| (*count, *how) = (*count + 1, End::Unavailable));
    }

    /// Ends all subscriptions as if all had been said. The Rust client of version 1.2 then turns in a loop that never
    /// waits, in whatever thread polls it.
    pub fn end_subscriptions_cleanly(&self) {
        self.node.faults.ended.send_modify(|(count, how)| (*count, *how) = (*count + 1, End::Clean));
    }

    /// Lets all subscriptions there are say nothing any more.
    pub fn mute_subscriptions(&self) {
        self.node.faults.ended.send_modify(|(count, how)| (*count, *how) = (*count + 1, End::Silent));
    }

    /// Forgets every event id, as a restart does.
    pub fn forget_ids(&self) {
        self.node.store.forget_ids();
    }

    /// Turns the server's clock, back or forth.
    pub fn turn_clock(&self, by: chrono::TimeDelta) {
        self.node.store.turn_clock(by.num_microseconds().unwrap_or(0).saturating_mul(10));
    }

    /// Makes this server the leader of its database, for gossip and for those that it sends on.
    pub fn lead(&self) {
        *self.node.cluster.leader.lock() = self.port;
        *self.node.faults.follows.lock() = None;
    }

    /// Writes a system event, as the server does of its own accord.
    pub fn write_statistics(&self) {
        self.node.store.append_by_hand("$stats-127.0.0.1:2113", "$statsCollected");
    }

    /// Writes an event as another application would.
    pub fn write_foreign(&self, stream: &str) {
        self.node.store.append_by_hand(stream, "happened");
    }

    /// How many events all streams hold that are not the system's.
    #[must_use]
    pub fn events(&self) -> usize {
        self.node.store.look().records.iter().filter(|record| !record.stream.starts_with('$')).count()
    }

    /// What the last call gave as its authorization.
    #[must_use]
    pub fn last_authorization(&self) -> Option<String> {
        self.node.faults.authorization.lock().clone()
    }
}

impl Drop for EventStoreDouble {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.node.wires.cut();
        self.node.cluster.ports.lock().retain(|port| *port != self.port);
    }
}
