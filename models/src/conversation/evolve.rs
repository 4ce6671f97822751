//! How each event changes what is known of a conversation.
//!
//! **Invariant:** total: any history folds, also one that today's rules would not write.

use events::conversation::{ConversationEvent, Speaker};
use events::envelope::Revision;
use events::ids::MessageId;

use super::delivery::{Delivery, DeliveryStatus};
use super::{Conversation, Facts};

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
            state.snoozed = false;
        }
        E::Migrated(_) => state.migrated = true,
        E::ParticipantJoined(joined) => {
            state.participants.insert(joined.participant);
            state.current = Some(joined.participant);
        }
        E::ParticipantLeft(left) => {
            state.participants.remove(&left.participant);
        }
        E::MessageReceived(received) => {
            state.received.insert(received.message);
            state.current = Some(received.author);
        }
        E::MessageEdited(_) => {}
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
            state.attachments.insert((stored.message, stored.index));
        }
        E::AttachmentLost(lost) => {
            state.attachments.insert((lost.message, lost.index));
        }
        E::MessageQueued(queued) => {
            state.deliveries.insert(queued.message, Delivery::queued());
            state.queue.push(queued.message);
        }
        E::DeliveryStarted(started) => {
            step(state, started.message, DeliveryStatus::Sending { part: started.part }, |delivery| {
                delivery.attempt = started.attempt;
            });
        }
        E::PartDelivered(part) => step(state, part.message, DeliveryStatus::BetweenParts, |delivery| {
            delivery.parts.insert(part.part);
        }),
        E::MessageDelivered(delivered) => step(state, delivered.message, DeliveryStatus::Delivered, |_| ()),
        E::DeliveryPostponed(postponed) => step(state, postponed.message, DeliveryStatus::Postponed, |_| ()),
        E::DeliveryFailed(failed) => step(state, failed.message, DeliveryStatus::Failed, |_| ()),
        E::DeliveryUnknown(unknown) => step(state, unknown.message, DeliveryStatus::Unknown, |_| ()),
        E::DeliveryRedriven(redriven) => {
            step(state, redriven.message, DeliveryStatus::Queued, |_| ());
            state.queue.push(redriven.message);
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
        E::Assigned(assigned) => state.operator.clone_from(&assigned.operator),
        E::SpeakerChanged(changed) => state.speaker = changed.speaker.clone(),
        E::Snoozed(_) => state.snoozed = true,
        E::Woken(_) => state.snoozed = false,
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
