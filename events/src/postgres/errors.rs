//! What an error of PostgreSQL means to whoever asked.
//!
//! **Invariant:** a reason never holds values of rows: the server's `DETAIL`, which does, is left out.

use std::error::Error;
use std::io;

use deadpool_postgres::PoolError;

/// Why PostgreSQL did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresError {
    /// It cannot now: back off and try again.
    #[error("PostgreSQL unavailable: {0}")]
    Unavailable(String),
    /// It never will as things are: the configuration, the rights, or the statement must change.
    #[error("PostgreSQL refuses: {0}")]
    Refused(String),
    /// What it keeps is damaged: stop and call for help.
    #[error("PostgreSQL reports damage: {0}")]
    Corrupt(String),
}

impl PostgresError {
    /// The reason without its kind.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Unavailable(reason) | Self::Refused(reason) | Self::Corrupt(reason) => reason,
        }
    }
}

/// What a SQLSTATE asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Unavailable,
    Refused,
    Corrupt,
}

/// **Source:** PostgreSQL 15 manual, appendix A.
fn meaning(code: &str) -> Meaning {
    match code {
        // Data or index corrupted. An internal error (XX000) is more often a race with somebody's DDL.
        "XX001" | "XX002" => Meaning::Corrupt,
        // A standby, also one that a fail-over will make the primary.
        "25006" => Meaning::Unavailable,
        // Connection lost, rolled back for another's sake, out of resources, locked, shut down, IO error, internal.
        _ if ["08", "40", "53", "55", "57", "58", "XX"].contains(&code.get(..2).unwrap_or_default()) => {
            Meaning::Unavailable
        }
        // A transaction cut off by its own time-out (25P03) or doomed by an earlier error (25P02).
        _ if code.starts_with("25P0") => Meaning::Unavailable,
        _ => Meaning::Refused,
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            // Not from the server: the connection, TLS, or a value that is not of the type asked for.
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            let reason = format!("{error}{cause}");
            return if error.is_closed() || is_of_connection(error.source()) {
                Self::Unavailable(reason)
            } else {
                Self::Refused(reason)
            };
        };
        let reason = format!("{} ({})", database.message(), database.code().code());
        match meaning(database.code().code()) {
            Meaning::Unavailable => Self::Unavailable(reason),
            Meaning::Refused => Self::Refused(reason),
            Meaning::Corrupt => Self::Corrupt(reason),
        }
    }
}

/// True when the connection failed, not the statement, nor the trust in whoever is at the other end.
fn is_of_connection(cause: Option<&(dyn Error + 'static)>) -> bool {
    // The library says "timeout waiting for server" when connecting took too long, without a cause.
    let Some(mut cause) = cause else { return true };
    loop {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            // How rustls refuses a certificate.
            return !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => return false,
        }
    }
}

impl From<PoolError> for PostgresError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::PostCreateHook(deadpool_postgres::HookError::Backend(error)) => error.into(),
            PoolError::Timeout(_) => Self::Unavailable("no connection of the pool came free".into()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Something about the configuration, without what it says.
pub(super) fn of_configuration(what: &str, error: &dyn Error) -> PostgresError {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    PostgresError::Refused(format!("{what}: {error}{cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_says_whether_to_try_again() {
        let cases = [
            ("08006", Meaning::Unavailable),
            ("57P01", Meaning::Unavailable),
            ("57P03", Meaning::Unavailable),
            ("53100", Meaning::Unavailable),
            ("53300", Meaning::Unavailable),
            ("40001", Meaning::Unavailable),
            ("55P03", Meaning::Unavailable),
            ("58030", Meaning::Unavailable),
            ("25006", Meaning::Unavailable),
            ("25P02", Meaning::Unavailable),
            ("25P03", Meaning::Unavailable),
            ("XX000", Meaning::Unavailable),
            ("XX001", Meaning::Corrupt),
            ("XX002", Meaning::Corrupt),
            ("28P01", Meaning::Refused),
            ("3D000", Meaning::Refused),
            ("42501", Meaning::Refused),
            ("42P01", Meaning::Refused),
            ("23505", Meaning::Refused),
            ("22021", Meaning::Refused),
            ("", Meaning::Refused),
        ];
        for (code, expected) in cases {
            assert_eq!(meaning(code), expected, "{code}");
        }
    }

    #[test]
    fn a_lost_connection_may_come_back_and_a_refused_certificate_stays_refused() {
        assert!(is_of_connection(None), "connecting took too long");
        for (kind, of_connection) in [
            (io::ErrorKind::ConnectionRefused, true),
            (io::ErrorKind::ConnectionReset, true),
            (io::ErrorKind::UnexpectedEof, true),
            (io::ErrorKind::InvalidData, false),
        ] {
            let error = io::Error::new(kind, "x");
            assert_eq!(is_of_connection(Some(&error)), of_connection, "{kind}");
        }
        let other: Box<dyn Error + Send + Sync> = "server does not support TLS".into();
        assert!(!is_of_connection(Some(&*other)));
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_unavailable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = format!("postgres://letopis@127.0.0.1:{port}/crm?sslmode=disable");
        let postgres = crate::postgres::Postgres::new(&crate::postgres::PostgresConfig::new(url)).unwrap();
        assert!(matches!(postgres.connect().await.map(drop), Err(PostgresError::Unavailable(_))));
        assert!(matches!(postgres.client().await.map(drop), Err(PostgresError::Unavailable(_))));
    }
}
