//! Made-up histories through every projection, and deliveries of them in other orders.
//!
//! **Invariant:** first deliveries keep the order of their stream; everything else is shuffled.

use std::collections::VecDeque;

use events::codec::Decoded;
use events::contact::{ContactBlocked, ContactEvent, ContactUnblocked};
use events::conversation::content::{MessageContent, MessageKind, NoteContent};
use events::conversation::{
    AttachmentLost, ConversationAssigned, ConversationClosed, ConversationEvent, ConversationRead,
    ConversationReopened, ConversationSnoozed, ConversationTagged, ConversationWoken, DeliveryFailed,
    DeliveryPostponed, DeliveryRedriven, DeliveryStarted, DeliveryUnknown, MessageDelivered, MessageEdited,
    MessageRetracted, NoteAdded, PartDelivered, ParticipantJoined, ParticipantLeft, ReactionsChanged, ReopenReason,
    Speaker, SpeakerChanged, WokenReason,
};
use events::envelope::Revision;
use events::ids::{AccountId, EventId, MessageId, ProfileId};
use events::intake::{IntakeEvent, IntakeNormalised, IntakeParked, IntakeReceived, IntakeRedriven, IntakeUnrecognised};
use events::link::{LinkBasis, LinkEvent, OccupanciesLinked, OccupanciesUnlinked};
use events::profile::{Attribute, AttributeRetracted, AttributeSource, ProfileEvent};
use events::seal::Personal;
use events::values::Channel;

use super::{Story, conversation_id, id, person, queued, received, second};

/// A step of a made-up history: what happens, in which of two things, with which of three details.
fn step(story: &mut Story, what: u8, thing: u128, detail: u128) {
    let message = MessageId::new(id(200 + 10 * thing + detail));
    let customer = 1 + thing;
    let conversation = id(100 + thing);
    let at = second(i64::try_from(detail).unwrap_or_default() * 7 % 5);
    let operator = AttributeSource::Operator { operator: format!("operator {detail}") };
    let short = || "short".to_owned();
    let event = match what {
        0..4 => received(200 + 10 * thing + detail, customer, &format!("text {what} {detail}")),
        4..6 => queued(250 + 10 * thing + detail, customer, "answer"),
        6 => MessageEdited {
            message,
            author: person(customer),
            kind: MessageKind::Text,
            edited_at: at,
            content: Personal::Opened(MessageContent { text: Some(short()), ..MessageContent::default() }),
        }
        .into(),
        7 => MessageRetracted { message }.into(),
        8 => {
            let reactions = vec![format!("{}", story.events.len())];
            ReactionsChanged { message, by: Some(person(customer)), changed_at: at, reactions }.into()
        }
        9 => AttachmentLost { message, index: 0, reason: format!("lost {detail}") }.into(),
        10 => DeliveryStarted { message: MessageId::new(id(250 + 10 * thing + detail)), attempt: 1, part: 0 }.into(),
        11 => {
            let message = MessageId::new(id(250 + 10 * thing + detail));
            DeliveryPostponed { message, attempt: 1, reason: short(), retry_at: at }.into()
        }
        12 => {
            let message = MessageId::new(id(250 + 10 * thing + detail));
            DeliveryFailed { message, attempt: 2, reason: short() }.into()
        }
        13 => {
            let message = MessageId::new(id(250 + 10 * thing + detail));
            DeliveryUnknown { message, attempt: 2, reason: short() }.into()
        }
        14 => DeliveryRedriven { message: MessageId::new(id(250 + 10 * thing + detail)) }.into(),
        15 => MessageDelivered { message: MessageId::new(id(250 + 10 * thing + detail)), parts: 1 }.into(),
        16 => {
            let alias = MessageId::new(id(300 + story.events.len() as u128));
            PartDelivered { message, part: 0, alias, outside_id: None }.into()
        }
        17 => {
            let content = Personal::Opened(NoteContent { text: short() });
            NoteAdded { note: id(400 + story.events.len() as u128), content }.into()
        }
        18 => ConversationTagged { added: vec![format!("tag {detail}")], removed: vec!["tag 0".into()] }.into(),
        19 => ConversationAssigned { operator: (detail > 0).then(|| "olga".into()) }.into(),
        20 => SpeakerChanged { speaker: Speaker::Agent("bot".into()), reason: short() }.into(),
        21 => ConversationSnoozed { until: at }.into(),
        22 => ConversationWoken { reason: WokenReason::TimeCame }.into(),
        23 => ConversationRead { operator: "olga".into(), up_to: Revision(u64::try_from(detail).unwrap_or_default()) }
            .into(),
        24 => ConversationClosed { episode: 1, reason: short() }.into(),
        25 => ConversationReopened { episode: 2, reason: ReopenReason::ByHand }.into(),
        26 => ParticipantLeft { participant: person(customer) }.into(),
        27 => ParticipantJoined { participant: person(customer) }.into(),
        _ => return elsewhere(story, what, thing, detail, operator),
    };
    let event: ConversationEvent = event;
    story.add(conversation, event);
}

/// Steps in other streams than conversations.
fn elsewhere(story: &mut Story, what: u8, thing: u128, detail: u128, source: AttributeSource) {
    let profile = ProfileId::new(id(0x50_0001 + thing));
    let account = AccountId::new(id(0xA));
    let raw = |number: u128| EventId::new(id(0xE_0000 + number));
    let (one, other) = (person(1), person(2));
    let intake = id(700 + thing);
    match what {
        28 => story.attribute(profile, Attribute::DisplayName, source, &format!("name {}", story.events.len())),
        29 => {
            let retracted = AttributeRetracted { attribute: Attribute::DisplayName, source };
            story.add(profile.uuid(), ProfileEvent::from(retracted));
        }
        30 => {
            story.add(id(900), LinkEvent::from(OccupanciesLinked { one, other, basis: LinkBasis::Operator }));
        }
        31 => {
            let reason = format!("reason {detail}");
            story.add(id(900), LinkEvent::from(OccupanciesUnlinked { one, other, reason }));
        }
        32 => {
            story.add(id(1 + thing), ContactEvent::from(ContactBlocked { occupancy: 1, account }));
        }
        33 => {
            story.add(id(1 + thing), ContactEvent::from(ContactUnblocked { occupancy: 1, account }));
        }
        34 => {
            let (channel, body) = (Channel::Telegram, Personal::Erased);
            story.add(intake, IntakeEvent::from(IntakeReceived { account, channel, size_bytes: 3, body, blob: None }));
        }
        _ => {
            // The last raw delivery of this stream, if there is one.
            let last = story
                .events
                .iter()
                .rev()
                .find(|event| event.recorded.stream.id == intake && event.event.event_type() == "intake.received");
            let Some(last) = last else { return };
            let received = last.recorded.id;
            assert!(received >= raw(0));
            let event = match what {
                35 => IntakeNormalised {
                    received,
                    kind: "message".into(),
                    persons: vec![one],
                    conversation: Some(conversation_id(100 + thing)),
                }
                .into(),
                36 => IntakeUnrecognised { received, reason: format!("no field {detail}") }.into(),
                37 => IntakeParked { received, reason: "no answer".into(), attempts: 3 }.into(),
                _ => IntakeRedriven { received }.into(),
            };
            let event: IntakeEvent = event;
            story.add(intake, event);
        }
    }
}

/// A history of these steps: what happens, in which of two things, with which of three details.
#[must_use]
pub fn history(steps: &[(u8, u8, u8)]) -> Story {
    let mut story = Story::default();
    story.account();
    story.conversation(100, 1);
    story.conversation(101, 2);
    for (what, thing, detail) in steps {
        step(&mut story, what % 39, u128::from(thing % 2), u128::from(detail % 3));
    }
    story
}

/// The events stream by stream in another cross-stream order, and again at later points.
#[must_use]
pub fn shuffled<'a>(events: &'a [Decoded], choices: &[u16]) -> Vec<&'a Decoded> {
    let mut streams: Vec<VecDeque<&Decoded>> = Vec::new();
    for event in events {
        match streams.iter_mut().find(|stream| stream[0].recorded.stream == event.recorded.stream) {
            Some(stream) => stream.push_back(event),
            None => streams.push(VecDeque::from([event])),
        }
    }
    let mut deliveries: Vec<&Decoded> = Vec::new();
    let mut repeats = vec![0; events.len() + 1];
    let mut choices = choices.iter().cycle().map(|choice| usize::from(*choice));
    let mut choose = move |among: usize| choices.next().unwrap_or(0) % among;
    while !streams.is_empty() {
        if !deliveries.is_empty() && choose(3) == 0 {
            let again = deliveries[choose(deliveries.len())];
            let times = &mut repeats[usize::try_from(again.recorded.position.0).unwrap_or_default()];
            if *times < 2 {
                *times += 1;
                deliveries.push(again);
            }
        }
        let stream = choose(streams.len());
        deliveries.extend(streams[stream].pop_front());
        if streams[stream].is_empty() {
            streams.swap_remove(stream);
        }
    }
    deliveries
}
