//! Limits of a query, counted before anything of it is resolved.
//!
//! The engine's own checks walk a query with every fragment expanded, so a few fragments that each spread the next
//! one twice keep it busy for ever. This one therefore runs first, on the text and on the parsed document, and counts
//! each fragment once.
//!
//! **Invariant:** the work here is linear in the length of the text, whatever the text says; aliases and fields count
//! as often as they are expanded; fragment cycles are refused.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest};
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{Name, Request, ServerResult};

use crate::error::ErrorCode;

mod text;

/// Most levels of fields in a query. The introspection query of GraphiQL has 15.
pub const MAX_DEPTH: usize = 16;
/// Most fields that a query may resolve, lists multiplied by their page size.
pub const MAX_COMPLEXITY: usize = 20_000;
/// Most aliases in a query, counted through expanded fragments.
pub const MAX_ALIASES: u64 = 30;
/// Most fields and fragments in a query, counted through expanded fragments.
pub const MAX_NODES: u64 = 2_000;
/// Most fields and fragments inside each other.
pub const MAX_RECURSION: usize = 32;
/// Longest text of a query, in bytes.
pub const MAX_TEXT_BYTES: usize = 32 * 1024;
/// Most mutations in one request.
pub const MAX_MUTATIONS: usize = 10;

/// Refuses queries beyond the limits.
pub(crate) struct Limits;

impl ExtensionFactory for Limits {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Limits {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        mut request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        text::check(&request.query).map_err(refused)?;
        check(request.parsed_query()?).map_err(refused)?;
        next.run(ctx, request).await
    }
}

fn refused(reason: &'static str) -> async_graphql::ServerError {
    ErrorCode::QueryTooCostly.error(reason)
}

/// What a selection costs with its fragments expanded.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nodes: u64,
    aliases: u64,
    /// Levels of fields and fragments below.
    levels: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.levels = self.levels.max(other.levels + 1);
    }
}

enum Visit {
    UnderWay,
    Done(Cost),
}

struct Counter<'a> {
    document: &'a ExecutableDocument,
    fragments: HashMap<&'a Name, Visit>,
}

/// Counts a document and refuses it beyond the limits.
fn check(document: &ExecutableDocument) -> Result<(), &'static str> {
    let mut counter = Counter { document, fragments: HashMap::with_capacity(document.fragments.len()) };
    // Also those that no operation spreads: the engine looks at them too.
    for name in document.fragments.keys() {
        counter.fragment(name, 0)?;
    }
    let mut total = Cost::default();
    for (_, operation) in document.operations.iter() {
        let root = &operation.node.selection_set.node;
        total.add(counter.set(root, 0)?);
        match operation.node.ty {
            OperationType::Query => {}
            OperationType::Mutation if counter.root_fields(root) > MAX_MUTATIONS as u64 => {
                return Err("too many mutations in one request");
            }
            OperationType::Mutation => {}
            // **Source:** GraphQL specification of October 2021, section 5.2.3.1, Single root field.
            OperationType::Subscription if counter.root_fields(root) != 1 => {
                return Err("a subscription must have exactly one root field");
            }
            OperationType::Subscription => {}
        }
    }
    if total.aliases > MAX_ALIASES {
        Err("too many aliases")
    } else if total.nodes > MAX_NODES {
        Err("too many fields")
    } else {
        Ok(())
    }
}

impl<'a> Counter<'a> {
    fn set(&mut self, set: &'a SelectionSet, level: usize) -> Result<Cost, &'static str> {
        let mut cost = Cost::default();
        for selection in &set.items {
            cost.nodes = cost.nodes.saturating_add(1);
            match &selection.node {
                Selection::Field(field) => {
                    cost.aliases = cost.aliases.saturating_add(field.node.alias.is_some().into());
                    cost.add(self.set(&field.node.selection_set.node, deeper(level)?)?);
                }
                Selection::InlineFragment(inline) => {
                    cost.add(self.set(&inline.node.selection_set.node, deeper(level)?)?);
                }
                Selection::FragmentSpread(spread) => {
                    cost.add(self.fragment(&spread.node.fragment_name.node, deeper(level)?)?);
                }
            }
            if level + cost.levels > MAX_RECURSION {
                return Err("too many levels");
            }
        }
        Ok(cost)
    }

    fn fragment(&mut self, name: &'a Name, level: usize) -> Result<Cost, &'static str> {
        match self.fragments.get(name) {
            Some(Visit::Done(cost)) => return Ok(*cost),
            Some(Visit::UnderWay) => return Err("a fragment spreads itself"),
            None => {}
        }
        // One that is not there is for the engine to report.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Cost::default()) };
        self.fragments.insert(name, Visit::UnderWay);
        let cost = self.set(&fragment.node.selection_set.node, level)?;
        self.fragments.insert(name, Visit::Done(cost));
        Ok(cost)
    }

    /// How many fields the root has with its fragments expanded. The levels are checked before.
    fn root_fields(&self, set: &SelectionSet) -> u64 {
        let mut count = 0_u64;
        for selection in &set.items {
            count = count.saturating_add(match &selection.node {
                Selection::Field(_) => 1,
                Selection::InlineFragment(inline) => self.root_fields(&inline.node.selection_set.node),
                Selection::FragmentSpread(spread) => match self.fragments.get(&spread.node.fragment_name.node) {
                    // All of it may be fields of the root: more than there are, never fewer.
                    Some(Visit::Done(cost)) => cost.nodes,
                    Some(Visit::UnderWay) | None => 0,
                },
            });
        }
        count
    }
}

const fn deeper(level: usize) -> Result<usize, &'static str> {
    if level < MAX_RECURSION { Ok(level + 1) } else { Err("too many levels") }
}

#[cfg(test)]
mod tests;
