//! Errors as callers see them: one closed list of codes.
//!
//! Two kinds are kept apart. A **user error** is a wish that a rule refused; it is data in the payload of a mutation
//! ([`UserError`]). A **failure** is everything else; it stands in `errors` with `extensions.code` ([`ErrorCode`]).
//!
//! **Invariant:** every error has a code of the closed list, and no message holds internals or personal data: what a
//! resolver did not phrase for callers is replaced.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextRequest, NextSubscribe};
use async_graphql::futures_util::stream::{BoxStream, StreamExt};
use async_graphql::{Enum, ErrorExtensionValues, Response, ServerError, SimpleObject};
use events::codec::CodecError;
use events::ids::ParseIdError;
use events::seal::{KeyStoreError, SealerError};
use projections::audit::AuditError;
use projections::event_index::FindError;
use projections::store::StoreError;

mod rejection;

pub(crate) use rejection::Explain;

/// What went wrong, as `extensions.code` of an entry of `errors`. The list is closed: a client may match on all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum ErrorCode {
    /// The caller did not say who they are, or their token is not known or has expired.
    Unauthenticated,
    /// The caller's role may not do this.
    Forbidden,
    /// The query or an argument is not well-formed: change it.
    BadUserInput,
    /// There is no such thing, or it belongs to another tenant.
    NotFound,
    /// Too many others change the same thing at this moment: try again.
    Conflict,
    /// Too many requests: try again after `extensions.retryAfter` seconds.
    RateLimited,
    /// The read models have not reached the token given as `after`: try again.
    StaleRead,
    /// A part of letopis cannot be used now. A mutation may or may not have been carried out: send it again with the
    /// same idempotency key after `extensions.retryAfter` seconds.
    Unavailable,
    /// No query is stored under this hash: send it with its text.
    PersistedQueryNotFound,
    /// The query is too deep, too large or would read too much: ask for less at a time.
    QueryTooCostly,
    /// A fault of letopis. The log of the server has the cause under the request id.
    InternalServerError,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::BadUserInput,
        Self::NotFound,
        Self::Conflict,
        Self::RateLimited,
        Self::StaleRead,
        Self::Unavailable,
        Self::PersistedQueryNotFound,
        Self::QueryTooCostly,
        Self::InternalServerError,
    ];

    /// The code as it stands in `extensions.code`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::RateLimited => "RATE_LIMITED",
            Self::StaleRead => "STALE_READ",
            Self::Unavailable => "UNAVAILABLE",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::QueryTooCostly => "QUERY_TOO_COSTLY",
            Self::InternalServerError => "INTERNAL_SERVER_ERROR",
        }
    }

    /// An error with this code that no resolver made: what the transport answers before it runs a query.
    #[must_use]
    pub fn error(self, message: impl Into<String>) -> ServerError {
        let mut error = ServerError::new(message, None);
        error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("code", self.as_str());
        error
    }
}

/// What a resolver fails with. It does not implement `Display`, so that nothing turns it into an error without its
/// code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    message: String,
    retry_after: Option<Duration>,
}

/// What resolvers return.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    pub(crate) fn bad_input(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadUserInput, message)
    }

    /// The cause is logged here, and only here; the caller learns nothing of it.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "a resolver failed");
        Self::new(ErrorCode::InternalServerError, INTERNAL)
    }

    pub(crate) fn unavailable(cause: impl std::fmt::Display, retry_after: Duration) -> Self {
        tracing::warn!(error = %cause, "a resolver could not do its work");
        Self {
            code: ErrorCode::Unavailable,
            message: "temporarily unavailable: try again".to_owned(),
            retry_after: Some(retry_after),
        }
    }
}

/// All that callers learn of a fault.
const INTERNAL: &str = "internal error";
/// How long to wait when the part that failed does not say.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<Failure> for async_graphql::Error {
    fn from(failure: Failure) -> Self {
        let mut error = Self::new(failure.message);
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        extensions.set("code", failure.code.as_str());
        if let Some(wait) = failure.retry_after {
            extensions.set("retryAfter", wait.as_secs().max(1));
        }
        error
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::unavailable(error, RETRY_AFTER),
            StoreError::Stale { at, wanted } => Self {
                code: ErrorCode::StaleRead,
                message: format!("read models are at position {at}, behind {wanted}"),
                retry_after: Some(RETRY_AFTER),
            },
            StoreError::Invalid(reason) => Self::bad_input(reason),
            StoreError::Refused(_) | StoreError::Corrupt(_) | StoreError::Outdated { .. } => Self::internal(error),
        }
    }
}

impl From<events::log::ReadError> for Failure {
    fn from(error: events::log::ReadError) -> Self {
        match error {
            events::log::ReadError::Unavailable(_) => Self::unavailable(error, RETRY_AFTER),
            events::log::ReadError::Corrupt { .. } => Self::internal(error),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Log(error) => error.into(),
            AuditError::Store(error) => error.into(),
            AuditError::Codec(error) => error.into(),
            AuditError::NotAllowed => Self::forbidden(error.to_string()),
            AuditError::TooLong => Self::new(ErrorCode::QueryTooCostly, error.to_string()),
        }
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Log(error) => error.into(),
            FindError::Store(error) => error.into(),
        }
    }
}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Seal(SealerError::Keys(KeyStoreError::Unavailable(_))) => Self::unavailable(error, RETRY_AFTER),
            other => Self::internal(other),
        }
    }
}

impl From<ParseIdError> for Failure {
    fn from(error: ParseIdError) -> Self {
        Self::bad_input(error.to_string())
    }
}

/// Why a rule refused a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum UserErrorCode {
    /// There is no such thing, or it belongs to another tenant.
    NotFound,
    /// It exists already, set up in another way.
    AlreadyExists,
    /// The idempotency key was used for the same mutation with other input: another wish needs a new key.
    IdempotencyKeyReused,
    /// A value is empty, too long or not of the form that it should have.
    InvalidValue,
    /// The settings or credentials are of another channel than the account.
    WrongChannel,
    /// Two secrets are live already.
    TooManySecrets,
    /// It is the only live secret.
    LastSecret,
    /// The conversation is closed: reopen it first.
    Closed,
    /// The group got another address: its new conversation takes the answers.
    Migrated,
    /// Somebody else speaks with the customer: hand the conversation over first.
    HeldByOther,
    /// Another case stands for the case: go on there, or undo the merge.
    Merged,
    /// The case is not merged into another.
    NotMerged,
    /// The conversation does not wait in this queue any more.
    NotWaiting,
    /// The conversation has no customer to answer.
    NoAddressee,
    /// The message is not in a state that allows it.
    WrongDeliveryState,
    /// Both sides of the link are the same.
    SameContact,
    /// These contacts are not linked.
    NotLinked,
    /// Nobody holds the contact point under this number.
    NotOccupied,
    /// The delivery was understood already.
    AlreadyNormalised,
    /// The person it is about was erased: nothing more can be written for them.
    Erased,
    /// Something must be set up first; the message says what.
    NotReady,
}

/// A wish that a rule refused.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct UserError {
    /// Why, for programs.
    pub code: UserErrorCode,
    /// Why, for developers, in English. Not to be shown to customers.
    pub message: String,
    /// The input field that it is about, if it is about one.
    pub field: Option<String>,
}

/// Gives every error a code and takes out what callers must not see.
pub(crate) struct Coded;

impl ExtensionFactory for Coded {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Coded {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        coded(next.run(ctx).await)
    }

    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        next.run(ctx, stream).map(coded).boxed()
    }
}

fn coded(mut response: Response) -> Response {
    for error in &mut response.errors {
        let known = error.extensions.as_ref().is_some_and(|values| values.get("code").is_some());
        if known {
            error.source = None;
            continue;
        }
        let code = code_of(error);
        if code == ErrorCode::InternalServerError {
            tracing::error!(error = %error.message, "an error without a code reached the response");
            INTERNAL.clone_into(&mut error.message);
        }
        error.source = None;
        error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("code", code.as_str());
    }
    response
}

/// The code of an error that the GraphQL engine made itself. What it says of a limit is known by its text only;
/// a test holds the texts.
fn code_of(error: &ServerError) -> ErrorCode {
    const COSTLY: [&str; 3] =
        ["Query is too complex.", "Query is nested too deep.", "The recursion depth of the query"];
    if error.source.is_some() {
        return ErrorCode::InternalServerError;
    }
    let costly = COSTLY.iter().any(|start| error.message.starts_with(start));
    if costly || error.message == "recursion limit exceeded." {
        ErrorCode::QueryTooCostly
    } else {
        ErrorCode::BadUserInput
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_in_the_schema_are_those_in_the_errors() {
        for code in ErrorCode::ALL {
            let in_schema = async_graphql::resolver_utils::enum_value(code);
            assert_eq!(in_schema, async_graphql::Value::Enum(async_graphql::Name::new(code.as_str())));
        }
    }

    #[test]
    fn an_error_that_nobody_phrased_for_callers_is_replaced() {
        let cause = async_graphql::Error::new_with_source("password of the database is hunter2");
        let error = cause.into_server_error(async_graphql::Pos::default());
        let response = coded(Response::from_errors(vec![error]));
        assert_eq!(response.errors[0].message, INTERNAL);
        assert!(response.errors[0].source.is_none());
        let code = response.errors[0].extensions.as_ref().and_then(|values| values.get("code").cloned());
        assert_eq!(code, Some("INTERNAL_SERVER_ERROR".into()));
    }
}
