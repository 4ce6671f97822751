//! What a conversation answers to each command.
//!
//! **Invariant:** taking in what a customer did is never refused, whatever came before it or did not; only our own
//! wishes are. A customer's own words are sealed for them, what is said to or about them for whoever would be
//! answered, and in a group all for the group.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use events::conversation::content::{MessageContent, MessageMark};
use events::conversation::{
    ActivityNoted, AttachmentLost, AttachmentStored, ClockNoted, ConversationClosed, ConversationEvent,
    ConversationKind, ConversationMigrated, ConversationOpened, ConversationRead, ConversationReopened,
    ConversationSnoozed, ConversationTagged, ConversationWoken, MessageEdited, MessageQueued, MessageReceived,
    MessageRetracted, NoteAdded, ParticipantJoined, ParticipantLeft, ReactionsChanged, ReopenReason, Speaker,
    SpeakerChanged, WokenReason,
};
use events::envelope::Actor;
use events::ids::{ConversationId, MessageId, Occupancy};
use events::seal::{KeySubject, Personal};

use super::{
    Attachment, Conversation, ConversationCommand, ConversationRejection, MAX_MENTIONS, MAX_NAME_CHARS,
    MAX_REASON_CHARS, MAX_TAG_CHARS, MAX_TAGS, MAX_TEXT_CHARS, Outgoing, ThreadFacts, assignment, delivery,
    is_from_machine, is_report,
};

type Decision = Result<Vec<ConversationEvent>, ConversationRejection>;

pub(super) fn decide(state: &Conversation, command: ConversationCommand) -> Decision {
    use ConversationCommand as C;
    match command {
        C::Receive { thread, message, author, kind, marks, reply_to, album, content } => {
            if state.received.contains(&message) {
                return Ok(vec![]);
            }
            let reported = if is_report(&marks) { state.addressee() } else { None };
            let reported = reported.filter(|customer| customer.contact != author.contact);
            // A mail system's report speaks of the customer: it is theirs, and its author takes no part.
            let mut events = begin(state, &thread, if reported.is_some() { None } else { Some(author) });
            let episode = wake_for_customer(state, &marks, &mut events);
            let content = Personal::new(key(state, &thread, reported.or(Some(author))), content);
            events.push(MessageReceived { message, episode, author, kind, marks, reply_to, album, content }.into());
            Ok(events)
        }
        C::ReceiveEdit { thread, message, author, kind, edited_at, content } => {
            let mut events = begin(state, &thread, Some(author));
            let content = Personal::new(key(state, &thread, Some(author)), content);
            let edited_at = stored(edited_at);
            events.push(MessageEdited { message, author, kind, edited_at, content }.into());
            Ok(events)
        }
        C::Retract { thread, message } => {
            if state.retracted.contains(&message) {
                return Ok(vec![]);
            }
            let mut events = begin(state, &thread, None);
            events.push(MessageRetracted { message }.into());
            Ok(events)
        }
        C::React { thread, message, by, changed_at, reactions } => {
            let changed_at = stored(changed_at);
            if state.reactions.get(&(message, by)).is_some_and(|known| *known > changed_at) {
                return Ok(vec![]);
            }
            let mut events = begin(state, &thread, by);
            events.push(ReactionsChanged { message, by, changed_at, reactions }.into());
            Ok(events)
        }
        C::NoteActivity { thread, activity, activity_id, by, message, detail } => {
            if state.activities.contains(&activity_id) {
                return Ok(vec![]);
            }
            let mut events = begin(state, &thread, by);
            let detail = Personal::new(key(state, &thread, by), detail);
            events.push(ActivityNoted { activity, activity_id, by, message, detail }.into());
            Ok(events)
        }
        C::Join { thread, participant } => Ok(begin(state, &thread, Some(participant))),
        C::Leave { participant } => {
            let there = state.participants.contains(&participant);
            Ok(if there { vec![ParticipantLeft { participant }.into()] } else { vec![] })
        }
        C::Migrate { thread, to, outside } => {
            if state.migrated {
                return Ok(vec![]);
            }
            let mut events = begin(state, &thread, None);
            let outside = Personal::new(key(state, &thread, None), outside);
            events.push(ConversationMigrated { to, thread: outside }.into());
            if !state.closed {
                end_episode(state, "migrated".to_owned(), &mut events);
            }
            Ok(events)
        }
        C::StoreAttachment { message, index, blob } => {
            existing(state)?;
            Ok(match attachment(state, message, index) {
                Some(Attachment::Stored) => vec![],
                Some(Attachment::Lost) | None => vec![AttachmentStored { message, index, blob }.into()],
            })
        }
        C::LoseAttachment { message, index, reason } => {
            existing(state)?;
            let known = attachment(state, message, index).is_some();
            let reason = delivery::short(reason);
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
        C::AddNote { conversation, note, mentions, content } => {
            existing(state)?;
            let named = |name: &Arc<str>| !name.trim().is_empty() && name.chars().count() <= MAX_NAME_CHARS;
            if mentions.len() > MAX_MENTIONS || !mentions.iter().all(named) {
                return Err(ConversationRejection::BadMention);
            }
            check_text(&content.text)?;
            if state.notes.contains(&note) {
                return Ok(vec![]);
            }
            let content = Personal::new(addressed(state, conversation), content);
            Ok(vec![NoteAdded { note, mentions: mentions.into_iter().collect(), content }.into()])
        }
        C::Tag { add, remove } => tag(state, add, remove),
        C::Enqueue(enqueueing) => assignment::enqueue(state, enqueueing),
        C::Assign { operator } => assignment::assign(state, operator),
        C::AssignFromQueue { queue, operator, reason } => assignment::assign_from_queue(state, queue, operator, reason),
        C::Unassign { from, reason } => assignment::unassign(state, &from, reason),
        C::NoteClock(noted) => {
            existing(state)?;
            let noted = ClockNoted { started_at: stored(noted.started_at), due: stored(noted.due), ..noted };
            let known = state.clocks.contains(&(noted.clock, noted.started_at, noted.note));
            Ok(if known { vec![] } else { vec![noted.into()] })
        }
        C::HandOver { by, to, reason } => {
            existing(state)?;
            check_reason(&reason)?;
            if state.closed {
                return Err(ConversationRejection::Closed);
            }
            if let (Actor::Agent(agent), Speaker::Agent(held) | Speaker::Operator(held)) = (&by, &state.speaker)
                && !matches!(&state.speaker, Speaker::Agent(speaker) if **speaker == **agent)
            {
                return Err(ConversationRejection::HeldByOther(held.as_ref().to_owned()));
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
            let until = stored(until);
            Ok(if state.snoozed == Some(until) { vec![] } else { vec![ConversationSnoozed { until }.into()] })
        }
        C::Wake { reason, now } => {
            existing(state)?;
            let due = match reason {
                WokenReason::TimeCame => state.snoozed.is_some_and(|until| until <= now),
                WokenReason::CustomerWrote | WokenReason::ByHand => state.snoozed.is_some(),
            };
            Ok(if due { vec![ConversationWoken { reason }.into()] } else { vec![] })
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
        events.push(
            ConversationOpened {
                account: thread.account,
                channel: thread.channel,
                kind: thread.kind,
                thread: Personal::new(key(state, thread, party), thread.outside.clone()),
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
    if state.opened.is_none() {
        return 1;
    }
    if is_from_machine(marks) {
        return state.episode;
    }
    if state.snoozed.is_some() {
        events.push(ConversationWoken { reason: WokenReason::CustomerWrote }.into());
    }
    if !state.closed {
        return state.episode;
    }
    let episode = state.episode + 1;
    events.push(ConversationReopened { episode, reason: ReopenReason::CustomerWrote }.into());
    episode
}

/// Whose key seals what `party` did; what nobody in particular did is sealed for whoever would be answered.
fn key(state: &Conversation, thread: &ThreadFacts, party: Option<Occupancy>) -> KeySubject {
    match (state.kind().unwrap_or(thread.kind), party) {
        (ConversationKind::Direct, Some(party)) => KeySubject::Occupancy(party),
        (ConversationKind::Direct, None) => addressed(state, thread.conversation),
        (ConversationKind::Group, _) => KeySubject::Conversation(thread.conversation),
    }
}

/// Whose key seals what we say to the customers of this conversation and about them.
fn addressed(state: &Conversation, conversation: ConversationId) -> KeySubject {
    state.addressee().map_or(KeySubject::Conversation(conversation), KeySubject::Occupancy)
}

/// A time as it is stored, so that what is decided does not depend on whether the state was loaded or kept.
pub(super) fn stored(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

fn attachment(state: &Conversation, message: MessageId, index: u32) -> Option<Attachment> {
    state.attachments.get(&message)?.get(&index).copied()
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
    if speaker == Speaker::Nobody {
        return Err(ConversationRejection::NoSpeaker);
    }
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
    let content = Personal::new(addressed(state, conversation), content);
    events.push(MessageQueued { message, episode, addressee, kind, reply_to, content }.into());
    Ok(events)
}

fn tag(state: &Conversation, add: BTreeSet<String>, remove: BTreeSet<String>) -> Decision {
    existing(state)?;
    let fits = |tag: &String| !tag.trim().is_empty() && tag.chars().count() <= MAX_TAG_CHARS;
    let added: Vec<String> = add.into_iter().filter(|tag| !state.tags.contains(tag) && !remove.contains(tag)).collect();
    let removed: Vec<String> = remove.into_iter().filter(|tag| state.tags.contains(tag)).collect();
    let too_many = !added.is_empty() && state.tags.len() + added.len() - removed.len() > MAX_TAGS;
    if !added.iter().all(fits) || too_many {
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
    end_episode(state, reason, &mut events);
    Ok(events)
}

/// Closes the episode; nobody speaks any more.
fn end_episode(state: &Conversation, reason: String, events: &mut Vec<ConversationEvent>) {
    if state.speaker != Speaker::Nobody {
        events.push(SpeakerChanged { speaker: Speaker::Nobody, reason: "closed".to_owned() }.into());
    }
    events.push(ConversationClosed { episode: state.episode.max(1), reason }.into());
}

fn check_content(content: &MessageContent) -> Result<(), ConversationRejection> {
    let text = content.text.as_deref().unwrap_or_default();
    if text.trim().is_empty() && !content.attachments.is_empty() && text.chars().count() <= MAX_TEXT_CHARS {
        return Ok(());
    }
    check_text(text)
}

fn check_text(text: &str) -> Result<(), ConversationRejection> {
    let fits = !text.trim().is_empty() && text.chars().count() <= MAX_TEXT_CHARS;
    if fits { Ok(()) } else { Err(ConversationRejection::BadText) }
}

fn check_reason(reason: &str) -> Result<(), ConversationRejection> {
    let fits = !reason.trim().is_empty() && reason.chars().count() <= MAX_REASON_CHARS;
    if fits { Ok(()) } else { Err(ConversationRejection::BadReason) }
}
