//! Which format, which status, which errors.

use async_graphql::{PathSegment, value};

use super::*;

#[test]
fn the_format_follows_the_accept_header() {
    use Media::{GraphqlResponse, Json};
    for (accept, expected) in [
        ("", Some(Json)),
        ("*/*", Some(Json)),
        ("application/*", Some(Json)),
        ("application/json", Some(Json)),
        ("application/json; charset=utf-8", Some(Json)),
        ("application/graphql-response+json", Some(GraphqlResponse)),
        ("application/graphql-response+json, application/json", Some(GraphqlResponse)),
        ("application/json, application/graphql-response+json", Some(GraphqlResponse)),
        ("application/json;q=0.9, application/graphql-response+json", Some(GraphqlResponse)),
        ("application/json, application/graphql-response+json;q=0.9", Some(Json)),
        ("application/graphql-response+json;q=0, */*", Some(Json)),
        ("Application/GraphQL-Response+JSON", Some(GraphqlResponse)),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Json)),
        ("text/html", None),
        ("application/json;q=0", None),
    ] {
        assert_eq!(preferred(accept), expected, "{accept}");
    }
}

fn at_field(message: &str) -> ServerError {
    ServerError::new(message, None).with_path(vec![PathSegment::Field("x".into())])
}

#[test]
fn an_error_without_a_code_gets_one() {
    for (error, code, message) in [
        (ServerError::new("unknown field", None), "BAD_USER_INPUT", "unknown field"),
        (ServerError::new(PERSISTED_QUERY_NOT_FOUND, None), "PERSISTED_QUERY_NOT_FOUND", PERSISTED_QUERY_NOT_FOUND),
        (at_field("Failed to parse \"Int\": no"), "BAD_USER_INPUT", "Failed to parse \"Int\": no"),
        (at_field("disk I/O error"), "INTERNAL_SERVER_ERROR", UNEXPECTED),
    ] {
        let mut errors = [error];
        complete_errors(&mut errors, Some("trace-1"));
        assert_eq!(code_of(&errors[0]), Some(code));
        assert_eq!(errors[0].message, message);
        assert_eq!(errors[0].extensions.as_ref().unwrap().get("traceId"), Some(&value!("trace-1")));
    }
}

#[test]
fn an_error_with_a_code_keeps_it_and_its_text() {
    let mut error = at_field("no such conversation");
    error.extensions.get_or_insert_default().set("code", "NOT_FOUND");
    let mut errors = [error.clone()];
    complete_errors(&mut errors, None);
    assert_eq!(errors[0], error);
}

#[test]
fn only_what_was_not_executed_at_all_is_a_request_error() {
    assert!(is_request_error(&Response::from_errors(vec![ServerError::new("bad", None)])));
    assert!(!is_request_error(&Response::from_errors(vec![at_field("a non-null root field failed")])));
    assert!(!is_request_error(&Response::new(Value::Null)));
    let mut partial = Response::new(value!({ "x": null }));
    partial.errors = vec![at_field("failed")];
    assert!(!is_request_error(&partial));
}

#[test]
fn a_refused_request_has_the_status_of_its_code_for_clients_that_know_it() {
    for (code, status) in [
        ("UNAUTHENTICATED", 401),
        ("FORBIDDEN", 403),
        ("RATE_LIMITED", 429),
        ("UNAVAILABLE", 503),
        ("INTERNAL_SERVER_ERROR", 500),
        ("NOT_FOUND", 400),
    ] {
        let refused = || {
            let mut error = ServerError::new("refused", None);
            error.extensions.get_or_insert_default().set("code", code);
            Response::from_errors(vec![error])
        };
        assert_eq!(answer(refused(), Media::GraphqlResponse, None).status().as_u16(), status, "{code}");
        assert_eq!(answer(refused(), Media::Json, None).status().as_u16(), 200, "{code}");
    }
}
