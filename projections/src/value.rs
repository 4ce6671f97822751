//! Values of columns, and rows of them, the same for SQLite and PostgreSQL.
//!
//! **Invariant:** times are whole microseconds since 1970 in UTC, ids are their 16 bytes, booleans are 0 and 1, and
//! structured values are JSON text, so that one SQL text and one state hash fit both engines.

use chrono::{DateTime, Utc};
use compact_str::CompactString;
use events::envelope::{Position, Revision};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::store::StoreError;

/// One value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// A number, a boolean or a time.
    Int(i64),
    /// Text, JSON included; up to 24 bytes without an allocation.
    Text(CompactString),
    /// A text that is known when the program is built.
    Name(&'static str),
    /// An id.
    Id(Uuid),
    /// Bytes as read from a store; ids come back like this.
    Bytes(Box<[u8]>),
}

/// A value as an engine keeps it: values of different kinds that are kept alike are equal, and the order is that of SQL:
/// numbers, texts, bytes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stored<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Value {
    /// What is kept of it.
    pub(crate) fn stored(&self) -> Stored<'_> {
        match self {
            Self::Null => Stored::Null,
            Self::Int(value) => Stored::Int(*value),
            Self::Text(text) => Stored::Text(text),
            Self::Name(text) => Stored::Text(text),
            Self::Id(id) => Stored::Bytes(id.as_bytes()),
            Self::Bytes(bytes) => Stored::Bytes(bytes),
        }
    }
}

macro_rules! from_value {
    ($($from:ty: $value:ident => $into:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        }
    )*};
}

from_value! {
    i64: value => Self::Int(value);
    u8: value => Self::Int(value.into());
    u32: value => Self::Int(value.into());
    bool: value => Self::Int(value.into());
    u64: value => Self::Int(i64::try_from(value).unwrap_or(i64::MAX));
    Revision: value => value.0.into();
    Position: value => value.0.into();
    DateTime<Utc>: value => Self::Int(value.timestamp_micros());
    String: value => Self::Text(value.into());
    CompactString: value => Self::Text(value);
    &'static str: value => Self::Name(value);
    Uuid: value => Self::Id(value);
    events::ids::AccountId: value => Self::Id(value.uuid());
    events::ids::CalendarId: value => Self::Id(value.uuid());
    events::ids::CaseId: value => Self::Id(value.uuid());
    events::ids::CaseTypeId: value => Self::Id(value.uuid());
    events::ids::ContactId: value => Self::Id(value.uuid());
    events::ids::ConversationId: value => Self::Id(value.uuid());
    events::ids::EventId: value => Self::Id(value.uuid());
    events::ids::LinkId: value => Self::Id(value.uuid());
    events::ids::MessageId: value => Self::Id(value.uuid());
    events::ids::OperatorId: value => Self::Id(value.uuid());
    events::ids::ProfileId: value => Self::Id(value.uuid());
    events::ids::QueueId: value => Self::Id(value.uuid());
    events::ids::ServiceLevelId: value => Self::Id(value.uuid());
    &events::ids::TenantId: value => Self::Text(value.as_compact().clone());
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// An array of values of different types.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::value::Value::from($value)),*] };
}

pub(crate) use values;

/// The JSON text of a value.
///
/// # Panics
/// Never for the types of the vocabulary, whose maps have text keys.
pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Value {
    Value::Text(serde_json::to_string(value).expect("types of the vocabulary have text keys only").into())
}

/// The stable name of an enum of the vocabulary that has no fields.
pub(crate) fn name<T: serde::Serialize>(value: &T) -> Value {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Value::Text(name.into()),
        _ => Value::Null,
    }
}

/// A row as read.
pub type Row = Vec<Value>;

/// Takes the values of a row from left to right.
pub struct Columns(std::vec::IntoIter<Value>);

impl From<Row> for Columns {
    fn from(row: Row) -> Self {
        Self(row.into_iter())
    }
}

fn unexpected(expected: &'static str) -> StoreError {
    StoreError::Corrupt(format!("a column does not hold {expected}"))
}

impl Columns {
    /// All values that are left.
    #[must_use]
    pub fn rest(self) -> Row {
        self.0.collect()
    }

    /// The next value, whatever it is.
    pub fn value(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Null)
    }

    /// The next value as a number that may be missing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn opt_int(&mut self) -> Result<Option<i64>, StoreError> {
        match self.value() {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(Some(value)),
            _ => Err(unexpected("a number")),
        }
    }

    /// The next value as a number.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn int(&mut self) -> Result<i64, StoreError> {
        self.opt_int()?.ok_or_else(|| unexpected("a number"))
    }

    /// The next value as a count.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn count(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.int()?).map_err(|_| unexpected("a count"))
    }

    /// The next value as a small count.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn small(&mut self) -> Result<u32, StoreError> {
        u32::try_from(self.int()?).map_err(|_| unexpected("a small count"))
    }

    /// The next value as a small count that may be missing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn opt_small(&mut self) -> Result<Option<u32>, StoreError> {
        self.opt_int()?.map(|value| u32::try_from(value).map_err(|_| unexpected("a small count"))).transpose()
    }

    /// The next value as a yes or no.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    /// The next value as a time.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn time(&mut self) -> Result<DateTime<Utc>, StoreError> {
        self.opt_time()?.ok_or_else(|| unexpected("a time"))
    }

    /// The next value as a time that may be missing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn opt_time(&mut self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.opt_int()?
            .map(|micros| DateTime::from_timestamp_micros(micros).ok_or_else(|| unexpected("a time")))
            .transpose()
    }

    /// The next value as text that may be missing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn opt_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.value() {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.into_string())),
            _ => Err(unexpected("text")),
        }
    }

    /// The next value as text.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn text(&mut self) -> Result<String, StoreError> {
        self.opt_text()?.ok_or_else(|| unexpected("text"))
    }

    /// The next value as an id that may be missing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn opt_id(&mut self) -> Result<Option<Uuid>, StoreError> {
        match self.value() {
            Value::Null => Ok(None),
            Value::Id(id) => Ok(Some(id)),
            Value::Bytes(bytes) => Uuid::from_slice(&bytes).map(Some).map_err(|_| unexpected("an id")),
            _ => Err(unexpected("an id")),
        }
    }

    /// The next value as an id.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn id(&mut self) -> Result<Uuid, StoreError> {
        self.opt_id()?.ok_or_else(|| unexpected("an id"))
    }

    /// The next value parsed from JSON text, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn opt_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        self.opt_text()?.map(|text| serde_json::from_str(&text).map_err(|_| unexpected("JSON of its type"))).transpose()
    }

    /// The next value parsed from JSON text.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        self.opt_json()?.ok_or_else(|| unexpected("JSON"))
    }

    /// The next value as an enum of the vocabulary that has no fields.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn named<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        self.opt_named()?.ok_or_else(|| unexpected("a name"))
    }

    /// The next value as an enum of the vocabulary that has no fields, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is something else.
    pub fn opt_named<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        self.opt_text()?
            .map(|text| {
                serde_json::from_value(serde_json::Value::String(text)).map_err(|_| unexpected("a name of its type"))
            })
            .transpose()
    }
}
