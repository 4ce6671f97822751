//! The fold in memory beside the SQL text: the same changes give the same rows.
//!
//! **Invariant:** changes are those of made-up histories through every projection, in the order of the log and each
//! once, as a rebuild reads them, and of statements that no projection makes yet.

use events::codec::Decoded;
use proptest::prelude::*;
use rusqlite::{Connection, params_from_iter};

use super::Fold;
use crate::projection::Changes;
use crate::projector::apply_all;
use crate::registry;
use crate::statement::{Newer, Set, Statement};
use crate::store::own_tables::key_index;
use crate::store::sqlite::engine::layout;
use crate::store::sqlite::state;
use crate::testing::history::history;
use crate::testing::id;
use crate::value::values;

fn file() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for table in registry::tables() {
        connection.execute_batch(&format!("{}{}", table.create, layout(table))).unwrap();
    }
    connection
}

fn hashes(connection: &Connection) -> Vec<(&'static str, u64, String)> {
    let states = registry::tables().map(|table| state::of_table(connection, table).unwrap());
    states.map(|state| (state.table, state.rows, state.hash)).collect()
}

/// Both ways of carrying out the same batches; `most_bytes` is what the fold may hold.
fn check(batches: &[Changes], most_bytes: usize) {
    let plain = file();
    for index in registry::tables().filter_map(key_index) {
        plain.execute_batch(&index).unwrap();
    }
    for (step, parameters) in batches.iter().flat_map(Changes::iter) {
        plain.prepare_cached(step.sql()).unwrap().execute(params_from_iter(parameters)).unwrap();
    }
    let mut folded = file();
    let mut fold = Fold::new(&folded, most_bytes).unwrap();
    for changes in batches {
        fold.apply(&mut folded, &mut changes.clone()).unwrap();
    }
    fold.finish(&mut folded).unwrap();
    assert_eq!(hashes(&plain), hashes(&folded));
}

fn changes_of<'a>(events: impl IntoIterator<Item = &'a Decoded>) -> Changes {
    let mut changes = Changes::default();
    events.into_iter().for_each(|event| apply_all(event, &mut changes));
    changes
}

const COLUMNS: &str = "received, stream, revision";
const FIXED: &[(&str, Set)] = &[
    ("tenant", Set::Text("acme")),
    ("account", Set::Text("a")),
    ("channel", Set::Text("telegram")),
    ("size_bytes", Set::Given(3)),
    ("outcome", Set::Text("received")),
    ("attempts", Set::Number(0)),
    ("occurred_at", Set::Number(1)),
    ("received_at", Set::Number(1)),
    ("outcome_at", Set::Number(1)),
    ("received_revision", Set::Given(3)),
    ("received_position", Set::Given(3)),
    ("position", Set::Given(3)),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_folded_in_memory_are_those_that_the_sql_texts_make(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..120),
        batch in 1_usize..40,
        most_bytes in prop_oneof![Just(0_usize), 0_usize..20_000, Just(usize::MAX)],
    ) {
        let story = history(&steps);
        let batches: Vec<Changes> = story.events.chunks(batch).map(changes_of).collect();
        check(&batches, most_bytes);
    }

    #[test]
    fn so_are_those_of_a_table_in_the_order_of_arrival(
        steps in prop::collection::vec((0_u8..9, 0_u32..3, 0_u32..6), 1..80),
        batch in 1_usize..10,
        most_bytes in prop_oneof![Just(0_usize), 0_usize..20_000, Just(usize::MAX)],
    ) {
        static ADD: Statement = Statement::add("intake", COLUMNS, FIXED);
        static INSERT: Statement = Statement::insert("intake", COLUMNS, FIXED);
        static UPSERT: Statement = Statement::upsert(
            "intake",
            COLUMNS,
            FIXED,
            Newer { by: "revision", sets: "size_bytes, revision", fills: "kind" },
        );
        static OUTCOME: Statement = Statement::update("intake", "reason, revision", &[("outcome", Set::Text("parked"))]);
        static ATTEMPTS: Statement = Statement::update("intake", "attempts, revision", &[]);
        static FILL: Statement = Statement::fill("intake", "kind, revision");
        let mut added = 100;
        let batches: Vec<Changes> = steps.chunks(batch).map(|steps| {
            let mut changes = Changes::default();
            for (kind, key, revision) in steps {
                let received = id(u128::from(*key));
                match kind {
                    // A key of its own each time, as it is told; others then change it.
                    0..=2 => {
                        added += 1;
                        changes.push(&ADD, values![id(added), id(1), *revision]);
                    }
                    3 => changes.push(&INSERT, values![received, id(1), *revision]),
                    4 => changes.push(&UPSERT, values![received, id(1), *revision]),
                    5 => changes.push_sql("UPDATE intake SET tenant = 'x' WHERE received = $1", values![received]),
                    _ => {
                        let received = if *key == 0 { received } else { id(added + 1 - u128::from(*key)) };
                        match kind {
                            6 => changes.push(&OUTCOME, values!["a reason", *revision, id(1), received]),
                            7 => changes.push(&ATTEMPTS, values![*revision, *revision, id(1), received]),
                            _ => changes.push(&FILL, values!["kind", *revision, id(1), received]),
                        }
                    }
                }
            }
            changes
        }).collect();
        check(&batches, most_bytes);
    }

    #[test]
    fn so_are_those_of_any_statement(
        steps in prop::collection::vec((0_u8..6, 0_u32..3, 0_u32..4, 0_u32..6), 1..60),
        batch in 1_usize..10,
        most_bytes in prop_oneof![Just(0_usize), Just(usize::MAX)],
    ) {
        static INSERT: Statement = Statement::insert(
            "delivery",
            "message, conversation, tenant, attempt, revision",
            &[("state", Set::Text("queued")), ("changed_at", Set::Given(5)), ("position", Set::Given(5))],
        );
        static UPSERT: Statement = Statement::upsert(
            "delivery",
            "message, conversation, tenant, state, attempt, revision, reason",
            &[("changed_at", Set::Number(-7)), ("position", Set::Given(6))],
            Newer { by: "attempt, revision", sets: "attempt, state, revision, changed_at", fills: "reason, retry_at" },
        );
        static UPDATE: Statement = Statement::update(
            "delivery",
            "reason, revision",
            &[("parts", Set::Null), ("state", Set::Text("sending"))],
        );
        static PARTS: Statement = Statement::update("delivery", "parts, revision", &[("reason", Set::Given(1))]);
        static FILL: Statement = Statement::fill("delivery", "parts, revision");
        let batches: Vec<Changes> = steps.chunks(batch).map(|steps| {
            let mut changes = Changes::default();
            for (kind, key, attempt, revision) in steps {
                let (message, conversation) = (id(u128::from(*key)), id(1));
                let reason = (*attempt > 1).then(|| format!("reason {attempt}"));
                match kind {
                    0 => changes.push(&INSERT, values![message, conversation, "acme", *attempt, *revision]),
                    1 => changes.push(
                        &UPSERT,
                        values![message, conversation, "acme", "failed", *attempt, *revision, reason],
                    ),
                    2 => changes.push(&UPDATE, values![reason, *revision, message, conversation]),
                    3 => changes.push(&PARTS, values![*attempt, *revision, message, conversation]),
                    4 => changes.push(&FILL, values![*attempt, *revision, message, conversation]),
                    _ => changes.push_sql("UPDATE delivery SET tenant = 'x' WHERE message = $1", values![message]),
                }
            }
            changes
        }).collect();
        check(&batches, most_bytes);
    }
}
