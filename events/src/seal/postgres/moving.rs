//! The rows of a key store in PostgreSQL as they stand, read and written for whoever moves one elsewhere.
//!
//! **Invariant:** rows are written within the caller's transaction, into tables without any.

use tokio_postgres::Client;

use super::page_id;
use crate::postgres::{Postgres, PostgresError};
use crate::seal::KeyId;
use crate::seal::key_id::PageId;
use crate::seal::wrapped::{WrappedPage, WrappedSecret, WrappedSubjectKey};

/// Rows read at a time; a page is 8 KiB.
const ROWS: i64 = 256;

/// Both secrets.
pub(crate) async fn secrets(postgres: &Postgres) -> Result<Vec<WrappedSecret>, PostgresError> {
    let client = postgres.client().await?;
    let rows = client.query("SELECT name, wrapped FROM secret ORDER BY name", &[]).await?;
    let secret = |row: &tokio_postgres::Row| Ok(WrappedSecret { name: row.try_get(0)?, wrapped: row.try_get(1)? });
    rows.iter().map(secret).collect()
}

/// The next keys of subjects in order of id.
pub(crate) async fn subject_keys(
    postgres: &Postgres,
    after: Option<KeyId>,
) -> Result<Vec<WrappedSubjectKey>, PostgresError> {
    let client = postgres.client().await?;
    let query = "SELECT id, wrapped FROM subject_key WHERE id > $1 OR $1 IS NULL ORDER BY id LIMIT $2";
    let query = client.prepare_cached(query).await?;
    let rows = client.query(&query, &[&after.map(|id| id.0), &ROWS]).await?;
    let key =
        |row: &tokio_postgres::Row| Ok(WrappedSubjectKey { id: KeyId(row.try_get(0)?), wrapped: row.try_get(1)? });
    rows.iter().map(key).collect()
}

/// The next pages in their order.
pub(crate) async fn pages(postgres: &Postgres, after: Option<PageId>) -> Result<Vec<WrappedPage>, PostgresError> {
    let client = postgres.client().await?;
    let query = "SELECT run, page, wrapped FROM pool_page WHERE (run, page) > ($1, $2) ORDER BY run, page LIMIT $3";
    let query = client.prepare_cached(query).await?;
    let (run, page) = after.map_or((-1, -1), |after| (i64::from(after.run), i64::from(after.page)));
    let rows = client.query(&query, &[&run, &page, &ROWS]).await?;
    let page = |row: &tokio_postgres::Row| {
        let PageId { run, page } = page_id(row.try_get(0)?, row.try_get(1)?)?;
        Ok(WrappedPage { run, page, wrapped: row.try_get(2)? })
    };
    rows.iter().map(page).collect()
}

/// True when there is nothing in the store.
pub(crate) async fn is_empty(client: &Client) -> Result<bool, PostgresError> {
    let there = "SELECT EXISTS (SELECT 1 FROM secret) OR EXISTS (SELECT 1 FROM subject_key)
                 OR EXISTS (SELECT 1 FROM pool_page)";
    Ok(!client.query_one(there, &[]).await?.try_get::<_, bool>(0)?)
}

pub(crate) async fn write_secrets(client: &Client, secrets: &[WrappedSecret]) -> Result<(), PostgresError> {
    for WrappedSecret { name, wrapped } in secrets {
        let insert = "INSERT INTO secret (name, wrapped) VALUES ($1, $2)";
        client.execute(insert, &[name, wrapped]).await?;
    }
    Ok(())
}

pub(crate) async fn write_subject_keys(client: &Client, keys: &[WrappedSubjectKey]) -> Result<(), PostgresError> {
    let (ids, boxes): (Vec<_>, Vec<_>) = keys.iter().map(|key| (key.id.0, key.wrapped.as_deref())).unzip();
    let insert = "INSERT INTO subject_key (id, wrapped) SELECT * FROM unnest($1::uuid[], $2::bytea[])";
    client.execute(insert, &[&ids, &boxes]).await?;
    Ok(())
}

pub(crate) async fn write_pages(client: &Client, pages: &[WrappedPage]) -> Result<(), PostgresError> {
    let runs: Vec<i64> = pages.iter().map(|page| i64::from(page.run)).collect();
    let numbers: Vec<i64> = pages.iter().map(|page| i64::from(page.page)).collect();
    let boxes: Vec<&[u8]> = pages.iter().map(|page| page.wrapped.as_slice()).collect();
    let insert = "INSERT INTO pool_page (run, page, wrapped)
                  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])";
    client.execute(insert, &[&runs, &numbers, &boxes]).await?;
    Ok(())
}
