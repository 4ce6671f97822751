//! Reads: queries of one snapshot, sent together; checkpoints; state hashes.
//!
//! **Invariant:** a read sees one committed state. It keeps other tables from being put in place while it runs, and began
//! before or after that, never in between.

use events::feed::Checkpoints;
use events::postgres::Postgres;
use futures::TryStreamExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Statement};

use super::errors::Failure;
use super::session::{Session, pipelined};
use super::value::{Came, Given};
use super::write::values_of;
use crate::projection::Table;
use crate::store::own_tables::{CHECKPOINTS, checkpoint_of};
use crate::store::row_hash::RowHash;
use crate::store::{Query, State, StoreError, TableState};
use crate::value::Row;

/// How a read begins: the lock is taken before the snapshot. A reader that is stuck is ended.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '30s'; \
    SET LOCAL jit = off; SET LOCAL idle_in_transaction_session_timeout = '60s'; LOCK TABLE projection IN ACCESS SHARE MODE";

/// The same for the reading of whole tables, which takes as long as it takes.
const BEGIN_STATE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; \
    SET LOCAL jit = off; LOCK TABLE projection IN ACCESS SHARE MODE";

/// How often a read is done again that was ended for another's sake.
const ATTEMPTS: usize = 3;

/// What is sent in a read.
enum Request<'a> {
    Simple(&'static str),
    Query(&'a Query, Statement),
}

/// Runs queries in one snapshot.
pub(super) async fn read(postgres: &Postgres, queries: &[Query]) -> Result<Vec<Vec<Row>>, StoreError> {
    for _ in 1..ATTEMPTS {
        match once(postgres, queries).await {
            Err(Failure::Again(_)) => {}
            other => return other.map_err(Failure::into_error),
        }
    }
    once(postgres, queries).await.map_err(Failure::into_error)
}

async fn once(postgres: &Postgres, queries: &[Query]) -> Result<Vec<Vec<Row>>, Failure> {
    let session = Session::of(postgres).await?;
    let statements = session.prepare(queries.iter().map(|query| &*query.sql)).await?;
    // All of it is sent at once, the end included: whoever gives up waiting leaves no transaction open.
    let middle = queries.iter().zip(statements).map(|(query, statement)| Request::Query(query, statement));
    let requests = [Request::Simple(BEGIN)].into_iter().chain(middle).chain([Request::Simple("COMMIT")]);
    let answers = pipelined(requests.map(|request| answer(&session, request))).await;
    let mut answers = answers.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    answers.pop();
    answers.remove(0);
    Ok(answers)
}

async fn answer(session: &Session, request: Request<'_>) -> Result<Vec<Row>, Failure> {
    match request {
        Request::Simple(text) => {
            session.batch_execute(text).await?;
            Ok(Vec::new())
        }
        Request::Query(query, statement) => {
            let parameters: Vec<Given<'_>> = query.parameters.iter().map(Given).collect();
            let mut rows = std::pin::pin!(session.query_raw(&statement, &parameters).await?);
            let mut answer = Vec::new();
            while let Some(row) = rows.try_next().await? {
                answer.push(values_of(&row)?);
            }
            Ok(answer)
        }
    }
}

/// How far a consumer has come.
pub(super) async fn checkpoints(client: &impl GenericClient, consumer: &str) -> Result<Checkpoints, StoreError> {
    let mut checkpoints = Checkpoints::start();
    for row in client.query(CHECKPOINTS, &[&consumer]).await? {
        checkpoints.add(&checkpoint_of(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    }
    Ok(checkpoints)
}

/// How far each consumer has come.
pub(super) async fn applied(client: &impl GenericClient) -> Result<Vec<(String, Checkpoints)>, StoreError> {
    let sql = "SELECT consumer, part, place, position FROM checkpoint ORDER BY consumer";
    let mut applied: Vec<(String, Checkpoints)> = Vec::new();
    for row in client.query(sql, &[]).await? {
        let consumer: &str = row.try_get(0)?;
        let checkpoint = checkpoint_of(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        match applied.last_mut() {
            Some((last, checkpoints)) if last == consumer => checkpoints.add(&checkpoint),
            _ => applied.push((consumer.to_owned(), checkpoint.into())),
        }
    }
    Ok(applied)
}

/// Row counts and hashes of tables and the checkpoints of `consumer`, in one snapshot.
pub(super) async fn state(postgres: &Postgres, consumer: &str, tables: &[&'static Table]) -> Result<State, StoreError> {
    let mut session = Session::of(postgres).await?;
    session.opened();
    session.batch_execute(BEGIN_STATE).await?;
    let checkpoints = checkpoints(&**session, consumer).await?;
    let mut states = Vec::with_capacity(tables.len());
    for table in tables {
        states.push(of_table(&session, table).await?);
    }
    session.batch_execute("COMMIT").await?;
    session.ended();
    Ok(State { checkpoints, tables: states })
}

async fn of_table(session: &Session, table: &'static Table) -> Result<TableState, StoreError> {
    let sql = format!("SELECT * FROM {} ORDER BY {}", table.name, table.key.join(", "));
    let none: [&(dyn ToSql + Sync); 0] = [];
    let mut rows = std::pin::pin!(session.query_raw(&sql, none).await?);
    let mut hash = RowHash::default();
    while let Some(row) = rows.try_next().await? {
        hash.row();
        for column in 0..row.len() {
            match row.try_get::<_, Option<Came<'_>>>(column)? {
                None => hash.null(),
                Some(Came::Int(value)) => hash.int(value),
                Some(Came::Text(text)) => hash.text(text.as_bytes()),
                Some(Came::Bytes(bytes)) => hash.bytes(bytes),
            }
        }
    }
    Ok(hash.state(table))
}
