//! Gathered changes beside the SQL texts run one by one: the same rows, without a server.
//!
//! **Invariant:** the model does with what was gathered what the statements of PostgreSQL do: it adds rows that are not
//! there, changes rows by newer ones, and folds on what it holds.

use proptest::prelude::*;

use super::{Batch, Part, Values};
use crate::projection::Changes;
use crate::projector::apply_all;
use crate::statement::{Newer, columns};
use crate::store::postgres::texts::{TableTexts, tables};
use crate::store::sqlite::SqliteStore;
use crate::store::{Query, ReadStore};
use crate::testing::history::{history, shuffled};
use crate::testing::{Story, commit, id, received};
use crate::value::{Stored, Value, values};

/// The rows of every table.
struct Model {
    tables: Vec<TableTexts>,
    rows: Vec<Vec<Values>>,
}

fn stored(row: &[Value]) -> Vec<Stored<'_>> {
    row.iter().map(Value::stored).collect()
}

impl Model {
    fn new() -> Self {
        let tables = tables();
        Self { rows: tables.iter().map(|_| Vec::new()).collect(), tables }
    }

    fn key(&self, table: usize, row: &[Value]) -> Values {
        self.tables[table].key.iter().map(|column| row[*column].clone()).collect()
    }

    fn find(&self, table: usize, key: &[Value]) -> Option<usize> {
        self.rows[table].iter().position(|row| stored(&self.key(table, row)) == stored(key))
    }

    fn upsert(&mut self, table: usize, newer: &Newer, given: Values) {
        let Some(place) = self.find(table, &self.key(table, &given)) else { return self.rows[table].push(given) };
        let of = |name: &str| self.tables[table].columns.iter().position(|column| column == name).unwrap();
        let by = |row: &Values| -> Vec<i64> {
            let number = |name| match row[of(name)] {
                Value::Int(number) => number,
                _ => panic!("{name} is no number"),
            };
            columns(newer.by).map(number).collect()
        };
        let held = &self.rows[table][place];
        if by(&given) > by(held) {
            let filled = columns(newer.fills).map(of).filter(|column| given[*column] != Value::Null);
            let changed: Vec<usize> = columns(newer.sets).map(of).chain(filled).collect();
            for column in changed {
                self.rows[table][place][column] = given[column].clone();
            }
        }
    }

    fn carry_out(&mut self, batch: &Batch) {
        for part in &batch.parts {
            let Part::Rows(gathered) = part else { panic!("no SQL in these changes") };
            for of in gathered {
                let mut met: Vec<Values> = Vec::new();
                for row in &of.inserts {
                    met.push(self.key(of.table, row));
                    if self.find(of.table, &self.key(of.table, row)).is_none() {
                        self.rows[of.table].push(row.clone());
                    }
                }
                for (newer, rows) in &of.upserts {
                    for row in rows {
                        met.push(self.key(of.table, row));
                        self.upsert(of.table, newer, row.clone());
                    }
                }
                for fold in &of.folds {
                    met.push(fold.key.clone());
                    let place = self.find(of.table, &fold.key);
                    let before = place.map(|place| self.rows[of.table][place].clone());
                    let mut row = before.clone();
                    assert_eq!(batch.fold(fold, &mut row), row != before);
                    match (place, row) {
                        (Some(place), Some(row)) => self.rows[of.table][place] = row,
                        (None, Some(row)) => self.rows[of.table].push(row),
                        (_, None) => assert!(before.is_none(), "no statement removes a row"),
                    }
                }
                let count = met.len();
                met.sort_by(|one, other| stored(one).cmp(&stored(other)));
                met.dedup_by(|one, other| stored(one) == stored(other));
                assert_eq!(met.len(), count, "a row of {} is met twice", self.tables[of.table].table.name);
            }
        }
    }

    async fn check(&mut self, plain: &SqliteStore) {
        for (texts, rows) in self.tables.iter().zip(&self.rows) {
            let sql = format!("SELECT {} FROM {}", texts.columns.join(", "), texts.table.name);
            let found = plain.read(vec![Query::new(sql, [])]).await.unwrap().remove(0);
            let sorted = |rows: &[Values]| {
                let mut rows = rows.to_vec();
                rows.sort_by(|one, other| stored(one).cmp(&stored(other)));
                rows.iter().map(|row| format!("{:?}", stored(row))).collect::<Vec<_>>()
            };
            assert_eq!(sorted(rows), sorted(&found), "{}", texts.table.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn gathered_changes_make_the_rows_that_the_texts_make(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..120),
        choices in prop::collection::vec(any::<u16>(), 64..256),
        batch in 1_usize..60,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let story = history(&steps);
            let (mut model, plain) = (Model::new(), SqliteStore::in_memory().await.unwrap());
            for deliveries in shuffled(&story.events, &choices).chunks(batch) {
                let mut changes = Changes::default();
                deliveries.iter().for_each(|event| apply_all(event, &mut changes));
                model.carry_out(&Batch::of(changes.clone(), &model.tables).unwrap());
                plain.commit(commit(changes, events::envelope::Position(1))).await.unwrap();
            }
            model.check(&plain).await;
        });
    }
}

#[test]
fn any_other_statement_stands_between_what_came_before_and_after_it() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "hello"));
    let mut changes = Changes::default();
    let last = story.events.pop().unwrap();
    story.events.iter().for_each(|event| apply_all(event, &mut changes));
    changes.push_sql("DELETE FROM entry WHERE conversation = $1", values![id(100)]);
    apply_all(&last, &mut changes);
    let batch = Batch::of(changes, &tables()).unwrap();
    let tables_of = |part: &Part| match part {
        Part::Rows(gathered) => gathered.len(),
        Part::Sql(..) => 0,
    };
    assert!(matches!(batch.parts[..], [Part::Rows(_), Part::Sql(..), Part::Rows(_)]));
    assert!(tables_of(&batch.parts[0]) > 2 && tables_of(&batch.parts[2]) > 1);
}
