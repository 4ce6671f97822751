//! What a conversation answers to each command.
//!
//! **Invariant:** taking in what a customer did is never refused for the state of the conversation; only our own
//! wishes are.

use std::collections::BTreeSet;

use events::conversation::content::{MessageContent, MessageMark};
use events::conversation::{
    ActivityNoted, AttachmentLost, AttachmentStored, ConversationAssigned, ConversationClosed, ConversationEvent,
    ConversationKind, ConversationMigrated, ConversationOpened, ConversationRead, ConversationReopened,
    ConversationSnoozed, ConversationTagged, ConversationWoken, MessageEdited, MessageQueued, MessageReceived,
    MessageRetracted, NoteAdded, ParticipantJoined, ParticipantLeft, ReactionsChanged, ReopenReason, Speaker,
    SpeakerChanged, WokenReason,
};
use events::ids::Occupancy;
use events::seal::{KeySubject, Personal};

use super::{
    Conversation, ConversationCommand, ConversationRejection, MAX_REASON_CHARS, MAX_TAG_CHARS, MAX_TAGS,
    MAX_TEXT_CHARS, Outgoing, ThreadFacts, delivery, reopened_by_customer, subject,
};

type Decision = Result<Vec<ConversationEvent>, ConversationRejection>;

pub(super) fn decide(state: &Conversation, command: ConversationCommand) -> Decision {
    use ConversationCommand as C;
    match command {
        C::Receive { thread, message, author, kind, marks, reply_to, album, content } => {
            if state.received.contains(&message) {
                return Ok(vec![]);
            }
            let mut events = begin(state, &thread, Some(author));
            let episode = wake_for_customer(state, &marks, &mut events);
            let content = Personal::new(author_key(&thread, author), content);
            events.push(MessageReceived { message, episode, author, kind, marks, reply_to, album, content }.into());
            Ok(events)
        }
        C::ReceiveEdit { thread, message, author, kind, edited_at, content } => {
            let mut events = begin(state, &thread, Some(author));
            let content = Personal::new(author_key(&thread, author), content);
            events.push(MessageEdited { message, author, kind, edited_at, content }.into());
            Ok(events)
        }
        C::Retract { message } => {
            existing(state)?;
            Ok(if state.retracted.contains(&message) { vec![] } else { vec![MessageRetracted { message }.into()] })
        }
        C::React { message, by, changed_at, reactions } => {
            existing(state)?;
            let known = state.reactions.get(&(message, by));
            let late = known.is_some_and(|at| *at > changed_at);
            Ok(if late { vec![] } else { vec![ReactionsChanged { message, by, changed_at, reactions }.into()] })
        }
        C::NoteActivity { thread, activity, activity_id, by, message, detail } => {
            if state.activities.contains(&activity_id) {
                return Ok(vec![]);
            }
            let mut events = begin(state, &thread, by);
            let key = by.map_or(KeySubject::Conversation(thread.conversation), |by| author_key(&thread, by));
            let detail = Personal::new(key, detail);
            events.push(ActivityNoted { activity, activity_id, by, message, detail }.into());
            Ok(events)
        }
        C::Join { thread, participant } => Ok(begin(state, &thread, Some(participant))),
        C::Leave { participant } => {
            existing(state)?;
            let there = state.participants.contains(&participant);
            Ok(if there { vec![ParticipantLeft { participant }.into()] } else { vec![] })
        }
        C::Migrate { to, outside } => {
            existing(state)?;
            if state.migrated {
                return Ok(vec![]);
            }
            let thread = Personal::new(KeySubject::Conversation(to), outside);
            let mut events = vec![ConversationMigrated { to, thread }.into()];
            if state.is_open() {
                events.push(ConversationClosed { episode: state.episode, reason: "migrated".to_owned() }.into());
            }
            Ok(events)
        }
        C::StoreAttachment { message, index, blob } => {
            existing(state)?;
            let known = state.attachments.contains(&(message, index));
            Ok(if known { vec![] } else { vec![AttachmentStored { message, index, blob }.into()] })
        }
        C::LoseAttachment { message, index, reason } => {
            existing(state)?;
            let known = state.attachments.contains(&(message, index));
            Ok(if known { vec![] } else { vec![AttachmentLost { message, index, reason }.into()] })
        }
        C::Queue(outgoing) => queue(state, outgoing),
        C::StartDelivery { message, part } => delivery::start(state, message, part),
        C::RecordPart { message, part, alias, outside_id } => {
            delivery::record_part(state, message, part, alias, outside_id)
        }
        C::CompleteDelivery { message } => delivery::complete(state, message),
        C::PostponeDelivery { message, reason, retry_at } => delivery::postpone(state, message, reason, retry_at),
        C::FailDelivery { message, reason } => delivery::fail(state, message, reason),
        C::LoseTrack { message, reason } => delivery::lose_track(state, message, reason),
        C::Redrive { message } => delivery::redrive(state, message),
        C::AddNote { conversation, note, content } => {
            existing(state)?;
            check_text(&content.text)?;
            if state.notes.contains(&note) {
                return Ok(vec![]);
            }
            let content = Personal::new(subject(state, conversation), content);
            Ok(vec![NoteAdded { note, content }.into()])
        }
        C::Tag { add, remove } => tag(state, add, remove),
        C::Assign { operator } => {
            existing(state)?;
            Ok(if state.operator == operator { vec![] } else { vec![ConversationAssigned { operator }.into()] })
        }
        C::HandOver { to, reason } => {
            existing(state)?;
            check_reason(&reason)?;
            if state.closed {
                return Err(ConversationRejection::Closed);
            }
            Ok(if state.speaker == to { vec![] } else { vec![SpeakerChanged { speaker: to, reason }.into()] })
        }
        C::Snooze { until, now } => {
            existing(state)?;
            if state.closed {
                return Err(ConversationRejection::Closed);
            }
            if until <= now {
                return Err(ConversationRejection::NotInFuture);
            }
            Ok(vec![ConversationSnoozed { until }.into()])
        }
        C::Wake { reason } => {
            existing(state)?;
            Ok(if state.snoozed { vec![ConversationWoken { reason }.into()] } else { vec![] })
        }
        C::Close { reason } => close(state, reason),
        C::Reopen => {
            existing(state)?;
            if state.migrated {
                return Err(ConversationRejection::Migrated);
            }
            let reopened = ConversationReopened { episode: state.episode + 1, reason: ReopenReason::ByHand };
            Ok(if state.closed { vec![reopened.into()] } else { vec![] })
        }
        C::MarkRead { operator, up_to } => {
            existing(state)?;
            if state.revision.is_none_or(|last| up_to > last) {
                return Err(ConversationRejection::NoSuchRevision);
            }
            let further = state.read.get(&operator).is_none_or(|read| up_to > *read);
            Ok(if further { vec![ConversationRead { operator, up_to }.into()] } else { vec![] })
        }
    }
}

fn existing(state: &Conversation) -> Result<(), ConversationRejection> {
    if state.opened.is_some() { Ok(()) } else { Err(ConversationRejection::NotOpen) }
}

/// Opens the conversation if this is the first that is heard of it, and lets a newcomer in.
fn begin(state: &Conversation, thread: &ThreadFacts, party: Option<Occupancy>) -> Vec<ConversationEvent> {
    let mut events = Vec::with_capacity(3);
    if state.opened.is_none() {
        let key = party.map_or(KeySubject::Conversation(thread.conversation), |party| author_key(thread, party));
        events.push(
            ConversationOpened {
                account: thread.account,
                channel: thread.channel,
                kind: thread.kind,
                thread: Personal::new(key, thread.outside.clone()),
            }
            .into(),
        );
    }
    if let Some(participant) = party
        && !state.participants.contains(&participant)
    {
        events.push(ParticipantJoined { participant }.into());
    }
    events
}

/// Reopens and wakes the conversation for a customer's message and returns the episode it belongs to. What a machine
/// sent wakes nobody.
fn wake_for_customer(state: &Conversation, marks: &[MessageMark], events: &mut Vec<ConversationEvent>) -> u32 {
    let from_machine = marks.iter().any(|mark| match mark {
        MessageMark::AutoReply
        | MessageMark::Bounce
        | MessageMark::DelayNotice
        | MessageMark::Complaint
        | MessageMark::Bulk => true,
        MessageMark::Forwarded | MessageMark::Damaged | MessageMark::GuessedCharset | MessageMark::ViaBot => false,
    });
    if state.opened.is_none() {
        return 1;
    }
    if from_machine {
        return state.episode;
    }
    if state.snoozed {
        events.push(ConversationWoken { reason: WokenReason::CustomerWrote }.into());
    }
    if !state.closed {
        return state.episode;
    }
    events.push(reopened_by_customer(state.episode + 1).into());
    state.episode + 1
}

/// A customer's own words are sealed for them, in a group for the group (design invariant 12).
fn author_key(thread: &ThreadFacts, author: Occupancy) -> KeySubject {
    match thread.kind {
        ConversationKind::Direct => KeySubject::Occupancy(author),
        ConversationKind::Group => KeySubject::Conversation(thread.conversation),
    }
}

fn queue(state: &Conversation, outgoing: Outgoing) -> Decision {
    let Outgoing { conversation, message, speaker, kind, reply_to, content } = outgoing;
    let facts = state.opened.as_ref().ok_or(ConversationRejection::NotOpen)?;
    if state.migrated {
        return Err(ConversationRejection::Migrated);
    }
    if state.deliveries.contains_key(&message) || state.received.contains(&message) {
        return Err(ConversationRejection::MessageExists);
    }
    check_content(&content)?;
    let addressee = state.addressee();
    if facts.kind == ConversationKind::Direct && addressee.is_none() {
        return Err(ConversationRejection::NoAddressee);
    }
    let mut events = Vec::with_capacity(3);
    let mut episode = state.episode;
    if state.closed {
        if matches!(speaker, Speaker::Agent(_)) {
            return Err(ConversationRejection::Closed);
        }
        episode += 1;
        events.push(ConversationReopened { episode, reason: ReopenReason::WeWrote }.into());
    }
    if state.speaker != speaker {
        let reason = match (&state.speaker, &speaker) {
            (Speaker::Nobody, _) => "first_answer",
            (Speaker::Agent(_), Speaker::Operator(_)) => "taken_over",
            (Speaker::Agent(held) | Speaker::Operator(held), _) => {
                return Err(ConversationRejection::HeldByOther(held.as_ref().to_owned()));
            }
        };
        events.push(SpeakerChanged { speaker, reason: reason.to_owned() }.into());
    }
    let content = Personal::new(subject(state, conversation), content);
    events.push(MessageQueued { message, episode, addressee, kind, reply_to, content }.into());
    Ok(events)
}

fn tag(state: &Conversation, add: BTreeSet<String>, remove: BTreeSet<String>) -> Decision {
    existing(state)?;
    let fits = |tag: &String| !tag.trim().is_empty() && tag.chars().count() <= MAX_TAG_CHARS;
    let added: Vec<String> = add.into_iter().filter(|tag| !state.tags.contains(tag) && !remove.contains(tag)).collect();
    let removed: Vec<String> = remove.into_iter().filter(|tag| state.tags.contains(tag)).collect();
    if !added.iter().all(fits) || state.tags.len() + added.len() - removed.len() > MAX_TAGS {
        return Err(ConversationRejection::BadTag);
    }
    Ok(if added.is_empty() && removed.is_empty() { vec![] } else { vec![ConversationTagged { added, removed }.into()] })
}

fn close(state: &Conversation, reason: String) -> Decision {
    existing(state)?;
    check_reason(&reason)?;
    if state.closed {
        return Ok(vec![]);
    }
    let mut events = Vec::with_capacity(2);
    if state.speaker != Speaker::Nobody {
        events.push(SpeakerChanged { speaker: Speaker::Nobody, reason: "closed".to_owned() }.into());
    }
    events.push(ConversationClosed { episode: state.episode, reason }.into());
    Ok(events)
}

fn check_content(content: &MessageContent) -> Result<(), ConversationRejection> {
    match &content.text {
        Some(text) => check_text(text),
        None if content.attachments.is_empty() => Err(ConversationRejection::BadText),
        None => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), ConversationRejection> {
    let fits = !text.trim().is_empty() && text.chars().count() <= MAX_TEXT_CHARS;
    if fits { Ok(()) } else { Err(ConversationRejection::BadText) }
}

fn check_reason(reason: &str) -> Result<(), ConversationRejection> {
    let fits = !reason.trim().is_empty() && reason.chars().count() <= MAX_REASON_CHARS;
    if fits { Ok(()) } else { Err(ConversationRejection::BadReason) }
}
