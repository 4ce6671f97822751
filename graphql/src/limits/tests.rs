//! Hostile and ordinary queries against the limits.
//!
//! **Invariant:** each hostile query here is refused by counting, not by a time limit.

use async_graphql::parser::parse_query;

use super::*;

fn verdict(query: &str) -> Result<(), String> {
    text::check(query)?;
    let document = parse_query(query).map_err(|error| error.to_string())?;
    Ok(check(&document)?)
}

fn refused_with(query: &str, reason: &str) {
    assert_eq!(verdict(query), Err(reason.to_owned()));
}

#[test]
fn an_ordinary_query_passes() {
    assert_eq!(verdict("query A($x: Int) { a(x: [1, {y: \"}\"}]) { ...F b: c } } fragment F on T { d }"), Ok(()));
    assert_eq!(verdict("subscription { conversationUpdated { id } }"), Ok(()));
}

#[test]
fn aliases_count_as_often_as_their_fragment_is_spread() {
    let spreads = "...F ".repeat(4);
    let fits = format!("{{ {spreads} }} fragment F on Q {{ {} }}", alias_list(7));
    assert_eq!(verdict(&fits), Ok(()));
    let floods = format!("{{ {spreads} }} fragment F on Q {{ {} }}", alias_list(8));
    refused_with(&floods, "too many aliases");
}

fn alias_list(count: usize) -> String {
    (0..count).map(|n| format!("a{n}: x ")).collect()
}

#[test]
fn fragments_that_double_at_each_step_are_refused_at_once() {
    let mut query = "{ ...F0 } fragment F30 on Q { x }".to_owned();
    for n in 0..30 {
        query.push_str(&format!(" fragment F{n} on Q {{ ...F{} ...F{} }}", n + 1, n + 1));
    }
    // 2^30 fields: only counting each fragment once gets here.
    assert!(verdict(&query).is_err());
    let short = query.replace("{ ...F0 }", "{ ...F12 }");
    assert!(verdict(&short).is_err());
}

#[test]
fn a_fragment_cycle_is_refused_also_when_nothing_spreads_it() {
    refused_with("{ ...A } fragment A on Q { ...B } fragment B on Q { x ...A }", "a fragment spreads itself");
    refused_with("{ x } fragment A on Q { y { ...A } }", "a fragment spreads itself");
}

#[test]
fn a_deep_query_is_refused_before_and_after_parsing() {
    let deep = |levels: usize| "{ a ".repeat(levels) + &"}".repeat(levels);
    refused_with(&deep(MAX_RECURSION + 2), "too many levels");
    refused_with(&deep(5_000), "query is nested too deep");
    let value = format!("{{ a(x: {}{}) }}", "[".repeat(10_000), "]".repeat(10_000));
    refused_with(&value, "query is nested too deep");
}

#[test]
fn brackets_in_strings_and_comments_neither_count_nor_hide_others() {
    let in_strings = format!("{{ a(x: \"{0}\", y: \"\"\"{0} \\\"\"\" {0}\"\"\") # {0}\n }}", "[".repeat(100));
    assert_eq!(verdict(&in_strings), Ok(()));
    let hidden = format!("{{ a(x: {}", "[ \"]\" # ]\n".repeat(100));
    refused_with(&hidden, "query is nested too deep");
    let unclosed = format!("{{ a(x: \"\n{}", "[".repeat(100));
    refused_with(&unclosed, "query is nested too deep");
}

#[test]
fn a_long_text_is_refused() {
    refused_with(&format!("{{ a }} # {}", "x".repeat(MAX_TEXT_BYTES)), "query text is too long");
}

#[test]
fn many_fields_are_refused() {
    let query = format!("{{ {} }}", "x ".repeat(2_001));
    refused_with(&query, "too many fields");
}

#[test]
fn many_mutations_in_one_request_are_refused() {
    let query = format!("mutation {{ {} }}", (0..11).map(|n| format!("a{n}: close ")).collect::<String>());
    refused_with(&query, "too many mutations in one request");
}

#[test]
fn a_subscription_with_two_root_fields_is_refused() {
    refused_with("subscription { a b }", "a subscription must have exactly one root field");
    refused_with("subscription { ...F } fragment F on S { a b }", "a subscription must have exactly one root field");
}
