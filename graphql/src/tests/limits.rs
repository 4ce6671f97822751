//! Hostile requests against the whole schema, and stored queries.
//!
//! **Invariant:** each is refused before anything is read: no statement is run for it.

use async_graphql::{Request, Response};
use events::viewer::Role;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::stack::{Following, Stack, caller};
use crate::documents::{DocumentPolicy, TrustedDocuments};
use crate::execute;

#[tokio::test]
async fn hostile_queries_are_refused_without_a_read() {
    let stack = Stack::start().await;
    stack.conversation().await;
    let before = stack.statements();
    let nested = |levels: usize| {
        let step = "conversations(first: 1) { nodes { participants { person { profile { ";
        format!("{{ profiles {{ nodes {{ {} id {} }} }} }}", step.repeat(levels), "} } } } } ".repeat(levels))
    };
    let aliases: String = (0..31).map(|n| format!("a{n}: readPosition ")).collect();
    let mut doubling = "{ ...F0 } fragment F25 on Query { readPosition }".to_owned();
    for n in 0..25 {
        doubling.push_str(&format!(" fragment F{n} on Query {{ ...F{} ...F{} }}", n + 1, n + 1));
    }
    let costly = [
        nested(4),
        nested(20),
        format!("{{ {aliases} }}"),
        "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_owned(),
        doubling,
        format!("{{ profileByIdentity(kind: PHONE, value: {}) {{ id }} }}", "[".repeat(20_000)),
        "{ conversations(first: 100) { nodes { timeline(first: 100) { nodes { ... on Message { id text } } } } } }"
            .to_owned(),
        "{ conversations(first: 2000000000) { nodes { id } } }".to_owned(),
    ];
    for query in costly {
        let start: String = query.chars().take(60).collect();
        assert_eq!(stack.code(&caller(Role::Operator), &query).await, "QUERY_TOO_COSTLY", "{start}");
    }
    for query in ["{ conversations(first: 101) { nodes { id } } }", "{ conversations(first: 0) { nodes { id } } }"] {
        assert_eq!(stack.code(&caller(Role::Operator), query).await, "BAD_USER_INPUT", "{query}");
    }
    assert_eq!(stack.statements(), before, "nothing was read");
}

fn persisted(query: &str, hash_of: &str) -> Request {
    let hash: String = Sha256::digest(hash_of.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut request = Request::new(query);
    let value = async_graphql::Value::from_json(json!({"version": 1, "sha256Hash": hash})).unwrap();
    request.extensions.insert("persistedQuery".to_owned(), value);
    request
}

async fn run(stack: &Stack, request: Request) -> Value {
    let response: Response = execute(&stack.schema, request, caller(Role::Operator)).await;
    serde_json::to_value(response).unwrap()
}

#[tokio::test]
async fn a_query_is_found_by_its_hash_once_it_was_sent_with_it() {
    let stack = Stack::start().await;
    let query = "{ viewer { id } }";
    let unknown = run(&stack, persisted("", query)).await;
    assert_eq!(unknown["errors"][0]["extensions"]["code"], "PERSISTED_QUERY_NOT_FOUND");
    assert_eq!(unknown["errors"][0]["message"], "PersistedQueryNotFound");
    let wrong = run(&stack, persisted(query, "{ other }")).await;
    assert_eq!(wrong["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    for text in [query, ""] {
        let found = run(&stack, persisted(text, query)).await;
        assert_eq!(found["data"], json!({"viewer": {"id": "operator"}}));
    }
    // What is beyond the limits is not stored.
    let costly = "{ ...A } fragment A on Query { ...A }";
    assert_eq!(run(&stack, persisted(costly, costly)).await["errors"][0]["extensions"]["code"], "QUERY_TOO_COSTLY");
    let code = run(&stack, persisted("", costly)).await["errors"][0]["extensions"]["code"].clone();
    assert_eq!(code, "PERSISTED_QUERY_NOT_FOUND");
}

#[tokio::test]
async fn an_installation_may_run_trusted_documents_only() {
    let query = "{ viewer { id } }";
    let trusted = TrustedDocuments::from_iter([query.to_owned()]);
    let stack = Stack::with(Following::Yes, DocumentPolicy::TrustedOnly(trusted)).await;
    for request in [Request::new(query), persisted("", query), persisted(query, query)] {
        assert_eq!(run(&stack, request).await["data"], json!({"viewer": {"id": "operator"}}));
    }
    for request in [Request::new("{ viewer { role } }"), persisted("{ viewer { role } }", "{ viewer { role } }")] {
        assert_eq!(run(&stack, request).await["errors"][0]["extensions"]["code"], "FORBIDDEN");
    }
}
