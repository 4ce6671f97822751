//! Made-up histories through every projection, and deliveries of them in other orders.
//!
//! **Invariant:** first deliveries keep the order of their stream; everything else is shuffled.

use std::collections::VecDeque;

use events::calendar::{CalendarChanged, CalendarEvent, CalendarOpened, WorkingHours};
use events::case::{
    CaseAssigned, CaseChanged, CaseContent, CaseConversationLinked, CaseConversationUnlinked, CaseEvent, CaseLinked,
    CaseMerged, CaseNoteAdded, CaseOpened, CasePrioritised, CasePromised, CaseRelation, CaseStatus, CaseStatusChanged,
    CaseUnlinked, CaseUnmerged, FieldValue,
};
use events::case_type::{CaseTypeEvent, CaseTypeOpened, CaseTypeRules};
use events::codec::Decoded;
use events::contact::{ContactBlocked, ContactEvent, ContactUnblocked};
use events::conversation::content::{MessageContent, MessageKind, NoteContent};
use events::conversation::{
    AttachmentLost, ConversationAssigned, ConversationClosed, ConversationEnqueued, ConversationEvent,
    ConversationRead, ConversationReopened, ConversationSnoozed, ConversationTagged, ConversationWoken, DeliveryFailed,
    DeliveryPostponed, DeliveryRedriven, DeliveryStarted, DeliveryUnknown, EnqueuedReason, MessageDelivered,
    MessageEdited, MessageRetracted, NoteAdded, PartDelivered, ParticipantJoined, ParticipantLeft, ReactionsChanged,
    ReopenReason, Speaker, SpeakerChanged, WokenReason,
};
use events::envelope::Revision;
use events::ids::{AccountId, CaseId, CaseTypeId, EventId, MessageId, ProfileId, QueueId};
use events::intake::{IntakeEvent, IntakeNormalised, IntakeParked, IntakeReceived, IntakeRedriven, IntakeUnrecognised};
use events::link::{LinkBasis, LinkEvent, OccupanciesLinked, OccupanciesUnlinked};
use events::operator::{
    Abilities, ConversationReleased, ConversationTaken, OperatorChanged, OperatorEvent, OperatorRegistered, Presence,
    PresenceChanged, PresenceReason, ReleaseReason, TakenBy,
};
use events::profile::{Attribute, AttributeRetracted, AttributeSource, ProfileEvent};
use events::queue::{QueueChanged, QueueClosed, QueueEvent, QueueOpened, QueueRules};
use events::seal::Personal;
use events::service_level::{ServiceLevelEvent, ServiceLevelOpened, ServiceLevelRules};
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
            let mentions = if detail > 0 { vec!["olga".into()] } else { vec![] };
            NoteAdded { note: id(400 + story.events.len() as u128), mentions, content }.into()
        }
        18 => ConversationTagged { added: vec![format!("tag {detail}")], removed: vec!["tag 0".into()] }.into(),
        19 => ConversationAssigned { operator: (detail > 0).then(|| "olga".into()), reason: None }.into(),
        20 => SpeakerChanged { speaker: Speaker::Agent("bot".into()), reason: short() }.into(),
        21 => ConversationSnoozed { until: at }.into(),
        22 => ConversationWoken { reason: WokenReason::TimeCame }.into(),
        23 => ConversationRead { operator: "olga".into(), up_to: Revision(u64::try_from(detail).unwrap_or_default()) }
            .into(),
        24 => ConversationClosed { episode: 1, reason: short() }.into(),
        25 => ConversationReopened { episode: 2, reason: ReopenReason::ByHand }.into(),
        26 => ParticipantLeft { participant: person(customer) }.into(),
        27 => ParticipantJoined { participant: person(customer) }.into(),
        39..=50 => return desk(story, what, thing, detail),
        51..=61 => return cases(story, what, thing, detail),
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

/// Steps at the desk: queues, operators, calendars.
fn desk(story: &mut Story, what: u8, thing: u128, detail: u128) {
    let (queue, operator, calendar) = (id(800 + thing), id(600_000 + thing), id(700_000));
    let conversation = conversation_id(100 + detail % 2);
    let small = u8::try_from(detail).unwrap_or_default();
    match what {
        39 => story.add(queue, QueueEvent::from(QueueChanged { name: format!("queue {detail}"), rules: rules(small) })),
        40 => story.add(queue, QueueEvent::from(QueueClosed {})),
        41 => {
            let changed = OperatorChanged { name: format!("name {detail}"), abilities: abilities(detail) };
            story.add(operator, OperatorEvent::from(changed))
        }
        42 => {
            let presence = [Presence::Available, Presence::Busy, Presence::Absent][usize::from(small % 3)];
            let changed = PresenceChanged { presence, reason: PresenceReason::ByThemselves };
            story.add(operator, OperatorEvent::from(changed))
        }
        43..=45 => {
            let taken = ConversationTaken { conversation, channel: Channel::Email, by: TakenBy::Policy };
            story.add(operator, OperatorEvent::from(taken))
        }
        46 => {
            let released = ConversationReleased { conversation, reason: ReleaseReason::Reassigned };
            story.add(operator, OperatorEvent::from(released))
        }
        47 => {
            let changed = CalendarChanged { name: format!("calendar {detail}"), hours: hours() };
            story.add(calendar, CalendarEvent::from(changed))
        }
        _ => {
            let reasons = [EnqueuedReason::ByAccount, EnqueuedReason::Changed, EnqueuedReason::Fallback];
            let enqueued = ConversationEnqueued {
                queue: QueueId::new(queue),
                priority: small,
                language: (detail > 0).then(|| "ru".into()),
                reason: reasons[usize::from(what - 48)],
                fallbacks: small,
            };
            story.add(conversation.uuid(), ConversationEvent::from(enqueued))
        }
    };
}

/// Steps of cases.
fn cases(story: &mut Story, what: u8, thing: u128, detail: u128) {
    let (case, other) = (id(500_000 + thing), CaseId::new(id(500_000 + detail)));
    let conversation = conversation_id(100 + detail % 2);
    let small = u8::try_from(detail).unwrap_or_default();
    let relation = [CaseRelation::Related, CaseRelation::PartOf, CaseRelation::BlockedBy][usize::from(small % 3)];
    let event: CaseEvent = match what {
        51 => {
            let fields = [(format!("field {detail}"), FieldValue::Integer(story.events.len() as i64))].into();
            let title = (detail > 0).then(|| format!("title {detail}"));
            let content = Personal::Opened(CaseContent { title, fields });
            CaseChanged { set: vec![format!("field {detail}")], cleared: vec!["field 0".into()], content }.into()
        }
        52 => CasePrioritised { priority: small }.into(),
        53 => CasePromised { until: (detail > 0).then(|| second(small.into())) }.into(),
        54 => {
            let status = CaseStatus::ALL[usize::from(small)];
            CaseStatusChanged { status, reason: (detail > 1).then(|| "short".to_owned()) }.into()
        }
        55 => CaseAssigned { operator: (detail > 0).then(|| "olga".into()) }.into(),
        56 => CaseConversationLinked { conversation }.into(),
        57 => CaseConversationUnlinked { conversation }.into(),
        58 => CaseLinked { other, relation }.into(),
        59 => CaseUnlinked { other, relation }.into(),
        60 if detail > 0 => CaseMerged { into: CaseId::new(id(500_001 - thing)) }.into(),
        60 => CaseUnmerged { from: CaseId::new(id(500_001 - thing)) }.into(),
        _ => {
            let content = Personal::Opened(NoteContent { text: format!("note {detail}") });
            CaseNoteAdded { note: id(400_000 + story.events.len() as u128), content }.into()
        }
    };
    story.add(case, event);
}

fn rules(priority: u8) -> QueueRules {
    QueueRules { priority, ..QueueRules::default() }
}

fn abilities(room: u128) -> Abilities {
    let room = u32::try_from(room).unwrap_or_default();
    Abilities { languages: ["ru".into()].into(), skills: [].into(), room, room_of_channel: [].into() }
}

fn hours() -> WorkingHours {
    WorkingHours { zone: "UTC".into(), week: vec![], days: vec![] }
}

/// Two queues, two operators and a calendar, so that what happens to them later has something to happen to.
fn open_desk(story: &mut Story) {
    for thing in 0..2 {
        story.add(id(800 + thing), QueueEvent::from(QueueOpened { name: format!("queue {thing}"), rules: rules(0) }));
        let operator = ["olga", "pavel"][usize::from(thing > 0)];
        let registered =
            OperatorRegistered { operator: operator.into(), name: operator.into(), abilities: abilities(5) };
        story.add(id(600_000 + thing), OperatorEvent::from(registered));
        let content = CaseContent { title: Some(format!("case {thing}")), fields: [].into() };
        let opened = CaseOpened {
            number: u64::from(thing > 0) + 1,
            case_type: CaseTypeId::new(id(510_000)),
            customer: (thing == 0).then(|| person(1)),
            conversation: conversation_id(100 + thing),
            priority: 3,
            set: vec![],
            content: Personal::Opened(content),
        };
        story.add(id(500_000 + thing), CaseEvent::from(opened));
    }
    let rules = ServiceLevelRules::default();
    let opened = ServiceLevelOpened { name: "service level".into(), rules };
    story.add(id(520_000), ServiceLevelEvent::from(opened));
    let rules = CaseTypeRules { priority: 3, fields: vec![] };
    story.add(id(510_000), CaseTypeEvent::from(CaseTypeOpened { name: "case type".into(), rules }));
    story.add(id(700_000), CalendarEvent::from(CalendarOpened { name: "calendar".into(), hours: hours() }));
}

/// A history of these steps: what happens, in which of two things, with which of three details.
#[must_use]
pub fn history(steps: &[(u8, u8, u8)]) -> Story {
    let mut story = Story::default();
    story.account();
    story.conversation(100, 1);
    story.conversation(101, 2);
    open_desk(&mut story);
    for (what, thing, detail) in steps {
        step(&mut story, what % 62, u128::from(thing % 2), u128::from(detail % 3));
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
