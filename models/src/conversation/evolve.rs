//! How each event changes what is known of a conversation.
//!
//! **Invariant:** total: any history folds, also one that today's rules would not write.

use events::conversation::{ConversationEvent, Speaker};
use events::envelope::Revision;
use events::ids::{MessageId, Occupancy};

use super::delivery::{Delivery, DeliveryStatus};
use super::{Attachment, Conversation, Facts, assignment, is_from_machine};

pub(super) fn evolve(state: &mut Conversation, event: &ConversationEvent, revision: Revision) {
    use ConversationEvent as E;
    state.revision = Some(revision);
    match event {
        E::Opened(opened) => {
            state.opened = Some(Facts { account: opened.account, channel: opened.channel, kind: opened.kind });
            state.episode = 1;
        }
        E::Reopened(reopened) => {
            state.episode = reopened.episode;
            state.closed = false;
        }
        E::Closed(_) => {
            state.closed = true;
            state.snoozed = None;
            state.queued = None;
        }
        E::Migrated(_) => state.migrated = true,
        E::ParticipantJoined(joined) => {
            state.participants.insert(joined.participant);
            if is_heir(state.current, joined.participant) {
                state.current = Some(joined.participant);
            }
        }
        E::ParticipantLeft(left) => {
            state.participants.remove(&left.participant);
        }
        E::MessageReceived(received) => {
            state.received.insert(received.message);
            if is_heir(state.current, received.author) || !is_from_machine(&received.marks) {
                state.current = Some(received.author);
            }
        }
        E::MessageEdited(edited) => {
            // What it has attached now is to be fetched anew.
            state.attachments.remove(&edited.message);
        }
        E::MessageRetracted(retracted) => {
            state.retracted.insert(retracted.message);
        }
        E::ReactionsChanged(changed) => {
            state.reactions.insert((changed.message, changed.by), changed.changed_at);
        }
        E::ActivityNoted(noted) => {
            state.activities.insert(noted.activity_id);
        }
        E::AttachmentStored(stored) => {
            state.attachments.entry(stored.message).or_default().insert(stored.index, Attachment::Stored);
        }
        E::AttachmentLost(lost) => {
            state.attachments.entry(lost.message).or_default().insert(lost.index, Attachment::Lost);
        }
        E::MessageQueued(queued) => {
            state.deliveries.insert(queued.message, Delivery::queued());
            enqueue(state, queued.message);
        }
        E::DeliveryStarted(started) => {
            step(state, started.message, DeliveryStatus::Sending { part: started.part }, |delivery| {
                delivery.attempt = started.attempt;
            });
        }
        E::PartDelivered(part) => step(state, part.message, DeliveryStatus::BetweenParts, |delivery| {
            delivery.parts = delivery.parts.max(part.part.saturating_add(1));
        }),
        E::MessageDelivered(delivered) => step(state, delivered.message, DeliveryStatus::Delivered, |_| ()),
        E::DeliveryPostponed(postponed) => step(state, postponed.message, DeliveryStatus::Postponed, |_| ()),
        E::DeliveryFailed(failed) => step(state, failed.message, DeliveryStatus::Failed, |_| ()),
        E::DeliveryUnknown(unknown) => step(state, unknown.message, DeliveryStatus::Unknown, |_| ()),
        E::DeliveryRedriven(redriven) => {
            step(state, redriven.message, DeliveryStatus::Queued, |_| ());
            enqueue(state, redriven.message);
        }
        E::NoteAdded(added) => {
            state.notes.insert(added.note);
        }
        E::Tagged(tagged) => {
            for tag in &tagged.removed {
                state.tags.remove(tag);
            }
            state.tags.extend(tagged.added.iter().cloned());
        }
        E::Enqueued(enqueued) => assignment::evolve(state, enqueued),
        E::Assigned(assigned) => state.operator.clone_from(&assigned.operator),
        E::ClockNoted(noted) => {
            state.clocks.insert((noted.clock, noted.started_at, noted.note));
        }
        E::SpeakerChanged(changed) => state.speaker = changed.speaker.clone(),
        E::Snoozed(snoozed) => state.snoozed = Some(snoozed.until),
        E::Woken(_) => state.snoozed = None,
        E::Read(read) => {
            state.read.insert(read.operator.clone(), read.up_to);
        }
    }
    if state.closed && state.speaker != Speaker::Nobody {
        state.speaker = Speaker::Nobody;
    }
}

fn step(state: &mut Conversation, message: MessageId, status: DeliveryStatus, change: impl FnOnce(&mut Delivery)) {
    let delivery = state.deliveries.entry(message).or_insert_with(Delivery::queued);
    delivery.status = status;
    change(delivery);
    if status.is_final() {
        state.queue.retain(|queued| *queued != message);
    }
}

fn enqueue(state: &mut Conversation, message: MessageId) {
    if !state.queue.contains(&message) {
        state.queue.push(message);
    }
}

/// True when nobody is answered yet, or another occupancy of the same contact point.
fn is_heir(current: Option<Occupancy>, newcomer: Occupancy) -> bool {
    current.is_none_or(|held| held.contact == newcomer.contact)
}
