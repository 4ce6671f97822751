//! The changes of a commit, gathered by row, so that each table costs a few statements however many events there are.
//!
//! **Invariant:** statements about one row keep their order, and every row is met once. A row that only one statement is
//! about, or only such as add it, goes as it is, with the guard of its statement. Of any other row all statements are
//! carried out in memory on what is locked and read first, and the outcome is written.

use rustc_hash::FxHashMap;

use super::texts::TableTexts;
use crate::projection::{Changes, Step};
use crate::statement::{Kind, Newer, Statement};
use crate::store::StoreError;
use crate::store::plan::{Act, Plan, RowInMemory};
use crate::value::Value;

/// A row.
pub(super) type Values = Vec<Value>;

/// What is done at once, before the next.
pub(super) enum Part {
    /// Rows of all tables.
    Rows(Vec<Gathered>),
    /// A statement that may be about any row.
    Sql(&'static str, Values),
}

/// What is to be done to the rows of one table.
pub(super) struct Gathered {
    /// Which, among all.
    pub(super) table: usize,
    /// Rows that are added unless they are there.
    pub(super) inserts: Vec<Values>,
    /// Rows that are added or change those that are there, each kind by itself.
    pub(super) upserts: Vec<(Newer, Vec<Values>)>,
    /// Rows that several statements are about, or one that adds none.
    pub(super) folds: Vec<Fold>,
}

/// What is to be done to one row, in order.
pub(super) struct Fold {
    /// Its key.
    pub(super) key: Values,
    steps: Vec<(usize, Values)>,
}

/// The changes of a commit.
pub(super) struct Batch {
    plans: Vec<Plan>,
    pub(super) parts: Vec<Part>,
}

/// Statements about rows, as they came.
#[derive(Default)]
struct Gathering {
    steps: Vec<(usize, Values)>,
}

struct Row<'a>(&'a mut Values);

impl RowInMemory for Row<'_> {
    fn values(&self) -> &[Value] {
        self.0
    }

    fn set(&mut self, column: usize, value: Value) {
        self.0[column] = value;
    }
}

impl Batch {
    /// Gathers the changes.
    pub(super) fn of(mut changes: Changes, tables: &[TableTexts]) -> Result<Self, StoreError> {
        let mut batch = Self { plans: Vec::new(), parts: Vec::new() };
        // By the address of the statement, which is static.
        let mut known: FxHashMap<usize, usize> = FxHashMap::default();
        let mut kinds: Vec<Kind> = Vec::new();
        let mut gathering = Gathering::default();
        changes.drain(|step, parameters| {
            let values = parameters.iter_mut().map(std::mem::take).collect();
            match step {
                Step::Row(statement) => {
                    let address = std::ptr::from_ref::<Statement>(statement).addr();
                    let plan = match known.get(&address) {
                        Some(plan) => *plan,
                        None => {
                            let columns = tables.iter().map(|table| (table.table.name, table.columns.as_slice()));
                            batch.plans.push(Plan::of(statement, columns)?);
                            kinds.push(statement.kind);
                            known.insert(address, batch.plans.len() - 1);
                            batch.plans.len() - 1
                        }
                    };
                    gathering.steps.push((plan, values));
                }
                Step::Sql(sql) => {
                    let rows = std::mem::take(&mut gathering).gathered(&batch.plans, &kinds, tables);
                    batch.parts.extend([Part::Rows(rows), Part::Sql(sql, values)]);
                }
            }
            Ok(())
        })?;
        let rows = gathering.gathered(&batch.plans, &kinds, tables);
        batch.parts.push(Part::Rows(rows));
        Ok(batch)
    }

    /// Carries out what is to be done to a row; `row` is what the table holds of its key, and then what it is to hold.
    /// True when that is something else.
    pub(super) fn fold(&self, fold: &Fold, row: &mut Option<Values>) -> bool {
        let before = row.clone();
        for (plan, parameters) in &fold.steps {
            // Done again with the same parameters when the transaction is rolled back for another's sake.
            let (act, mut parameters) = (&self.plans[*plan].act, parameters.clone());
            match row {
                Some(row) => act.change(&mut Row(row), &mut parameters),
                None => *row = act.made().map(|made| made.iter().map(|source| source.take(&mut parameters)).collect()),
            }
        }
        *row != before
    }
}

impl Gathering {
    fn gathered(mut self, plans: &[Plan], kinds: &[Kind], tables: &[TableTexts]) -> Vec<Gathered> {
        let mut of_table: Vec<Gathered> = (0..tables.len())
            .map(|table| Gathered { table, inserts: Vec::new(), upserts: Vec::new(), folds: Vec::new() })
            .collect();
        let key_of = |plan: &Plan, parameters: &[Value]| -> Values {
            plan.key.iter().map(|source| source.look(parameters).clone()).collect()
        };
        // In the order of keys, whoever commits: then two that meet seldom wait for each other in a circle.
        let mut order: Vec<(usize, Values, usize)> = (0..self.steps.len())
            .map(|step| {
                let (plan, parameters) = &self.steps[step];
                (plans[*plan].table, key_of(&plans[*plan], parameters), step)
            })
            .collect();
        order.sort_unstable_by(|one, other| {
            one.0.cmp(&other.0).then_with(|| compare(&one.1, &other.1)).then(one.2.cmp(&other.2))
        });
        let mut rest = order.into_iter().peekable();
        let mut steps: Vec<(usize, Values)> = Vec::new();
        while let Some((table, key, step)) = rest.next() {
            steps.push(std::mem::take(&mut self.steps[step]));
            while let Some((_, _, step)) =
                rest.next_if(|(other, same, _)| *other == table && compare(same, &key).is_eq())
            {
                steps.push(std::mem::take(&mut self.steps[step]));
            }
            add(&mut of_table[table], key, &mut steps, plans, kinds);
        }
        of_table.retain(|table| !(table.inserts.is_empty() && table.upserts.is_empty() && table.folds.is_empty()));
        of_table
    }
}

/// Adds what is to be done to one row.
fn add(gathered: &mut Gathered, key: Values, steps: &mut Vec<(usize, Values)>, plans: &[Plan], kinds: &[Kind]) {
    let row = |(plan, mut parameters): (usize, Values)| -> Option<Values> {
        Some(plans[plan].act.made()?.iter().map(|source| source.take(&mut parameters)).collect())
    };
    let only_added = steps.iter().all(|(plan, _)| matches!(plans[*plan].act, Act::Add(_) | Act::Insert(_)));
    if only_added {
        // The first one stands.
        gathered.inserts.extend(steps.drain(..).next().and_then(row));
        return;
    }
    if let ([(plan, _)], Kind::Upsert(newer)) = (steps.as_slice(), kinds[steps[0].0]) {
        debug_assert!(plans[*plan].act.made().is_some());
        let values = steps.pop().and_then(row);
        match gathered.upserts.iter_mut().find(|(other, _)| *other == newer) {
            Some((_, rows)) => rows.extend(values),
            None => gathered.upserts.push((newer, values.into_iter().collect())),
        }
        return;
    }
    gathered.folds.push(Fold { key, steps: std::mem::take(steps) });
}

/// The order of keys: that of what is stored.
fn compare(one: &[Value], other: &[Value]) -> std::cmp::Ordering {
    one.iter().map(Value::stored).cmp(other.iter().map(Value::stored))
}

#[cfg(test)]
mod tests;
