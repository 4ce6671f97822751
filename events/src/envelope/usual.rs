//! Metadata as almost every event has them, read without a JSON parser.
//!
//! **Invariant:** what is read here is what the parser would read from the same text; whatever is not exactly of this
//! form is left to it.

use std::str::FromStr;
use std::sync::Arc;

use chrono::DateTime;
use uuid::Uuid;

use super::{Actor, Metadata};
use crate::ids::{CommandId, ContactId, EventId};

/// Reads metadata whose fields stand in the order in which they are written, without spaces and escapes and with none
/// that is rare; `None` for others.
pub(super) fn read(text: &str) -> Option<Metadata> {
    let mut rest = Rest(text);
    rest.skip(r#"{"actor":{"kind":""#)?;
    let kind = rest.text()?;
    rest.skip(r#","id":""#)?;
    let id = rest.text()?;
    rest.skip("}")?;
    let actor = match kind {
        "customer" => Actor::Customer(ContactId::new(Uuid::try_parse(id).ok()?)),
        "operator" => Actor::Operator(id.into()),
        "agent" => Actor::Agent(id.into()),
        "system" => Actor::System(id.into()),
        _ => return None,
    };
    let command = rest.optional(r#","command":""#)?.map(CommandId::new);
    let causation = rest.optional(r#","causation":""#)?.map(EventId::new);
    let correlation = rest.optional(r#","correlation":""#)??;
    rest.skip(r#","occurred_at":"#)?;
    let occurred_at = DateTime::from_timestamp_micros(rest.number()?)?;
    let traceparent: Option<Arc<str>> = match rest.skip(r#","traceparent":""#) {
        Some(()) => Some(rest.text()?.into()),
        None => None,
    };
    let metadata =
        Metadata { actor, command, causation, correlation, occurred_at, traceparent, seen_at: None, wish: None };
    (rest.0 == "}").then_some(metadata)
}

/// What is left of a text.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Goes behind what must stand here.
    fn skip(&mut self, wanted: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(wanted)?;
        Some(())
    }

    /// Goes behind the end of a string that has nothing to be unescaped.
    fn text(&mut self) -> Option<&'a str> {
        let end = self.0.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix('"')?;
        Some(text)
    }

    /// An id behind `name`, if it stands here; `None` when what stands here is none.
    #[expect(clippy::option_option, reason = "absent, or not to be read here")]
    fn optional(&mut self, name: &str) -> Option<Option<Uuid>> {
        match self.skip(name) {
            Some(()) => Some(Some(Uuid::try_parse(self.text()?).ok()?)),
            None => Some(None),
        }
    }

    /// A whole number.
    fn number(&mut self) -> Option<i64> {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'-')?;
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        // JSON has no zeros in front.
        let number = i64::from_str(digits).ok()?;
        (!digits.trim_start_matches('-').starts_with('0')).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use compact_str::CompactString;
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::{Position, SeenAt, Wish};

    fn id() -> impl Strategy<Value = Uuid> {
        any::<u128>().prop_map(Uuid::from_u128)
    }

    fn actor() -> impl Strategy<Value = Actor> {
        let name = || prop_oneof!["[a-z]{0,12}", ".{0,6}"].prop_map(CompactString::from);
        prop_oneof![
            id().prop_map(|id| Actor::Customer(ContactId::new(id))),
            name().prop_map(Actor::Operator),
            name().prop_map(Actor::Agent),
            name().prop_map(Actor::System),
        ]
    }

    fn metadata() -> impl Strategy<Value = Metadata> {
        let ids = (prop::option::of(id()), prop::option::of(id()), id());
        let rare = (
            prop::option::of(".{0,6}"),
            prop::option::weighted(0.2, 0_u64..9),
            prop::option::weighted(0.2, any::<[u8; 16]>()),
        );
        let micros = prop_oneof![Just(0), -5_i64..5, 0..2_000_000_000_000_000_i64];
        (actor(), ids, micros, rare).prop_map(|(actor, (command, causation, correlation), micros, rare)| Metadata {
            actor,
            command: command.map(CommandId::new),
            causation: causation.map(EventId::new),
            correlation,
            occurred_at: DateTime::from_timestamp_micros(micros).unwrap(),
            traceparent: rare.0.map(Arc::from),
            seen_at: rare.1.map(|at| SeenAt { position: Position(at), role: "operator".into(), mask_policy: 1 }),
            wish: rare.2.map(Wish::new),
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(metadata in metadata()) {
            let text = serde_json::to_string(&metadata).unwrap();
            prop_assert_eq!(Metadata::from_json(&text).unwrap(), metadata);
        }

        #[test]
        fn a_changed_text_reads_as_the_parser_reads_it(
            metadata in metadata(),
            place in any::<prop::sample::Index>(),
            put in prop_oneof!["[-+0-9. {}\",\\\\e]{0,2}", ".{0,1}"],
            cut in 0_usize..3,
        ) {
            let text: Vec<char> = serde_json::to_string(&metadata).unwrap().chars().collect();
            let place = place.index(text.len());
            let after = text.iter().skip(place + cut);
            let changed: String = text[..place].iter().copied().chain(put.chars()).chain(after.copied()).collect();
            if let Some(read) = read(&changed) {
                prop_assert_eq!(serde_json::from_str::<Metadata>(&changed).unwrap(), read);
            }
        }
    }

    #[test]
    fn the_usual_ones_are_read_here() {
        let mut metadata = crate::testing::rich_metadata();
        metadata.seen_at = None;
        let text = serde_json::to_string(&metadata).unwrap();
        assert_eq!(read(&text), Some(metadata), "{text}");
    }
}
