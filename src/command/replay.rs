//! `letopis replay`: every step of a conversation, for supervisors.
//!
//! **Invariant:** reads only; works beside a running server. Texts are shown: whoever may run this holds the
//! key-encryption key.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use events::DomainEvent;
use events::codec::Decoded;
use events::conversation::ConversationEvent;
use events::envelope::Position;
use events::ids::{ConversationId, TenantId};
use events::viewer::{Role, Viewer};
use projections::audit::{AsOf, Audit, Step};
use projections::store::sqlite::SqliteStore;
use projections::views::Views;

use crate::clock::SystemClock;
use crate::command::say;
use crate::config::Config;
use crate::engines::{Access, Engines};
use crate::telemetry;

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Whose conversation it is.
    #[arg(long)]
    tenant: TenantId,
    /// Which conversation.
    #[arg(long)]
    conversation: ConversationId,
    /// As of when: a time as RFC 3339 or a position of the log; now when absent.
    #[arg(long, value_parser = as_of)]
    as_of: Option<AsOf>,
    /// One JSON object a line, for scripts.
    #[arg(long)]
    json: bool,
}

fn as_of(text: &str) -> Result<AsOf, String> {
    if let Ok(position) = text.parse() {
        return Ok(AsOf::Position(Position(position)));
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| AsOf::Time(time.with_timezone(&Utc)))
        .map_err(|_| "neither a time as 2026-11-22T12:00:00Z nor a position".to_owned())
}

/// Prints the steps.
///
/// # Errors
/// The data cannot be read, or there is no such conversation.
pub async fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    telemetry::install_logs(&config.logs)?;
    let engines = Engines::open(&config, Access::Read, Arc::new(SystemClock)).await?;
    // Steps are folded from the log alone; the audit wants read models for profiles only.
    let views = Views::new(Arc::new(SqliteStore::in_memory().await?));
    let audit = Audit::new(engines.event_log(), engines.codec.clone(), views);
    let viewer = Viewer { tenant: arguments.tenant, role: Role::Supervisor, id: "command line".into() };
    let as_of = arguments.as_of.unwrap_or(AsOf::Position(Position(u64::MAX)));
    let steps = audit.replay(&viewer, arguments.conversation, as_of).await?;
    anyhow::ensure!(!steps.is_empty(), "{} has no events as of then", arguments.conversation);
    for step in &steps {
        if arguments.json {
            say(serde_json::to_string(&json(step)?)?)?;
        } else {
            say(line(step))?;
            for detail in details(&step.event) {
                say(format_args!("        {detail}"))?;
            }
        }
    }
    Ok(())
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn line(step: &Step) -> String {
    let recorded = &step.event.recorded;
    let cause = step
        .cause
        .as_ref()
        .map_or_else(|| "-".to_owned(), |cause| format!("{} at {}", cause.event_type, cause.position));
    format!(
        "{:>5}  {}  by {}  happened {}  recorded {}  position {}  because of {cause}",
        recorded.revision.0,
        recorded.event_type,
        recorded.metadata.actor,
        time(recorded.metadata.occurred_at),
        time(recorded.recorded_at),
        recorded.position,
    )
}

/// What an event says that its type does not.
fn details(decoded: &Decoded) -> Vec<String> {
    use ConversationEvent as E;
    let DomainEvent::Conversation(event) = &decoded.event else { return Vec::new() };
    let text = |content: &events::seal::Personal<events::conversation::content::MessageContent>| {
        if content.is_erased() {
            return vec!["ERASED".to_owned()];
        }
        let Some(content) = content.value() else { return Vec::new() };
        let subject = content.subject.iter().map(|subject| format!("subject: {subject}"));
        let text = content.text.iter().flat_map(|text| text.lines()).map(|line| format!("| {line}"));
        let files = content
            .attachments
            .iter()
            .map(|file| format!("file: {} {:?}", file.file_name.as_deref().unwrap_or("without name"), file.kind));
        subject.chain(text).chain(files).collect()
    };
    match event {
        E::MessageReceived(received) => text(&received.content),
        E::MessageEdited(edited) => text(&edited.content),
        E::MessageQueued(queued) => text(&queued.content),
        E::NoteAdded(added) => match added.content.value() {
            Some(note) => note.text.lines().map(|line| format!("# {line}")).collect(),
            None => vec!["ERASED".to_owned()],
        },
        E::DeliveryFailed(failed) => vec![format!("reason: {}", failed.reason)],
        E::DeliveryPostponed(postponed) => {
            vec![format!("reason: {}, again at {}", postponed.reason, time(postponed.retry_at))]
        }
        E::DeliveryUnknown(unknown) => vec![format!("reason: {}", unknown.reason)],
        E::Closed(closed) => vec![format!("reason: {}", closed.reason)],
        E::Tagged(tagged) => vec![format!("added: {:?}, removed: {:?}", tagged.added, tagged.removed)],
        E::SpeakerChanged(changed) => vec![format!("speaker: {:?}, {}", changed.speaker, changed.reason)],
        E::Assigned(assigned) => vec![format!("operator: {}", assigned.operator.as_deref().unwrap_or("nobody"))],
        _other => Vec::new(),
    }
}

fn json(step: &Step) -> anyhow::Result<serde_json::Value> {
    let recorded = &step.event.recorded;
    let payload: serde_json::Value = serde_json::from_slice(&recorded.payload).context("a payload is not JSON")?;
    Ok(serde_json::json!({
        "event": recorded.id.to_string(),
        "type": recorded.event_type,
        "version": recorded.version,
        "revision": recorded.revision,
        "position": recorded.position,
        "actor": recorded.metadata.actor,
        "occurredAt": recorded.metadata.occurred_at,
        "recordedAt": recorded.recorded_at,
        "correlation": recorded.metadata.correlation,
        "cause": step.cause.as_ref().map(|cause| serde_json::json!({
            "event": cause.id.to_string(), "type": cause.event_type, "position": cause.position,
        })),
        "seenAt": recorded.metadata.seen_at,
        "details": details(&step.event),
        "payload": payload,
    }))
}
