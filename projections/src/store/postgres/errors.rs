//! What an error of PostgreSQL means for read models.
//!
//! **Invariant:** [`StoreError::Refused`] parks an event for good, so only what the event's own values cause is refused:
//! a password or a right that an administrator takes away is waited for, and tables that are not there stop the consumer.

use events::postgres::PostgresError;

use crate::store::StoreError;

/// Why a transaction did not go through.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was rolled back for another's sake: do it again at once.
    Again(StoreError),
    /// Anything else.
    For(StoreError),
}

impl Failure {
    /// What the caller is told.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Again(error) | Self::For(error) => error,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::For(error)
    }
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Unavailable(reason) | PostgresError::Refused(reason) => Self::Unavailable(reason),
            PostgresError::Corrupt(reason) => Self::Corrupt(reason),
        }
    }
}

/// **Source:** PostgreSQL 15 manual, appendix A.
fn of_code(code: &str, reason: String) -> Failure {
    match (code.get(..2).unwrap_or_default(), code) {
        (_, "40001" | "40P01") => Failure::Again(StoreError::Unavailable(reason)),
        // A table or a column that is not there, data or an index that is damaged.
        (_, "42P01" | "42703" | "XX001" | "XX002") => Failure::For(StoreError::Corrupt(reason)),
        // What values are at fault for: cardinality, data, constraints, limits such as the length of an index entry; and
        // a text that is no SQL.
        ("21" | "22" | "23" | "54", _) | (_, "42601" | "42804" | "42883") => Failure::For(StoreError::Refused(reason)),
        _ => Failure::For(StoreError::Unavailable(reason)),
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            // A value that is not of the type of its column does not come from the server either.
            return Self::For(match PostgresError::from(error) {
                PostgresError::Refused(reason) => StoreError::Refused(reason),
                other => other.into(),
            });
        };
        // The server's message names tables and columns; values stand in its DETAIL, which is left out.
        of_code(database.code().code(), format!("{} ({})", database.message(), database.code().code()))
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::from(error).into_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_values_of_an_event_cause_is_refused() {
        let refused = ["23502", "22003", "54000", "42601"];
        let corrupt = ["42P01", "42703", "XX001"];
        let unavailable = ["28P01", "42501", "3D000", "57014", "53300", "08006", "55P03", "25006", ""];
        for code in refused {
            assert!(matches!(of_code(code, String::new()), Failure::For(StoreError::Refused(_))), "{code}");
        }
        for code in corrupt {
            assert!(matches!(of_code(code, String::new()), Failure::For(StoreError::Corrupt(_))), "{code}");
        }
        for code in unavailable {
            assert!(matches!(of_code(code, String::new()), Failure::For(StoreError::Unavailable(_))), "{code}");
        }
        assert!(matches!(of_code("40P01", String::new()), Failure::Again(_)));
    }
}
