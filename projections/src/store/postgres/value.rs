//! Values as PostgreSQL takes and gives them: BIGINT and SMALLINT, TEXT, BYTEA.
//!
//! **Invariant:** every text comes back as it went in, and texts keep their bytewise order. PostgreSQL refuses U+0000 in
//! text, which a customer can send: it and U+0001 are written as U+0001 with U+0001 or U+0002 behind it. No text of ours
//! in SQL holds either, so equality and order in SQL mean the same for both forms.

use std::borrow::Cow;
use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::value::{Stored, Value};

/// Stands before what it is written with.
const ESCAPE: u8 = 1;

/// The form of a text that PostgreSQL takes.
pub(super) fn written(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte > ESCAPE) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => written.push_str("\u{1}\u{1}"),
            '\u{1}' => written.push_str("\u{1}\u{2}"),
            other => written.push(other),
        }
    }
    Cow::Owned(written)
}

/// The text that was written so.
pub(super) fn read_back(written: &str) -> Cow<'_, str> {
    if !written.as_bytes().contains(&ESCAPE) {
        return Cow::Borrowed(written);
    }
    let mut text = String::with_capacity(written.len());
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1}' => text.push(if characters.next() == Some('\u{1}') { '\0' } else { '\u{1}' }),
            other => text.push(other),
        }
    }
    Cow::Owned(text)
}

/// True for the types of columns.
fn is_of_column(kind: &Type) -> bool {
    matches!(*kind, Type::INT8 | Type::INT4 | Type::INT2 | Type::TEXT | Type::VARCHAR | Type::BYTEA)
}

/// A value on its way to PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a>(pub(super) &'a Value);

impl ToSql for Given<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self.0.stored(), kind) {
            (Stored::Null, _) => Ok(IsNull::Yes),
            (Stored::Int(value), &Type::INT8) => value.to_sql(kind, out),
            (Stored::Int(value), &Type::INT4) => i32::try_from(value)?.to_sql(kind, out),
            (Stored::Int(value), &Type::INT2) => i16::try_from(value)?.to_sql(kind, out),
            (Stored::Text(text), &Type::TEXT | &Type::VARCHAR) => written(text).to_sql(kind, out),
            (Stored::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            _ => Err(format!("a value is not of type {kind}").into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        is_of_column(kind)
    }

    to_sql_checked!();
}

/// A value as it came, not copied.
pub(super) enum Came<'a> {
    /// A number.
    Int(i64),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> FromSql<'a> for Came<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Self::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(kind, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(kind, raw)?.into()),
            Type::BYTEA => Self::Bytes(raw),
            _ => Self::Text(read_back(<&str>::from_sql(kind, raw)?)),
        })
    }

    fn accepts(kind: &Type) -> bool {
        is_of_column(kind)
    }
}

impl From<Option<Came<'_>>> for Value {
    fn from(came: Option<Came<'_>>) -> Self {
        match came {
            None => Self::Null,
            Some(Came::Int(value)) => Self::Int(value),
            Some(Came::Text(text)) => Self::Text(text.into()),
            Some(Came::Bytes(bytes)) => Self::Bytes(bytes.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back_and_keeps_its_place_among_others(
            one in "[\u{0}\u{1}\u{2}aя]{0,6}",
            other in "[\u{0}\u{1}\u{2}aя]{0,6}",
        ) {
            prop_assert!(!written(&one).contains('\0'));
            let back = written(&one).into_owned();
            prop_assert_eq!(read_back(&back), one.as_str());
            prop_assert_eq!(written(&one).as_bytes().cmp(written(&other).as_bytes()), one.as_bytes().cmp(other.as_bytes()));
        }
    }

    #[test]
    fn a_text_without_such_characters_is_not_copied() {
        assert!(matches!(written("Привет\n"), Cow::Borrowed(_)) && matches!(read_back("Привет\n"), Cow::Borrowed(_)));
    }
}
