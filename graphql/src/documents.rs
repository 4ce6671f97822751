//! Stored queries: automatic persisted queries, and the allow-list of trusted documents.
//!
//! A client may send the SHA-256 of a query in `extensions.persistedQuery` instead of its text, once the text has been
//! sent with the hash (Apollo's protocol, version 1). An installation that knows its clients may list their queries
//! and refuse all others.
//!
//! **Invariant:** a hash stands for one text only: it is computed here, never believed. What is stored is text, weighed
//! by its length; every execution is checked against the limits anew.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest};
use async_graphql::{Request, ServerResult, from_value};
use moka::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::ErrorCode;
use crate::limits::MAX_TEXT_BYTES;

/// Bytes of query text that are stored for clients that send hashes.
const STORED_BYTES: u64 = 16 << 20;

/// Which queries are run.
#[derive(Debug, Clone, Default)]
pub enum DocumentPolicy {
    /// Any that keeps to the limits.
    #[default]
    Any,
    /// Those on this list only, sent as text or by hash.
    TrustedOnly(TrustedDocuments),
}

/// Queries that may be run, by the SHA-256 of their text in hex.
#[derive(Debug, Clone, Default)]
pub struct TrustedDocuments(Arc<HashMap<String, String>>);

impl FromIterator<String> for TrustedDocuments {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        Self(Arc::new(texts.into_iter().map(|text| (hash_of(&text), text)).collect()))
    }
}

/// Stores and finds queries.
#[derive(Clone)]
pub(crate) struct Documents {
    policy: DocumentPolicy,
    stored: Cache<String, Arc<str>>,
}

impl Documents {
    pub(crate) fn new(policy: DocumentPolicy) -> Self {
        let weigh = |hash: &String, text: &Arc<str>| u32::try_from(hash.len() + text.len()).unwrap_or(u32::MAX);
        Self { policy, stored: Cache::builder().max_capacity(STORED_BYTES).weigher(weigh).build() }
    }

    fn find(&self, hash: &str) -> Option<String> {
        match &self.policy {
            DocumentPolicy::Any => self.stored.get(hash).map(|text| text.as_ref().to_owned()),
            DocumentPolicy::TrustedOnly(trusted) => trusted.0.get(hash).cloned(),
        }
    }
}

fn hash_of(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Deserialize)]
struct PersistedQuery {
    version: i32,
    #[serde(rename = "sha256Hash")]
    hash: String,
}

impl ExtensionFactory for Documents {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(self.clone())
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Documents {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        mut request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let asked = match request.extensions.remove("persistedQuery") {
            Some(value) => match from_value::<PersistedQuery>(value) {
                Ok(asked) if asked.version == 1 => Some(asked.hash.to_ascii_lowercase()),
                _ => return Err(ErrorCode::BadUserInput.error("persistedQuery must be of version 1 with sha256Hash")),
            },
            None => None,
        };
        if request.query.is_empty() {
            let Some(hash) = asked else { return Err(ErrorCode::BadUserInput.error("there is no query")) };
            request.query =
                self.find(&hash).ok_or_else(|| ErrorCode::PersistedQueryNotFound.error("PersistedQueryNotFound"))?;
            return next.run(ctx, request).await;
        }
        if request.query.len() > MAX_TEXT_BYTES {
            return Err(ErrorCode::QueryTooCostly.error("query text is too long"));
        }
        let hash = match (&self.policy, asked) {
            (DocumentPolicy::Any, None) => return next.run(ctx, request).await,
            (_, asked) => {
                let hash = hash_of(&request.query);
                if asked.is_some_and(|asked| asked != hash) {
                    return Err(ErrorCode::BadUserInput.error("sha256Hash is not that of the query"));
                }
                hash
            }
        };
        if let DocumentPolicy::TrustedOnly(trusted) = &self.policy {
            if trusted.0.contains_key(&hash) {
                return next.run(ctx, request).await;
            }
            return Err(ErrorCode::Forbidden.error("this query is not on the list of trusted documents"));
        }
        let text: Arc<str> = request.query.as_str().into();
        // Stored once it has passed the limits.
        let request = next.run(ctx, request).await?;
        self.stored.insert(hash, text);
        Ok(request)
    }
}
