//! Everything that people at the demo's shop do: GraphQL over HTTP, as any front end would.
//!
//! **Invariant:** knows the address of the server and tokens, nothing of its insides.

use anyhow::Context;
use serde_json::{Value, json};

/// Nodes of a list that are asked for at a time.
const PAGE: usize = 100;

/// One person with a token.
#[derive(Clone)]
pub(super) struct Desk {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Desk {
    /// The desk of whoever holds the token.
    pub(super) fn new(client: reqwest::Client, server: &str, token: &str) -> Self {
        Self { client, url: format!("{server}/graphql"), token: token.to_owned() }
    }

    /// Runs a query.
    ///
    /// # Errors
    /// The server is gone or refuses the query.
    pub(super) async fn query(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        let request = self.client.post(&self.url).bearer_auth(&self.token);
        let answer = request.json(&json!({ "query": query, "variables": variables })).send().await?;
        let mut answer: Value = answer.json().await.context("the server did not answer with JSON")?;
        anyhow::ensure!(answer["errors"].is_null(), "the server refused {}: {}", first_line(query), answer["errors"]);
        Ok(answer["data"].take())
    }

    /// Runs one mutation and returns what came of it.
    ///
    /// # Errors
    /// As [`Desk::query`], and when a rule refused the wish.
    pub(super) async fn change(&self, mutation: &str, input: Value, wanted: &str) -> anyhow::Result<Value> {
        let mut letters = mutation.chars();
        let kind: String = letters.next().iter().flat_map(|first| first.to_uppercase()).chain(letters).collect();
        let query = format!(
            "mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ token userErrors {{ code message }} {wanted} }} }}"
        );
        let mut data = self.query(&query, json!({ "input": input })).await?;
        let done = data[mutation].take();
        let refused = done["userErrors"].as_array().is_none_or(|errors| !errors.is_empty());
        anyhow::ensure!(!refused, "{mutation} was refused: {}", done["userErrors"]);
        Ok(done)
    }

    /// All nodes of a list: `list` is the field with its other arguments left out, `arguments` those, `wanted` the
    /// fields of a node.
    ///
    /// # Errors
    /// As [`Desk::query`].
    pub(super) async fn all(&self, list: &str, arguments: &str, wanted: &str) -> anyhow::Result<Vec<Value>> {
        let query = format!(
            "query($after: String) {{ {list}(first: {PAGE}, after: $after{arguments}) \
             {{ nodes {{ {wanted} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let mut nodes = Vec::new();
        let mut after = Value::Null;
        loop {
            let mut data = self.query(&query, json!({ "after": after })).await?;
            let page = &mut data[list];
            nodes.extend(page["nodes"].as_array_mut().map(std::mem::take).context("a list without nodes")?);
            if page["pageInfo"]["hasNextPage"] != json!(true) {
                return Ok(nodes);
            }
            after = page["pageInfo"]["endCursor"].take();
        }
    }
}

fn first_line(query: &str) -> &str {
    query.lines().next().unwrap_or_default()
}
