//! GraphQL over HTTP, through a real actix application around a toy schema.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, http::header};
use serde_json::{Value, json};

use super::toy::{Bench, TOKEN, bench, toy_now};
use super::*;

const MODERN: &str = "application/graphql-response+json";

struct Answer {
    status: u16,
    content_type: String,
    headers: header::HeaderMap,
    body: Value,
}

async fn send(bench: &Bench, request: TestRequest) -> Answer {
    let app = init_service(App::new().configure(routes(Arc::clone(&bench.transport)))).await;
    let response = call_service(&app, request.to_request()).await;
    let headers = response.headers().clone();
    let content_type = headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap()).to_owned();
    let status = response.status().as_u16();
    let body = read_body(response).await;
    Answer { status, content_type, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}

fn post(query: &str) -> TestRequest {
    TestRequest::post()
        .uri("/graphql")
        .insert_header((header::AUTHORIZATION, format!("Bearer {TOKEN}")))
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .set_payload(json!({ "query": query }).to_string())
}

fn get(query_string: &str) -> TestRequest {
    TestRequest::get()
        .uri(&format!("/graphql?{query_string}"))
        .insert_header((header::AUTHORIZATION, format!("Bearer {TOKEN}")))
        .insert_header(("x-letopis-csrf", "1"))
}

fn plain() -> Bench {
    bench(GraphqlConfig::default())
}

#[actix_web::test]
async fn a_posted_query_is_answered_for_the_viewer_of_its_token() {
    let answer = send(&plain(), post("{ tenant }")).await;
    assert_eq!((answer.status, answer.body), (200, json!({ "data": { "tenant": "acme" } })));
    assert_eq!(answer.content_type, "application/json; charset=utf-8");
    assert_eq!(answer.headers.get(header::CACHE_CONTROL).unwrap(), "no-store");
}

#[actix_web::test]
async fn a_client_that_knows_the_newer_format_gets_it() {
    let answer = send(&plain(), post("{ tenant }").insert_header((header::ACCEPT, MODERN))).await;
    assert_eq!(
        (answer.status, answer.content_type.as_str()),
        (200, "application/graphql-response+json; charset=utf-8")
    );
}

#[actix_web::test]
async fn a_request_that_is_not_valid_is_200_for_old_clients_and_400_for_new_ones_and_has_no_data() {
    for query in ["{ nonsense }", "{", "query A { tenant } query B { tenant }", "subscription { count(to: 1) }"] {
        let old = send(&plain(), post(query)).await;
        assert_eq!(old.status, 200, "{query}");
        assert_eq!(old.body["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{query}");
        assert!(old.body.get("data").is_none(), "{query}");
        let new = send(&plain(), post(query).insert_header((header::ACCEPT, MODERN))).await;
        assert_eq!(new.status, 400, "{query}");
    }
}

#[actix_web::test]
async fn a_failed_field_is_200_in_both_formats_and_its_text_stays_inside() {
    for accept in ["application/json", MODERN] {
        let answer = send(&plain(), post("{ tenant broken }").insert_header((header::ACCEPT, accept))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["errors"][0]["extensions"]["code"], "INTERNAL_SERVER_ERROR");
        assert!(!answer.body.to_string().contains("phone"), "{}", answer.body);
    }
    let answer = send(&plain(), post("{ missing }")).await;
    assert_eq!(answer.body["errors"][0]["message"], "no such thing");
    assert_eq!(answer.body["errors"][0]["extensions"]["code"], "NOT_FOUND");
}

/// A known gap of async-graphql 7.2.1: it leaves a failed field out of `data`, where the specification wants `null`, for
/// the field if it is nullable and else for what it belongs to. Pinned, so that the change in 8.0 is noticed.
#[actix_web::test]
async fn a_failed_field_is_left_out_of_the_data_by_the_library() {
    for field in ["missing", "broken"] {
        let answer = send(&plain(), post(&format!("{{ tenant {field} }}"))).await;
        assert_eq!(answer.body["data"], json!({ "tenant": "acme" }), "{field}");
        assert_eq!(answer.body["errors"][0]["path"], json!([field]));
    }
}

#[actix_web::test]
async fn a_query_may_be_sent_by_get() {
    let answer = send(&plain(), get("query=query%20Q($n:Int!)%7Becho(number:$n)%7D&variables=%7B%22n%22:7%7D")).await;
    assert_eq!((answer.status, answer.body), (200, json!({ "data": { "echo": 7 } })));
}

#[actix_web::test]
async fn a_get_that_would_change_something_is_refused_and_changes_nothing() {
    let bench = plain();
    for query in ["query=mutation%7Bbump%7D", "query=query%20A%7Btenant%7D%20mutation%20B%7Bbump%7D&operationName=B"] {
        let answer = send(&bench, get(query)).await;
        assert_eq!(answer.status, 405, "{query}");
        assert_eq!(answer.headers.get(header::ALLOW).unwrap(), "POST");
    }
    assert_eq!(bench.toy.bumps.load(Ordering::SeqCst), 0);
    assert_eq!(send(&bench, post("mutation { bump }")).await.body, json!({ "data": { "bump": 0 } }));
    assert_eq!(bench.toy.bumps.load(Ordering::SeqCst), 1);
}

#[actix_web::test]
async fn a_get_by_hash_alone_runs_only_a_known_query() {
    let bench = plain();
    let by_hash = "extensions=%7B%22persistedQuery%22:%7B%22version%22:1,%22sha256Hash%22:%22ab%22%7D%7D";
    let unknown = send(&bench, get(by_hash)).await;
    assert_eq!(unknown.status, 200);
    assert_eq!(unknown.body["errors"][0]["message"], "PersistedQueryNotFound");
    assert_eq!(unknown.body["errors"][0]["extensions"]["code"], "PERSISTED_QUERY_NOT_FOUND");
    bench.toy.persisted.lock().insert("ab".to_owned(), "mutation { bump }".to_owned());
    assert_eq!(send(&bench, get(by_hash)).await.status, 405);
    assert_eq!(bench.toy.bumps.load(Ordering::SeqCst), 0);
    bench.toy.persisted.lock().insert("ab".to_owned(), "{ tenant }".to_owned());
    assert_eq!(send(&bench, get(by_hash)).await.body["data"]["tenant"], "acme");
}

#[actix_web::test]
async fn without_a_good_token_nothing_is_executed() {
    let bench = plain();
    bench.toy.tokens.lock().insert("old".to_owned(), Some(toy_now()));
    bench.toy.tokens.lock().insert("fresh".to_owned(), Some(toy_now() + chrono::Duration::seconds(1)));
    for value in ["", "Bearer", "Bearer ", "Basic good-token", "Bearer unknown", "Bearer old", "good-token"] {
        let request = post("mutation { bump }").insert_header((header::AUTHORIZATION, value));
        let answer = send(&bench, request).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (401, "application/problem+json"), "{value}");
        assert_eq!(answer.headers.get(header::WWW_AUTHENTICATE).unwrap(), "Bearer realm=\"letopis\"");
        assert_eq!(answer.body["status"], 401);
        assert_eq!(answer.body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    }
    assert_eq!(bench.toy.bumps.load(Ordering::SeqCst), 0);
    let request = post("mutation { bump }").insert_header((header::AUTHORIZATION, "bearer fresh"));
    assert_eq!(send(&bench, request).await.status, 200);
}

#[actix_web::test]
async fn what_a_foreign_page_could_send_is_refused() {
    let bench = plain();
    let form = post("mutation { bump }").insert_header((header::CONTENT_TYPE, "text/plain"));
    assert_eq!(send(&bench, form).await.status, 415);
    let link = TestRequest::get().uri("/graphql?query=%7Btenant%7D");
    assert_eq!(send(&bench, link).await.status, 400);
    assert_eq!(bench.toy.bumps.load(Ordering::SeqCst), 0);
}

#[actix_web::test]
async fn a_body_above_the_limit_is_413_whether_announced_or_not() {
    let bench = bench(GraphqlConfig { max_body_bytes: 100, ..GraphqlConfig::default() });
    let padded = |bytes: usize| {
        let body = json!({ "query": "{ tenant }" }).to_string();
        body.clone() + &" ".repeat(bytes - body.len())
    };
    assert_eq!(send(&bench, post("").set_payload(padded(100))).await.status, 200);
    let announced = post("").set_payload(padded(101)).insert_header((header::CONTENT_LENGTH, "101"));
    assert_eq!(send(&bench, announced).await.status, 413);
    let lying = post("").set_payload(padded(101)).insert_header((header::CONTENT_LENGTH, "7"));
    let answer = send(&bench, lying).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (413, "application/problem+json"));
}

#[actix_web::test]
async fn batches_and_broken_bodies_are_400() {
    for body in ["[]", r#"[{"query":"{ tenant }"}]"#, "{", "", r#"{"variables":{}}"#] {
        let answer = send(&plain(), post("").set_payload(body)).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (400, "application/problem+json"), "{body}");
    }
}

#[actix_web::test]
async fn an_operation_that_takes_too_long_is_given_up() {
    let bench = bench(GraphqlConfig { request_timeout: Duration::from_millis(20), ..GraphqlConfig::default() });
    let answer = send(&bench, post("{ stuck }")).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (504, "application/problem+json"));
}

#[actix_web::test]
async fn other_methods_and_formats_are_refused() {
    let answer = send(&plain(), TestRequest::put().uri("/graphql")).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.headers.get(header::ALLOW).unwrap(), "GET, POST");
    assert_eq!(send(&plain(), post("{ tenant }").insert_header((header::ACCEPT, "text/html"))).await.status, 406);
}

#[actix_web::test]
async fn graphiql_is_served_whole_from_the_binary_or_not_at_all() {
    for path in ["", "/page.js", "/page.css", "/graphiql.min.js", "/graphiql.min.css", "/react.production.min.js"] {
        let answer = send(&plain(), TestRequest::get().uri(&format!("/graphiql{path}"))).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.headers.get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    }
    assert_eq!(send(&plain(), TestRequest::get().uri("/graphiql/nothing.js")).await.status, 404);
    let off = bench(GraphqlConfig { graphiql: false, ..GraphqlConfig::default() });
    assert_eq!(send(&off, TestRequest::get().uri("/graphiql")).await.status, 404);
}
