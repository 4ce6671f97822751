//! Scalars of the schema that are not GraphQL's own.
//!
//! **Invariant:** a position is text, since it does not fit the numbers of JavaScript; a token is a position with the
//! stream it was made for, and a bare position is a token too.

use std::fmt;
use std::str::FromStr;

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use events::envelope::{Position, StreamName};
use events::ids::ParseIdError;

/// A place in the log, in decimal. Comparable with other positions of the same installation; opaque else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogPosition(pub Position);

/// A place in the log, in decimal. Comparable with other positions of the same installation; opaque else.
#[Scalar(name = "Position")]
impl ScalarType for LogPosition {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(Self(position(text)?)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

fn position(text: &str) -> Result<Position, ParseIdError> {
    // What a store can hold: 63 bits.
    let number = text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
    number.map(Position).ok_or(ParseIdError { expected: "position: a whole number in decimal" })
}

/// What a reader waits for to see a change: `<position>@<stream>` as a mutation returned it, or a bare position.
/// Given as `after` (on lists `afterToken`) to a query, the query waits until the read models have reached it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The position to reach.
    pub position: Position,
    /// The stream that was changed; a feed that is ordered per stream needs to wait for this one only.
    pub stream: Option<StreamName>,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.stream {
            Some(stream) => write!(f, "{}@{stream}", self.position),
            None => write!(f, "{}", self.position),
        }
    }
}

impl FromStr for Token {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.split_once('@') {
            Some((at, stream)) => Ok(Self { position: position(at)?, stream: Some(stream.parse()?) }),
            None => Ok(Self { position: position(text)?, stream: None }),
        }
    }
}

/// What a reader waits for to see a change: `<position>@<stream>` as a mutation returned it, or a bare position.
/// Given as `after` (on lists `afterToken`) to a query, the query waits until the read models have reached it.
#[Scalar(name = "Token")]
impl ScalarType for Token {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(text.parse()?),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_parses_back_with_and_without_its_stream() {
        for text in ["7", "7@conversation-acme-2:00000000-0000-0000-0000-000000000007"] {
            assert_eq!(text.parse::<Token>().map(|token| token.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "x", "-1", "7@", "7@nonsense", "99999999999999999999"] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
