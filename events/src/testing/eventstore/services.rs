//! The services of one server.
//!
//! **Invariant:** a server that is told to fail fails before it looks at its store, but for answers that get lost: there
//! the append is made first.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::network::connections;
use super::reads::Read;
use super::store::{Expected, Outcome, Proposed};
use super::wire::event_store::client::gossip::gossip_server::Gossip;
use super::wire::event_store::client::gossip::member_info::VNodeState;
use super::wire::event_store::client::gossip::{ClusterInfo, EndPoint, MemberInfo};
use super::wire::event_store::client::server_features::server_features_server::ServerFeatures;
use super::wire::event_store::client::server_features::{SupportedMethod, SupportedMethods};
use super::wire::event_store::client::streams::streams_server::Streams;
use super::wire::event_store::client::streams::{
    AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, DeleteReq, DeleteResp, ReadReq, ReadResp, TombstoneReq,
    TombstoneResp, append_req,
};
use super::wire::event_store::client::{Empty, Uuid as WireUuid, uuid};
use super::{Node, answers};

/// Answers ahead of a client that reads slowly.
const ANSWERS_AHEAD: usize = 64;

/// What one server says of itself and does.
#[derive(Clone)]
pub(super) struct Services(pub(super) Arc<Node>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Services {
    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let authorization = metadata.get("authorization").and_then(|value| value.to_str().ok());
        *self.0.faults.authorization.lock() = authorization.map(str::to_owned);
        self.0.faults.admit(metadata.contains_key("requires-leader"))
    }

    fn append(&self, stream: &str, expected: Expected, events: Vec<Proposed>) -> Result<Outcome, Status> {
        let size_bytes: usize = events.iter().map(Proposed::size_bytes).sum();
        if size_bytes > self.0.max_append_bytes {
            return Err(answers::too_large(self.0.max_append_bytes));
        }
        Ok(self.0.store.append(stream, expected, events))
    }
}

#[tonic::async_trait]
impl Streams for Services {
    type ReadStream = Answers<ReadResp>;
    type BatchAppendStream = Answers<BatchAppendResp>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        self.admit(request.metadata())?;
        let read = Read::new(request.into_inner())?;
        let (sender, receiver) = mpsc::channel(ANSWERS_AHEAD);
        tokio::spawn(read.answer(Arc::clone(&self.0.store), sender, self.0.faults.ended.subscribe()));
        Ok(Response::new(Box::pin(connections(receiver))))
    }

    async fn append(&self, request: Request<Streaming<AppendReq>>) -> Result<Response<AppendResp>, Status> {
        self.admit(request.metadata())?;
        let mut requests = request.into_inner();
        let (mut options, mut events) = (None, Vec::new());
        while let Some(request) = requests.message().await? {
            match request.content {
                Some(append_req::Content::Options(head)) => options = Some(head),
                Some(append_req::Content::ProposedMessage(event)) => {
                    events.push(answers::proposed(event.id, event.metadata, event.custom_metadata, event.data)?);
                }
                None => return Err(Status::invalid_argument("an append without content")),
            }
        }
        let options = options.ok_or_else(|| Status::invalid_argument("an append without options"))?;
        let expected = answers::expected(options.expected_stream_revision)?;
        let stream = answers::stream_name(options.stream_identifier)?;
        let outcome = Self::append(self, &stream, expected, events)?;
        if self.0.faults.loses_an_answer() {
            self.0.wires.cut();
            return Err(Status::unavailable("nobody hears this"));
        }
        Ok(Response::new(answers::appended(outcome, expected)))
    }

    async fn delete(&self, _: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        Err(Status::unimplemented("the double deletes nothing"))
    }

    async fn tombstone(&self, _: Request<TombstoneReq>) -> Result<Response<TombstoneResp>, Status> {
        Err(Status::unimplemented("the double deletes nothing"))
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        self.admit(request.metadata())?;
        let mut requests = request.into_inner();
        let (sender, receiver) = mpsc::channel(ANSWERS_AHEAD);
        let services = self.clone();
        tokio::spawn(async move {
            let mut open = HashMap::new();
            while let Ok(Some(request)) = requests.message().await {
                let batch: &mut Batch = open.entry(key(request.correlation_id.as_ref())).or_default();
                let (correlation_id, is_final) = (request.correlation_id.clone(), request.is_final);
                batch.take(request);
                if !is_final {
                    continue;
                }
                let batch = open.remove(&key(correlation_id.as_ref())).unwrap_or_default();
                let stream = batch.stream.clone();
                let outcome = batch.append(&services);
                let answer = answers::appended_of_batch(correlation_id, &stream, outcome);
                if sender.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(connections(receiver))))
    }
}

/// The parts of one batch so far.
#[derive(Default)]
struct Batch {
    stream: String,
    expected: Option<Result<Expected, Status>>,
    events: Vec<Result<Proposed, Status>>,
}

impl Batch {
    fn take(&mut self, request: BatchAppendReq) {
        if let Some(options) = request.options {
            self.stream = answers::stream_name(options.stream_identifier).unwrap_or_default();
            self.expected = Some(answers::expected_of_batch(options.expected_stream_position));
        }
        self.events.extend(
            request
                .proposed_messages
                .into_iter()
                .map(|event| answers::proposed(event.id, event.metadata, event.custom_metadata, event.data)),
        );
    }

    fn append(self, services: &Services) -> Result<(Outcome, Expected), Status> {
        let expected = self.expected.ok_or_else(|| Status::invalid_argument("a batch without options"))??;
        let events = self.events.into_iter().collect::<Result<_, _>>()?;
        Ok((Services::append(services, &self.stream, expected, events)?, expected))
    }
}

fn key(id: Option<&WireUuid>) -> String {
    match id.and_then(|id| id.value.as_ref()) {
        Some(uuid::Value::String(text)) => text.clone(),
        Some(uuid::Value::Structured(halves)) => format!("{halves:?}"),
        None => String::new(),
    }
}

#[tonic::async_trait]
impl ServerFeatures for Services {
    async fn get_supported_methods(&self, _: Request<Empty>) -> Result<Response<SupportedMethods>, Status> {
        self.0.faults.admit(false)?;
        let method = |service: &str, method: &str| SupportedMethod {
            method_name: method.to_owned(),
            service_name: format!("event_store.client.{service}"),
            features: Vec::new(),
        };
        Ok(Response::new(SupportedMethods {
            methods: vec![
                method("streams.streams", "read"),
                method("streams.streams", "append"),
                method("streams.streams", "batchappend"),
                method("gossip.gossip", "read"),
            ],
            event_store_server_version: "23.10.1".to_owned(),
        }))
    }
}

#[tonic::async_trait]
impl Gossip for Services {
    async fn read(&self, _: Request<Empty>) -> Result<Response<ClusterInfo>, Status> {
        self.0.faults.admit(false)?;
        let leader = *self.0.cluster.leader.lock();
        let ports = self.0.cluster.ports.lock().clone();
        let members = ports.into_iter().map(|port| MemberInfo {
            instance_id: Some(WireUuid { value: Some(uuid::Value::String(uuid_of(port))) }),
            time_stamp: 0,
            state: if port == leader { VNodeState::Leader } else { VNodeState::Follower }.into(),
            is_alive: true,
            http_end_point: Some(EndPoint { address: super::HOST.to_owned(), port: port.into() }),
        });
        Ok(Response::new(ClusterInfo { members: members.collect() }))
    }
}

fn uuid_of(port: u16) -> String {
    ::uuid::Uuid::from_u128(port.into()).to_string()
}
