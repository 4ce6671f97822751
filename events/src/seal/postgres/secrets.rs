//! What is made once for a key store: the check of its key-encryption key, and the secret of the ids.
//!
//! **Invariant:** both are made together in an empty store, by one process, and never again.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::{random, sealing};
use crate::postgres::{Postgres, PostgresError};
use crate::seal::stored::{CHECK, KEY_BYTES, OpenKeyStoreError, key_bytes, secret_purpose};
use crate::seal::{KeyEncryptionKey, KeyStoreError};

/// Checks the key-encryption key and gives the id secret; makes both in an empty store. One transaction: of several
/// processes that start at once the first makes them, and the others wait for its COMMIT.
pub(super) async fn open_secrets(
    postgres: &Postgres,
    kek: &KeyEncryptionKey,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, OpenKeyStoreError> {
    let mut client = postgres.client().await?;
    let transaction = client.transaction().await.map_err(PostgresError::from)?;
    let insert = "INSERT INTO secret (name, wrapped) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    let wrap = |name: &str, clear: &[u8]| kek.wrap(&secret_purpose(name), clear).map_err(sealing);
    let first = transaction.execute(insert, &[&"check", &wrap("check", CHECK)?]).await.map_err(PostgresError::from)?;
    if first == 1 {
        let keys = "SELECT EXISTS (SELECT 1 FROM subject_key) OR EXISTS (SELECT 1 FROM pool_page)
                    OR EXISTS (SELECT 1 FROM secret WHERE name <> 'check')";
        let keys = transaction.query_one(keys, &[]).await.map_err(PostgresError::from)?;
        if keys.try_get(0).map_err(PostgresError::from)? {
            return Err(OpenKeyStoreError::Corrupt("there are keys, but the check value is missing".into()));
        }
        let secret = wrap("id_secret", &*random::<KEY_BYTES>()?)?;
        transaction.execute(insert, &[&"id_secret", &secret]).await.map_err(PostgresError::from)?;
    }
    let mut stored: HashMap<String, Vec<u8>> = HashMap::new();
    let select = "SELECT name, wrapped FROM secret";
    for row in transaction.query(select, &[]).await.map_err(PostgresError::from)? {
        let name = row.try_get(0).map_err(PostgresError::from)?;
        stored.insert(name, row.try_get(1).map_err(PostgresError::from)?);
    }
    let open = |name: &str| {
        let wrapped = stored.get(name).ok_or_else(|| OpenKeyStoreError::Corrupt(format!("{name} is missing")))?;
        Ok::<_, OpenKeyStoreError>(kek.unwrap(&secret_purpose(name), wrapped))
    };
    match open("check")? {
        Ok(check) if *check == CHECK => {}
        Ok(_) => return Err(OpenKeyStoreError::Corrupt("check value".into())),
        Err(_) => return Err(OpenKeyStoreError::WrongKey),
    }
    let secret = open("id_secret")?.map_err(|error| OpenKeyStoreError::Corrupt(format!("id_secret: {error}")))?;
    let secret = key_bytes(&secret).ok_or_else(|| OpenKeyStoreError::Corrupt("id secret".into()))?;
    transaction.commit().await.map_err(PostgresError::from)?;
    Ok(secret)
}

impl From<PostgresError> for OpenKeyStoreError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Corrupt(reason) => Self::Corrupt(reason),
            PostgresError::Unavailable(_) | PostgresError::Refused(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<KeyStoreError> for OpenKeyStoreError {
    fn from(error: KeyStoreError) -> Self {
        match error {
            KeyStoreError::Corrupt(reason) => Self::Corrupt(reason),
            KeyStoreError::Unavailable(_) | KeyStoreError::Destroyed => Self::Unavailable(error.to_string()),
        }
    }
}
