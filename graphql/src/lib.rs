//! What callers see: the GraphQL schema.
//!
//! One file per subject holds its types, queries, mutations and subscriptions; they are merged here. [`build`] makes
//! the schema, [`execute`] and [`subscribe`] run a request for a [`Caller`]. The transport (HTTP, WebSocket) is the
//! binary's; people, front ends and agents all go through here.
//!
//! **Invariant:** depends on `events`, `models` and `projections` alone. Reads go through `projections` (which masks)
//! or the log, writes through the command handler; the tenant comes from the caller, never from an argument.

use std::sync::Arc;

use async_graphql::{MergedObject, MergedSubscription, Request, Response, SDLExportOptions};
use futures::StreamExt;
use futures::stream::BoxStream;

mod account;
mod calendar;
mod case;
mod case_type;
mod clock;
mod command;
mod contact;
mod context;
mod conversation;
mod delivery;
mod documents;
mod error;
mod event;
mod follow;
mod guard;
mod intake;
mod limits;
mod link;
mod loaders;
mod message;
mod node;
mod operator;
mod page;
mod payload;
mod ports;
mod position;
mod profile;
mod queue;
mod scalars;
mod service_level;
mod viewer;
mod vocabulary;

#[cfg(test)]
mod tests;

use context::ReadMark;

pub use context::{Caller, Dependencies};
pub use documents::{DocumentPolicy, TrustedDocuments};
pub use error::ErrorCode;
pub use limits::{MAX_ALIASES, MAX_COMPLEXITY, MAX_DEPTH, MAX_MUTATIONS, MAX_NODES, MAX_RECURSION, MAX_TEXT_BYTES};
pub use message::media_url;
pub use page::{MOST_ITEMS, USUAL_ITEMS};
pub use ports::{RegistrarError, Upload, UploadError, Uploads, WebhookAnswer, WebhookRegistrar};
pub use scalars::Token;

/// Everything that can be read.
#[derive(MergedObject, Default)]
#[graphql(name = "Query")]
pub struct QueryRoot(
    viewer::ViewerQuery,
    profile::ProfileQuery,
    conversation::ConversationQuery,
    delivery::DeliveryQuery,
    intake::IntakeQuery,
    event::EventQuery,
    account::AccountQuery,
    calendar::CalendarQuery,
    operator::OperatorQuery,
    queue::QueueQuery,
    case::CaseQuery,
    case_type::CaseTypeQuery,
    service_level::ServiceLevelQuery,
    node::NodeQuery,
);

/// Everything that can be wished for. Each mutation that writes takes an idempotency key: sent again with it, nothing more happens
/// and the answer is the same; sent with it and other input, it is refused with `IDEMPOTENCY_KEY_REUSED`. What was
/// refused or changed nothing leaves its key free.
#[derive(MergedObject, Default)]
#[graphql(name = "Mutation")]
pub struct MutationRoot(
    conversation::ConversationMutation,
    conversation::DraftMutation,
    profile::ProfileMutation,
    contact::ContactMutation,
    link::LinkMutation,
    intake::IntakeMutation,
    account::AccountMutation,
    calendar::CalendarMutation,
    operator::OperatorMutation,
    queue::QueueMutation,
    case::CaseMutation,
    case_type::CaseTypeMutation,
    service_level::ServiceLevelMutation,
);

/// Everything that can be followed. Each update carries a token to resume behind it.
#[derive(MergedSubscription, Default)]
#[graphql(name = "Subscription")]
pub struct SubscriptionRoot(
    conversation::ConversationSubscription,
    conversation::DraftSubscription,
    event::EventSubscription,
);

/// The schema.
pub type Schema = async_graphql::Schema<QueryRoot, MutationRoot, SubscriptionRoot>;

/// Makes the schema of an installation.
#[must_use]
pub fn build(deps: Dependencies) -> Schema {
    Schema::build(QueryRoot::default(), MutationRoot::default(), SubscriptionRoot::default())
        .register_output_type::<ErrorCode>()
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COMPLEXITY)
        .limit_recursive_depth(MAX_RECURSION)
        .disable_suggestions()
        // The first is the outermost: it sees the errors of all the others.
        .extension(error::Coded)
        .extension(documents::Documents::new(deps.documents.clone()))
        .extension(limits::Limits)
        .data(deps)
        .finish()
}

/// The schema in the schema definition language, as committed in `schema.graphql`.
#[must_use]
pub fn sdl(schema: &Schema) -> String {
    schema.sdl_with_options(SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items())
}

/// Runs a query or mutation for a caller.
pub async fn execute(schema: &Schema, request: Request, caller: Caller) -> Response {
    let (before, id) = (dependencies(schema).views.position(), caller.correlation);
    let (request, mark) = prepare(schema, request, caller);
    let response = schema.execute(request).await;
    position::complete(response, mark.take().unwrap_or(before), id)
}

/// Runs a subscription for a caller; a query or mutation gives its one response. The stream holds nothing back for a
/// slow reader and ends with the first error that it cannot go on from; dropping it ends the subscription.
#[must_use]
pub fn subscribe(schema: &Schema, request: Request, caller: Caller) -> BoxStream<'static, Response> {
    let (views, id) = (dependencies(schema).views.clone(), caller.correlation);
    let (request, mark) = prepare(schema, request, caller);
    let responses = schema.execute_stream(request);
    let position = move || mark.take().unwrap_or_else(|| views.position());
    responses.map(move |response| position::complete(response, position(), id)).boxed()
}

fn dependencies(schema: &Schema) -> &Dependencies {
    schema.data::<Dependencies>().expect("build gives the schema its dependencies")
}

/// Gives the request what belongs to it alone: the caller, the loaders, the read mark.
fn prepare(schema: &Schema, request: Request, caller: Caller) -> (Request, Arc<ReadMark>) {
    let deps = dependencies(schema);
    let loaders = loaders::Loaders::of(caller.viewer.clone(), deps.views.clone(), deps.log().clone());
    let mark = Arc::<ReadMark>::default();
    (request.data(loaders).data(Arc::clone(&mark)).data(caller), mark)
}
