//! Commits: a few statements per table, sent without waiting between them.
//!
//! **Invariant:** one transaction, or none of it. A transaction that is rolled back for another's sake is done again; its
//! rows are read again then, so that nothing is written over what was committed meanwhile.

use std::time::Duration;

use events::postgres::Postgres;
use futures::TryStreamExt;
use tokio_postgres::{Row, Statement};

use super::batch::{Batch, Gathered, Part, Values};
use super::errors::Failure;
use super::session::{Session, pipelined};
use super::tables::{VERSIONS, check};
use super::texts::TableTexts;
use super::value::{Came, Given};
use crate::store::own_tables::{PARK, PUT_CHECKPOINT, checkpoint_row, parked_row};
use crate::store::{Commit, StoreError};
use crate::value::{Stored, Value};

/// How a commit begins. It waits while other tables are put in place, and keeps them from being so until it ends.
///
/// Plans are made once for any number of rows and go by the indexes of keys: what PostgreSQL guesses of an array's length
/// would now and then have it read whole tables.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL plan_cache_mode = force_generic_plan; \
    SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
    SET LOCAL jit = off; SET LOCAL statement_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = '60s'; \
    LOCK TABLE projection IN ACCESS SHARE MODE";

/// A rebuilt store is written so: what the server has not synced is synced with the transaction that puts it in place.
const UNSYNCED: &str = "; SET LOCAL synchronous_commit = off";

/// How often a transaction is done again that is rolled back for another's sake.
const ATTEMPTS: u32 = 20;
/// The pause before the second attempt; it grows, so that two do not meet again and again.
const PAUSE: Duration = Duration::from_millis(2);

/// Rows of one statement.
const MOST_ROWS: usize = 1024;
/// Bytes of texts of one statement, about: PostgreSQL takes no message of more than 1 GiB.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// How sure a commit is once it has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// On the disk.
    Synced,
    /// With a later one that is.
    Later,
}

/// A statement with its parameters.
struct Request<'a> {
    text: &'a str,
    parameters: Parameters<'a>,
}

/// The parameters of a statement.
enum Parameters<'a> {
    /// Of one row.
    One(Vec<Given<'a>>),
    /// An array per column.
    Many(Vec<Vec<Given<'a>>>),
}

/// How many rows were written, or which ones were read.
type Answer = (u64, Vec<Row>);

/// Writes a commit, and comes back when it is there. `after` is sent once it is.
pub(super) async fn commit(
    postgres: &Postgres,
    tables: &[TableTexts],
    batch: &Batch,
    commit: &Commit,
    sync: Sync,
    after: Option<&str>,
) -> Result<(), StoreError> {
    let mut attempt = 1;
    loop {
        match once(postgres, tables, batch, commit, sync, after).await {
            Err(Failure::Again(error)) if attempt < ATTEMPTS => {
                tracing::debug!(attempt, %error, "read models are written again");
                tokio::time::sleep(PAUSE * attempt).await;
                attempt += 1;
            }
            other => return other.map_err(Failure::into_error),
        }
    }
}

async fn once(
    postgres: &Postgres,
    tables: &[TableTexts],
    batch: &Batch,
    commit: &Commit,
    sync: Sync,
    after: Option<&str>,
) -> Result<(), Failure> {
    let mut session = Session::of(postgres).await?;
    session.opened();
    session.batch_execute(&format!("{BEGIN}{}", if sync == Sync::Later { UNSYNCED } else { "" })).await?;
    check(session.query(VERSIONS, &[]).await?)?;
    for part in &batch.parts {
        match part {
            Part::Rows(gathered) => write_rows(&session, tables, batch, gathered).await?,
            Part::Sql(sql, values) => {
                let parameters = Parameters::One(values.iter().map(Given).collect());
                run(&session, &[Request { text: sql, parameters }]).await?;
            }
        }
    }
    write_own(&session, commit).await?;
    let mut ending = pipelined(["COMMIT"].into_iter().chain(after).map(|text| session.batch_execute(text))).await;
    let told = ending.split_off(1).pop();
    ending.into_iter().collect::<Result<(), _>>()?;
    session.ended();
    if let Some(Err(error)) = told {
        // The others look for themselves a little later.
        tracing::warn!(error = %StoreError::from(error), "nobody was told of a commit");
    }
    Ok(())
}

/// Writes rows of all tables.
async fn write_rows(
    session: &Session,
    tables: &[TableTexts],
    batch: &Batch,
    gathered: &[Gathered],
) -> Result<(), Failure> {
    // What goes as it is, and the rows that are read first.
    let upserts: Vec<Vec<String>> = gathered
        .iter()
        .map(|of| of.upserts.iter().map(|(newer, _)| tables[of.table].upsert(newer)).collect())
        .collect();
    let mut requests = Vec::new();
    for (of, upserts) in gathered.iter().zip(&upserts) {
        let texts = &tables[of.table];
        requests.extend(many(&texts.insert, rows(&of.inserts)));
        for (text, (_, values)) in upserts.iter().zip(&of.upserts) {
            requests.extend(many(text, rows(values)));
        }
    }
    let locks_from = requests.len();
    let mut locks = Vec::new();
    for (place, of) in gathered.iter().enumerate() {
        let of_keys = many(&tables[of.table].lock, of.folds.iter().map(|fold| fold.key.as_slice()));
        locks.extend(of_keys.iter().map(|_| place));
        requests.extend(of_keys);
    }
    let mut answers = run(session, &requests).await?;
    let mut read: Vec<Vec<Values>> = gathered.iter().map(|_| Vec::new()).collect();
    for (place, (_, rows)) in locks.into_iter().zip(answers.drain(locks_from..)) {
        read[place].extend(rows.iter().map(values_of).collect::<Result<Vec<_>, _>>()?);
    }
    // What becomes of those.
    let mut fresh: Vec<Vec<Values>> = gathered.iter().map(|_| Vec::new()).collect();
    let mut changed: Vec<Vec<Values>> = gathered.iter().map(|_| Vec::new()).collect();
    for (place, (of, read)) in gathered.iter().zip(read).enumerate() {
        let key = &tables[of.table].key;
        // Both are in the order of keys.
        let mut read = read.into_iter().peekable();
        for fold in &of.folds {
            let same =
                |row: &Values| key.iter().map(|column| row[*column].stored()).eq(fold.key.iter().map(Value::stored));
            let mut row = read.next_if(same);
            let is_there = row.is_some();
            if let (true, Some(row)) = (batch.fold(fold, &mut row), row) {
                let rows = if is_there { &mut changed[place] } else { &mut fresh[place] };
                rows.push(row);
            }
        }
        if read.next().is_some() {
            return Err(StoreError::Corrupt(format!("rows of {} are not in the order of keys", of.table)).into());
        }
    }
    let mut requests = Vec::new();
    let mut wanted = Vec::new();
    for (place, of) in gathered.iter().enumerate() {
        let texts = &tables[of.table];
        for (text, values) in [(&texts.insert, &fresh[place]), (&texts.replace, &changed[place])] {
            let of_rows = many(text, rows(values));
            wanted.extend(of_rows.iter().map(|request| request.rows() as u64));
            requests.extend(of_rows);
        }
    }
    let answers = run(session, &requests).await?;
    if answers.iter().zip(wanted).any(|((written, _), wanted)| *written != wanted) {
        // Another process has added one of them since they were read.
        return Err(Failure::Again(StoreError::Unavailable("rows are added by another process, too".to_owned())));
    }
    Ok(())
}

/// Writes parked events and checkpoints.
async fn write_own(session: &Session, commit: &Commit) -> Result<(), Failure> {
    let parked: Vec<[Value; 9]> = commit.parked.iter().map(|parked| parked_row(&commit.consumer, parked)).collect();
    let at: Vec<[Value; 4]> =
        commit.checkpoints.iter().map(|checkpoint| checkpoint_row(&commit.consumer, &checkpoint)).collect();
    let mut requests = Vec::with_capacity(parked.len() + at.len());
    for values in &parked {
        requests.push(Request { text: PARK, parameters: Parameters::One(values.iter().map(Given).collect()) });
    }
    for values in &at {
        requests
            .push(Request { text: PUT_CHECKPOINT, parameters: Parameters::One(values.iter().map(Given).collect()) });
    }
    run(session, &requests).await?;
    Ok(())
}

/// Sends statements one behind the other and waits for all.
async fn run(session: &Session, requests: &[Request<'_>]) -> Result<Vec<Answer>, Failure> {
    let statements = session.prepare(requests.iter().map(|request| request.text)).await?;
    let answers =
        pipelined(requests.iter().zip(statements).map(|(request, statement)| answer(session, request, statement)));
    Ok(answers.await.into_iter().collect::<Result<_, _>>()?)
}

async fn answer(
    session: &Session,
    request: &Request<'_>,
    statement: Statement,
) -> Result<Answer, tokio_postgres::Error> {
    let stream = match &request.parameters {
        Parameters::One(values) => session.query_raw(&statement, values).await?,
        Parameters::Many(columns) => session.query_raw(&statement, columns).await?,
    };
    let mut stream = std::pin::pin!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        rows.push(row);
    }
    Ok((stream.rows_affected().unwrap_or_default(), rows))
}

impl Request<'_> {
    /// How many rows it is about.
    fn rows(&self) -> usize {
        match &self.parameters {
            Parameters::One(_) => 1,
            Parameters::Many(columns) => columns.first().map_or(0, Vec::len),
        }
    }
}

fn rows(values: &[Values]) -> impl Iterator<Item = &[Value]> {
    values.iter().map(Vec::as_slice)
}

/// A statement with as many rows as one takes, and others with the rest; none without rows.
fn many<'a>(text: &'a str, rows: impl Iterator<Item = &'a [Value]>) -> Vec<Request<'a>> {
    let mut requests = Vec::new();
    let (mut columns, mut count, mut bytes): (Vec<Vec<Given<'a>>>, usize, usize) = (Vec::new(), 0, 0);
    for row in rows {
        if count == MOST_ROWS || bytes > MOST_BYTES {
            requests.push(Request { text, parameters: Parameters::Many(std::mem::take(&mut columns)) });
            (count, bytes) = (0, 0);
        }
        columns.resize_with(row.len(), Vec::new);
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(Given(value));
            if let Stored::Text(text) = value.stored() {
                bytes += text.len();
            }
        }
        count += 1;
    }
    if count > 0 {
        requests.push(Request { text, parameters: Parameters::Many(columns) });
    }
    requests
}

/// A row as read.
pub(super) fn values_of(row: &Row) -> Result<Values, StoreError> {
    (0..row.len()).map(|column| Ok(row.try_get::<_, Option<Came<'_>>>(column)?.into())).collect()
}
