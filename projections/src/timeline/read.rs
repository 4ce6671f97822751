//! Reads of timelines.
//!
//! **Invariant:** a page costs nine statements in two snapshots, however long the conversation; a message is shown
//! once, at its own place, or at the place of its first edit while it has not come itself.

use std::collections::HashMap;

use events::conversation::content::{MessageContent, MessageKind};
use events::envelope::{Position, Revision};
use events::ids::{ContactId, ConversationId, EventId, MessageId, Occupancy};
use events::viewer::Viewer;
use uuid::Uuid;

use super::view::{
    AttachmentState, DeliveryView, EditView, EntryBody, MessageDirection, MessageView, PartView, ReactionView,
    TimelineEntry,
};
use crate::mask;
use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Row, Value};
use crate::views::{Cursor, Page, PageRequest, Views, place};

/// The columns that [`entry_of`] reads, of the table called `e`.
pub(super) const COLUMNS: &str = "e.conversation, e.revision, e.position, e.event, e.actor_kind, e.actor, \
    e.occurred_at, e.recorded_at, e.kind, e.item, e.episode, e.person, e.number, e.message_kind, e.marks, \
    e.reply_to, e.album, e.activity, e.about, e.edited_at, e.content";

/// An entry is shown unless it is an edit of a message that has come itself or of which an earlier edit is shown.
pub(super) const SHOWN: &str = "(e.kind <> 'edited' OR NOT EXISTS (SELECT 1 FROM entry m WHERE m.item = e.item \
    AND m.conversation = e.conversation AND (m.kind IN ('received', 'queued') \
    OR (m.kind = 'edited' AND m.revision < e.revision))))";

/// Reads [`COLUMNS`].
pub(super) fn entry_of(viewer: &Viewer, row: Row) -> Result<TimelineEntry, StoreError> {
    let mut row = Columns::from(row);
    let conversation = ConversationId::new(row.id()?);
    let revision = Revision(row.count()?);
    let position = Position(row.count()?);
    let event = EventId::new(row.id()?);
    let (actor_kind, actor) = (row.text()?, row.text()?);
    let (occurred_at, recorded_at) = (row.time()?, row.time()?);
    let kind = row.text()?;
    let item = row.id()?;
    let episode = row.opt_small()?;
    let person = person_of(&mut row)?;
    let message_kind: Option<MessageKind> = row.opt_named()?;
    let marks = row.opt_json()?.unwrap_or_default();
    let reply_to = row.opt_id()?.map(MessageId::new);
    let album = row.opt_id()?;
    let activity = row.opt_text()?;
    let about = row.opt_id()?.map(MessageId::new);
    let edited_at = row.opt_time()?;
    let body = match kind.as_str() {
        "note" => EntryBody::Note { note: item, content: row.opt_json()? },
        "activity" => EntryBody::Activity {
            id: item,
            activity: activity.unwrap_or_default(),
            by: person,
            message: about,
            detail: row.opt_json()?,
        },
        _ => {
            let content: Option<MessageContent> = row.opt_json()?.map(|content| mask::content(viewer, content));
            let outbound = kind == "queued";
            let message_kind = message_kind.unwrap_or(MessageKind::Other);
            // An edit whose message has not come stands for the message: it is found among its edits again.
            let original = if edited_at.is_some() { None } else { content.clone() };
            EntryBody::Message(Box::new(MessageView {
                message: MessageId::new(item),
                direction: if outbound { MessageDirection::Outbound } else { MessageDirection::Inbound },
                episode,
                person,
                kind: message_kind,
                marks,
                reply_to,
                album,
                content,
                original,
                edits: Vec::new(),
                retracted_at: None,
                reactions: Vec::new(),
                attachments: Vec::new(),
                delivery: None,
            }))
        }
    };
    Ok(TimelineEntry { conversation, revision, position, event, actor_kind, actor, occurred_at, recorded_at, body })
}

fn person_of(row: &mut Columns) -> Result<Option<Occupancy>, StoreError> {
    let contact = row.opt_id()?;
    let number = row.opt_small()?;
    Ok(contact.zip(number).map(|(contact, number)| Occupancy { contact: ContactId::new(contact), number }))
}

impl Views {
    /// A page of a conversation's timeline.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn timeline(
        &self,
        viewer: &Viewer,
        conversation: ConversationId,
        page: &PageRequest,
    ) -> Result<Page<TimelineEntry>, StoreError> {
        let mut parameters = vec![Value::from(&viewer.tenant), conversation.into()];
        let mut sql = format!("SELECT {COLUMNS} FROM entry e WHERE e.tenant = $1 AND e.conversation = $2 AND {SHOWN}");
        page.finish(&mut sql, &mut parameters, "e.revision", "");
        let entries = self.rows(Query::new(sql, parameters), |row| Ok(row.rest())).await?;
        let entries = entries.into_iter().map(|row| entry_of(viewer, row)).collect::<Result<Vec<_>, _>>()?;
        let cursor = |entry: &TimelineEntry| Cursor { value: place(entry.revision.0), id: Uuid::nil() };
        let mut page = Page::of(entries, page, cursor);
        self.complete(viewer, &mut page.items).await?;
        Ok(page)
    }

    /// One message of a conversation, with all that happened to it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn message(
        &self,
        viewer: &Viewer,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<MessageView>, StoreError> {
        let parameters = vec![Value::from(&viewer.tenant), conversation.into(), message.into()];
        let sql = format!(
            "SELECT {COLUMNS} FROM entry e \
             WHERE e.tenant = $1 AND e.conversation = $2 AND e.item = $3 AND {SHOWN} ORDER BY e.revision LIMIT 1"
        );
        let found = self.rows(Query::new(sql, parameters), |row| Ok(row.rest())).await?;
        let mut entries = found.into_iter().map(|row| entry_of(viewer, row)).collect::<Result<Vec<_>, _>>()?;
        self.complete(viewer, &mut entries).await?;
        Ok(entries.pop().and_then(|entry| match entry.body {
            EntryBody::Message(message) => Some(*message),
            _other => None,
        }))
    }

    /// Adds to messages what happened to them later. Seven statements.
    pub(super) async fn complete(&self, viewer: &Viewer, entries: &mut [TimelineEntry]) -> Result<(), StoreError> {
        let mut messages: HashMap<Uuid, &mut MessageView> = HashMap::new();
        for entry in entries {
            if let EntryBody::Message(message) = &mut entry.body {
                messages.insert(message.message.uuid(), message);
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<Uuid> = messages.keys().copied().collect();
        ids.sort_unstable();
        let list = placeholders(2, ids.len());
        let mut parameters = vec![Value::from(&viewer.tenant)];
        padded(&mut parameters, &ids);
        let mut answers: Vec<Uuid> =
            messages.values().filter_map(|message| message.reply_to).map(MessageId::uuid).collect();
        answers.sort_unstable();
        let mut replied = vec![Value::from(&viewer.tenant)];
        if answers.is_empty() {
            answers.push(Uuid::nil());
        }
        padded(&mut replied, &answers);
        let replied_list = placeholders(2, answers.len());
        let queries = [
            format!(
                "SELECT item, revision, event, message_kind, edited_at, recorded_at, content FROM entry \
                 WHERE tenant = $1 AND item IN {list} AND kind = 'edited' ORDER BY edited_at, revision"
            ),
            format!("SELECT message, retracted_at FROM retraction WHERE tenant = $1 AND message IN {list}"),
            format!(
                "SELECT coalesce(p.message, r.message), r.contact, r.number, r.reactions, r.changed_at FROM reaction r \
                 LEFT JOIN message_part p ON p.alias = r.message AND p.conversation = r.conversation \
                 WHERE r.tenant = $1 AND (r.message IN {list} \
                 OR r.message IN (SELECT alias FROM message_part WHERE message IN {list})) \
                 ORDER BY r.changed_at, r.contact, r.number, r.message"
            ),
            format!(
                "SELECT message, place, blob, lost_reason FROM attachment WHERE tenant = $1 AND message IN {list} \
                 ORDER BY message, place"
            ),
            format!(
                "SELECT message, state, attempt, reason, retry_at, changed_at FROM delivery \
                 WHERE tenant = $1 AND message IN {list}"
            ),
            format!(
                "SELECT message, part, alias, outside_id, delivered_at FROM message_part \
                 WHERE tenant = $1 AND message IN {list} ORDER BY message, part"
            ),
        ];
        let [edits, retractions, reactions, attachments, deliveries, parts, aliases] = {
            let [a, b, c, d, e, f] = queries.map(|sql| Query::new(sql, parameters.clone()));
            let aliases = format!(
                "SELECT alias, message FROM message_part WHERE tenant = $1 AND alias IN {replied_list} ORDER BY message"
            );
            self.snapshot([a, b, c, d, e, f, Query::new(aliases, replied)]).await?
        };
        let mut each = |rows: Vec<Row>, add: &dyn Fn(&mut MessageView, &mut Columns) -> Result<(), StoreError>| {
            for row in rows {
                let mut row = Columns::from(row);
                if let Some(message) = messages.get_mut(&row.id()?) {
                    add(message, &mut row)?;
                }
            }
            Ok::<(), StoreError>(())
        };
        each(edits, &|message, row| add_edit(viewer, message, row))?;
        each(retractions, &|message, row| {
            message.retracted_at = row.opt_time()?;
            Ok(())
        })?;
        each(reactions, &add_reaction)?;
        each(attachments, &|message, row| {
            let state = AttachmentState { index: row.small()?, blob: row.opt_json()?, lost_reason: row.opt_text()? };
            message.attachments.push(state);
            Ok(())
        })?;
        each(deliveries, &|message, row| {
            message.delivery = Some(DeliveryView {
                state: row.named()?,
                attempt: row.small()?,
                reason: row.opt_text()?,
                retry_at: row.opt_time()?,
                changed_at: row.time()?,
                parts: Vec::new(),
            });
            Ok(())
        })?;
        each(parts, &add_part)?;
        let aliases: HashMap<Uuid, Uuid> = aliases
            .into_iter()
            .map(|row| {
                let mut row = Columns::from(row);
                Ok((row.id()?, row.id()?))
            })
            .collect::<Result<_, StoreError>>()?;
        for message in messages.values_mut() {
            let answered = message.reply_to.and_then(|alias| aliases.get(&alias.uuid()));
            message.reply_to = answered.copied().map(MessageId::new).or(message.reply_to);
        }
        Ok(())
    }
}

/// Edits come in the order in which they hold: the last one is what the message says now.
fn add_edit(viewer: &Viewer, message: &mut MessageView, row: &mut Columns) -> Result<(), StoreError> {
    let edit = EditView {
        revision: Revision(row.count()?),
        event: EventId::new(row.id()?),
        kind: row.opt_named()?.unwrap_or(MessageKind::Other),
        edited_at: row.time()?,
        recorded_at: row.time()?,
        content: row.opt_json()?.map(|content| mask::content(viewer, content)),
    };
    message.kind = edit.kind;
    message.content.clone_from(&edit.content);
    message.edits.push(edit);
    Ok(())
}

fn add_reaction(message: &mut MessageView, row: &mut Columns) -> Result<(), StoreError> {
    let (contact, number) = (row.id()?, row.small()?);
    let by = (!contact.is_nil()).then(|| Occupancy { contact: ContactId::new(contact), number });
    let view = ReactionView { by, reactions: row.json()?, changed_at: row.time()? };
    if !view.reactions.is_empty() {
        message.reactions.push(view);
    }
    Ok(())
}

fn add_part(message: &mut MessageView, row: &mut Columns) -> Result<(), StoreError> {
    let part = PartView {
        part: row.small()?,
        alias: MessageId::new(row.id()?),
        outside_id: row.opt_text()?,
        delivered_at: row.time()?,
    };
    if let Some(delivery) = &mut message.delivery {
        delivery.parts.push(part);
    }
    Ok(())
}
