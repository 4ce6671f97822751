//! The public contract of the topics, generated from the vocabulary: an AsyncAPI 3.0 document.
//!
//! **Invariant:** every event type there is stands in it, with the topic it comes in; a test fails when the committed
//! `docs/asyncapi.json` is another.
//!
//! **Source:** AsyncAPI 3.0.0; CloudEvents 1.0.2, Kafka protocol binding 1.0.2, binary mode.

use serde_json::{Map, Value, json};

use crate::DomainEvent;
use crate::envelope::Category;

/// The prefix of topics in the document: the default of the configuration.
const PREFIX: &str = "letopis";

/// The document.
#[must_use]
pub fn document() -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for category in Category::ALL {
        let name = category.as_str();
        let mut of_channel = Map::new();
        for (_, event) in DomainEvent::types().filter(|(of, _)| *of == category) {
            of_channel.insert(event.name.to_owned(), json!({"$ref": format!("#/components/messages/{}", event.name)}));
            messages.insert(event.name.to_owned(), message(event.name, event.version, event.personal));
        }
        of_channel.insert("letopis.watermark".to_owned(), json!({"$ref": "#/components/messages/letopis.watermark"}));
        channels.insert(
            name.to_owned(),
            json!({
                "address": format!("{PREFIX}.{name}"),
                "description": format!("Events of streams of the category {name}, in the order of the log within each."),
                "messages": of_channel,
                "bindings": {"kafka": {"topic": format!("{PREFIX}.{name}"), "topicConfiguration": {
                    "cleanup.policy": ["delete"], "retention.ms": 604_800_000_u64}, "bindingVersion": "0.5.0"}},
            }),
        );
        operations.insert(
            format!("publish.{name}"),
            json!({"action": "send", "channel": {"$ref": format!("#/channels/{name}")},
                "summary": "The relay alone writes to the topic; whoever may read it receives."}),
        );
    }
    messages.insert("letopis.watermark".to_owned(), watermark());
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "letopis events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What letopis publishes to Kafka: every event of the log, as CloudEvents in binary mode, one \
                topic per category (`<prefix>.<category>`, the prefix is `kafka.topic_prefix`).\n\n\
                **Personal fields are sealed.** Names, addresses, texts and files of people are ciphertext in Kafka, under \
                keys that are not in it; erasing a person destroys their key. Outside consumers read personal data through \
                GraphQL, where it is masked by role and where reading it is recorded.\n\n\
                Delivery is at least once and in order within a stream. Drop a record whose `ce_revision` is not above the \
                last one seen of its stream: a relay that was replaced writes some again. Key and partition of a record \
                follow from the stream's name, by Kafka's default partitioner (murmur2). The topics forget after their \
                retention; the log does not.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {"headers": headers(), "sealed": {
                "type": ["object", "null"],
                "description": "A sealed personal field: opaque, and null or unreadable once the person was erased.",
            }},
        },
    })
}

fn message(name: &str, version: u16, personal: bool) -> Value {
    let sealed = if personal { " It holds a sealed personal field." } else { " It holds no personal data." };
    json!({
        "name": name,
        "title": name,
        "summary": format!("Schema version {version}.{sealed}"),
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {"type": "object", "additionalProperties": true,
            "description": "New optional fields keep the version; whatever else changes is the next version."},
        "x-schema-version": version,
        "x-personal": personal,
        "bindings": {"kafka": {"key": {"type": "string", "description": "The stream: <category>-<tenant>:<uuid>."},
            "bindingVersion": "0.5.0"}},
    })
}

fn watermark() -> Value {
    json!({
        "name": "letopis.watermark",
        "title": "letopis.watermark",
        "summary": "Every event of this partition up to `ce_position` stands before it, every one beyond `ce_sent` behind \
            it. Without key and payload; written to every partition each 100 ms while events come, and each hour while none do.",
        "headers": {"type": "object", "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_position", "ce_sent"],
            "properties": {"ce_type": {"const": "letopis.watermark"}, "ce_position": position(), "ce_sent": position()}},
        "payload": {"type": "null"},
    })
}

fn position() -> Value {
    json!({"type": "string", "pattern": "^[0-9]+$", "description": "Place in the whole log."})
}

fn headers() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let number = |description: &str| json!({"type": "string", "pattern": "^[0-9]+$", "description": description});
    let time = |description: &str| json!({"type": "string", "format": "date-time", "description": description});
    json!({
        "type": "object",
        "required": ["content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_recordedtime",
            "ce_subject", "ce_tenant", "ce_position", "ce_revision", "ce_schemaversion", "letopis_metadata"],
        "properties": {
            "content-type": {"const": "application/json"},
            "ce_specversion": {"const": "1.0"},
            "ce_id": text("The event's id; the same event has the same id wherever it comes."),
            "ce_source": text("/letopis/<tenant>"),
            "ce_type": text("The event type: a stable name."),
            "ce_time": time("When it happened, by the provider's clock."),
            "ce_recordedtime": time("When the log took it, by ours."),
            "ce_subject": text("The stream: <category>-<tenant>:<uuid>."),
            "ce_tenant": text("Whose event it is."),
            "ce_position": position(),
            "ce_revision": number("Place in the stream, from 0."),
            "ce_schemaversion": number("The schema version of the payload, from 1."),
            "ce_traceparent": text("W3C trace context of the request that caused it, where there was one."),
            "letopis_metadata": text("Actor, command, causation, correlation and what the actor saw, as JSON."),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/asyncapi.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
        if std::env::var_os("LETOPIS_WRITE_ASYNCAPI").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "run `make asyncapi` and commit docs/asyncapi.json");
    }

    #[test]
    fn every_event_type_is_in_it_and_its_sealing_is_told() {
        let document = document();
        for (category, event) in DomainEvent::types() {
            let message = &document["components"]["messages"][event.name];
            assert_eq!(message["x-personal"], event.personal, "{}", event.name);
            assert!(document["channels"][category.as_str()]["messages"][event.name].is_object(), "{}", event.name);
        }
        assert!(document["info"]["description"].as_str().unwrap().contains("Personal fields are sealed"));
    }
}
