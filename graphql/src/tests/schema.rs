//! The schema as a document: committed, described, and with the codes that errors carry.
//!
//! **Invariant:** `schema.graphql` is what the code says; `LETOPIS_WRITE_SCHEMA=1` writes it anew.

use events::viewer::Role;
use serde_json::Value;

use super::stack::{Stack, caller};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");

#[tokio::test]
async fn the_committed_schema_is_the_one_in_the_code() {
    let stack = Stack::start().await;
    let sdl = crate::sdl(&stack.schema);
    if std::env::var_os("LETOPIS_WRITE_SCHEMA").is_some() {
        std::fs::write(COMMITTED, &sdl).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    assert!(committed == sdl, "graphql/schema.graphql is out of date: run this test with LETOPIS_WRITE_SCHEMA=1");
}

#[tokio::test]
async fn everything_in_the_schema_has_a_description() {
    let stack = Stack::start().await;
    let query = "{ __schema { types { name kind description
        fields(includeDeprecated: true) { name description args { name description } }
        inputFields { name description } enumValues(includeDeprecated: true) { name description } } } }";
    let data = stack.ask(&caller(Role::Operator), query).await;
    let mut missing = Vec::new();
    let mut described = 0;
    for of in data["__schema"]["types"].as_array().unwrap() {
        let name = of["name"].as_str().unwrap();
        // GraphQL's own.
        if name.starts_with("__") || name == "ID" {
            continue;
        }
        note(&mut missing, &mut described, name, of);
        for members in ["fields", "inputFields", "enumValues"] {
            for member in of[members].as_array().into_iter().flatten() {
                let path = format!("{name}.{}", member["name"].as_str().unwrap());
                note(&mut missing, &mut described, &path, member);
                for argument in member["args"].as_array().into_iter().flatten() {
                    let path = format!("{path}({})", argument["name"].as_str().unwrap());
                    note(&mut missing, &mut described, &path, argument);
                }
            }
        }
    }
    assert!(missing.is_empty(), "without a description: {missing:#?}");
    assert!(described > 500, "only {described} things were looked at");
}

fn note(missing: &mut Vec<String>, described: &mut u32, path: &str, thing: &Value) {
    match thing["description"].as_str() {
        Some(text) if !text.trim().is_empty() => *described += 1,
        _ => missing.push(path.to_owned()),
    }
}

#[tokio::test]
async fn the_introspection_query_of_graphiql_keeps_to_the_limits() {
    let stack = Stack::start().await;
    let of_type = "kind name ofType { ".repeat(9) + "kind name" + &" }".repeat(9);
    let query = format!(
        "query IntrospectionQuery {{ __schema {{ queryType {{ name }} mutationType {{ name }} \
         subscriptionType {{ name }} types {{ ...FullType }} directives {{ name description locations \
         args {{ ...InputValue }} }} }} }} \
         fragment FullType on __Type {{ kind name description fields(includeDeprecated: true) {{ name description \
         args {{ ...InputValue }} type {{ ...TypeRef }} isDeprecated deprecationReason }} \
         inputFields {{ ...InputValue }} interfaces {{ ...TypeRef }} enumValues(includeDeprecated: true) {{ name \
         description isDeprecated deprecationReason }} possibleTypes {{ ...TypeRef }} }} \
         fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue }} \
         fragment TypeRef on __Type {{ {of_type} }}"
    );
    let data = stack.ask(&caller(Role::Operator), &query).await;
    assert_eq!(data["__schema"]["queryType"]["name"], "Query");
}
