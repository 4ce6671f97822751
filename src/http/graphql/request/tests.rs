//! Parameters, bodies, query strings and what they refuse.

use actix_web::test::TestRequest;

use super::*;

#[test]
fn a_json_body_gives_all_four_parameters() {
    let body =
        r#" {"query":"query Q { x }","operationName":"Q","variables":{"a":1},"extensions":{"e":{"v":2}},"more":0}"#;
    let request = of_json(body.as_bytes()).unwrap();
    assert_eq!(request.query, "query Q { x }");
    assert_eq!(request.operation_name.as_deref(), Some("Q"));
    assert_eq!(serde_json::to_value(&request.variables).unwrap(), serde_json::json!({ "a": 1 }));
    assert_eq!(serde_json::to_value(&request.extensions).unwrap(), serde_json::json!({ "e": { "v": 2 } }));
}

#[test]
fn a_query_string_gives_all_four_parameters() {
    let query = "query=%7Bx%7D&operationName=Q&variables=%7B%22a%22%3A1%7D&extensions=%7B%22e%22%3A2%7D&other=1";
    let request = of_query_string(query).unwrap();
    assert_eq!(request.query, "{x}");
    assert_eq!(request.operation_name.as_deref(), Some("Q"));
    assert_eq!(serde_json::to_value(&request.variables).unwrap(), serde_json::json!({ "a": 1 }));
    assert_eq!(serde_json::to_value(&request.extensions).unwrap(), serde_json::json!({ "e": 2 }));
}

#[test]
fn absent_and_null_parameters_are_the_same() {
    let request = of_json(br#"{"query":"{x}","operationName":null,"variables":null,"extensions":null}"#).unwrap();
    assert_eq!(request.operation_name, None);
    assert!(request.variables.is_empty() && request.extensions.is_empty());
    assert!(of_query_string("query={x}&variables=null&operationName=").unwrap().operation_name.is_none());
}

#[test]
fn what_is_not_one_graphql_request_is_malformed() {
    for bad in [
        "",
        "x",
        "7",
        "{}",
        r#"{"query":7}"#,
        r#"{"query":null}"#,
        r#"{"query":"{x}","variables":[]}"#,
        r#"{"query":"{x}","variables":"{}"}"#,
        r#"{"query":"{x}","extensions":"x"}"#,
        r#"{"query":"{x}","operationName":7}"#,
        r#"[{"query":"{x}"}]"#,
        " \n[]",
    ] {
        assert!(of_json(bad.as_bytes()).is_err(), "{bad}");
    }
    for bad in ["", "query=%7Bx%7D&variables=7", "query=%7Bx%7D&variables=%7B", "operationName=Q"] {
        assert!(of_query_string(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_persisted_query_needs_no_text() {
    let body = br#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#;
    let request = of_json(body).unwrap();
    assert_eq!(request.query, "");
    assert_eq!(persisted_hash(&request).as_deref(), Some("ab"));
}

#[test]
fn nesting_counts_brackets_outside_strings_and_comments() {
    for (document, expected) in [
        ("", 0),
        ("{a{b{c}}}", 3),
        ("{a}{b}", 1),
        ("{a(x:[[1]])}", 4),
        ("}}}{", 1),
        ("{a(x:\"{{{{\")}", 2),
        (r#"{a(x:"\"{{{{")}"#, 2),
        (r#"{a(x:"\\"){b}}"#, 2),
        ("{a(x:\"\"\"{{ \" {{ \\\"\"\" {{\"\"\"){b}}", 2),
        ("{a # {{{{ \n b}", 1),
        ("{a # {{{{ \r {b}}", 2),
        ("{a(x:\"\"){b}}", 2),
        // A string ends with its line, so that an open quote cannot hide what follows.
        ("{a(x:\"\n{{{{", 6),
        ("{\"", 1),
        ("{\"\"\"", 1),
        ("{\"\\", 1),
        ("{ж{\"ж\"", 2),
    ] {
        assert_eq!(nesting(document), expected, "{document}");
    }
}

#[test]
fn a_document_as_deep_as_it_may_be_is_parsed_on_a_small_stack() {
    let deep = |levels: usize| format!("{}a{}", "{a".repeat(levels), "}".repeat(levels));
    assert!(of_json(serde_json::json!({ "query": deep(MAX_NESTING + 1) }).to_string().as_bytes()).is_err());
    let mut request = of_json(serde_json::json!({ "query": deep(MAX_NESTING) }).to_string().as_bytes()).unwrap();
    let parsed = std::thread::Builder::new().stack_size(2 << 20).spawn(move || request.parsed_query().is_ok());
    // Whether the parser takes or refuses it, it comes back.
    let _taken = parsed.unwrap().join().unwrap();
}

#[test]
fn only_json_in_utf8_and_unpacked_may_be_posted() {
    let check = |content_type: Option<&str>, coding: Option<&str>| {
        let mut http = TestRequest::post();
        for (name, value) in [("content-type", content_type), ("content-encoding", coding)] {
            if let Some(value) = value {
                http = http.insert_header((name, value));
            }
        }
        refuse_forgeable_post(&http.to_http_request()).is_ok()
    };
    for good in
        ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8"]
    {
        assert!(check(Some(good), None), "{good}");
    }
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=utf-16",
        "text/plain; application/json",
        "application/jsonp",
        "",
    ] {
        assert!(!check(Some(bad), None), "{bad}");
    }
    assert!(!check(None, None));
    assert!(check(Some("application/json"), Some("identity")));
    assert!(!check(Some("application/json"), Some("gzip")));
}

#[test]
fn a_get_needs_a_header_that_no_foreign_page_can_set() {
    assert!(refuse_forgeable_get(&TestRequest::get().to_http_request()).is_err());
    for name in PREFLIGHT_HEADERS {
        assert!(refuse_forgeable_get(&TestRequest::get().insert_header((name, "1")).to_http_request()).is_ok());
        assert!(refuse_forgeable_get(&TestRequest::get().insert_header((name, "")).to_http_request()).is_err());
    }
}

#[test]
fn a_document_is_a_query_if_the_operation_that_would_run_is_one() {
    for (document, name, expected) in [
        ("{x}", None, true),
        ("mutation {x}", None, false),
        ("subscription {x}", None, false),
        ("query A {x} mutation B {x}", Some("A"), true),
        ("query A {x} mutation B {x}", Some("B"), false),
        ("query A {x} mutation B {x}", None, false),
        ("mutation B {x}", Some("A"), true),
    ] {
        let mut request = Request::new(document);
        assert_eq!(is_query(request.parsed_query().unwrap(), name), expected, "{document} {name:?}");
    }
}
