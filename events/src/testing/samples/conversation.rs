//! Sample events of conversations.
//!
//! **Invariant:** as [`super::samples_saying`].

use super::{
    CHANNELS, account, blob, conversation_id, message, of_person, other_message, other_person, person, time, uuid,
};
use crate::DomainEvent;
use crate::conversation::content::{
    ActivityDetail, Attachment, AttachmentLocation, Card, FailedRecipient, MailHeaders, MessageContent, MessageKind,
    MessageMark, NoteContent, OutsideThread,
};
use crate::conversation::{
    ActivityNoted, AssignedReason, AttachmentLost, AttachmentStored, ClockNote, ClockNoted, ConversationAssigned,
    ConversationClosed, ConversationEnqueued, ConversationEvent, ConversationKind, ConversationMigrated,
    ConversationOpened, ConversationRead, ConversationReopened, ConversationSnoozed, ConversationTagged,
    ConversationWoken, DeliveryFailed, DeliveryPostponed, DeliveryRedriven, DeliveryStarted, DeliveryUnknown,
    EnqueuedReason, MessageDelivered, MessageEdited, MessageQueued, MessageReceived, MessageRetracted, NoteAdded,
    PartDelivered, ParticipantJoined, ParticipantLeft, ReactionsChanged, ReopenReason, Speaker, SpeakerChanged,
    WokenReason,
};
use crate::envelope::Revision;
use crate::ids::QueueId;
use crate::seal::{KeySubject, Personal};
use crate::service_level::ClockKind;

const KINDS: [MessageKind; 12] = [
    MessageKind::Text,
    MessageKind::Photo,
    MessageKind::Video,
    MessageKind::Audio,
    MessageKind::Voice,
    MessageKind::Document,
    MessageKind::Sticker,
    MessageKind::Contact,
    MessageKind::Location,
    MessageKind::Structured,
    MessageKind::Email,
    MessageKind::Other,
];

const MARKS: [MessageMark; 9] = [
    MessageMark::AutoReply,
    MessageMark::Bounce,
    MessageMark::DelayNotice,
    MessageMark::Complaint,
    MessageMark::Bulk,
    MessageMark::Forwarded,
    MessageMark::Damaged,
    MessageMark::GuessedCharset,
    MessageMark::ViaBot,
];

fn text_only(text: &str) -> MessageContent {
    MessageContent { text: Some(text.into()), ..MessageContent::default() }
}

fn everything(text: &str) -> MessageContent {
    let locations = [
        AttachmentLocation::Provider { reference: text.into(), unique: Some("AQAD".into()) },
        AttachmentLocation::RawDelivery { index: 1 },
        AttachmentLocation::Blob { blob: blob() },
    ];
    let attachment = |location| Attachment {
        kind: MessageKind::Photo,
        file_name: Some(text.into()),
        media_type: Some("image/jpeg".into()),
        size_bytes: Some(300_000),
        dimensions: Some((640, 480)),
        duration_s: Some(7),
        inline: true,
        location,
    };
    MessageContent {
        outside_id: Some("17".into()),
        subject: Some(text.into()),
        text: Some(text.into()),
        html: Some(format!("<p>{text}</p>")),
        links: vec![text.into()],
        attachments: locations.map(attachment).into(),
        cards: vec![
            Card::Contact {
                name: text.into(),
                phone: Some("+79123456789".into()),
                phone_source_form: Some("8 912 345-67-89".into()),
                own: true,
            },
            Card::Location {
                latitude: 43.25,
                longitude: 76.95,
                title: Some(text.into()),
                address: Some(text.into()),
                live: false,
            },
            Card::Other { name: "poll".into(), lines: vec![text.into()] },
        ],
        forwarded_from: Some(text.into()),
        mail: Some(MailHeaders {
            message_id: Some("a@mail.example".into()),
            in_reply_to: vec!["b@mail.example".into()],
            references: vec!["c@mail.example".into(), "b@mail.example".into()],
            from: Some(text.into()),
            reply_to: Some(text.into()),
            to: vec![text.into()],
            cc: vec![text.into()],
            failed_recipients: vec![FailedRecipient {
                address: text.into(),
                action: Some("failed".into()),
                status: Some("5.1.1".into()),
            }],
        }),
    }
}

fn received(kind: MessageKind, marks: Vec<MessageMark>, content: MessageContent) -> ConversationEvent {
    MessageReceived {
        message: message(),
        episode: 1,
        author: person(),
        kind,
        marks,
        reply_to: Some(other_message()),
        album: Some(uuid(9)),
        content: Personal::new(of_person(), content),
    }
    .into()
}

fn episodes(text: &str) -> Vec<ConversationEvent> {
    let thread = OutsideThread {
        key: text.into(),
        topic: Some("3".into()),
        title: Some(text.into()),
        reply_address: Some(text.into()),
        business_connection: Some("bc".into()),
    };
    let mut events: Vec<ConversationEvent> = Vec::new();
    for (channel, kind, subject) in [
        (CHANNELS[0], ConversationKind::Direct, of_person()),
        (CHANNELS[1], ConversationKind::Group, KeySubject::Conversation(conversation_id())),
    ] {
        let thread = Personal::new(subject, thread.clone());
        events.push(ConversationOpened { account: account(), channel, kind, thread }.into());
    }
    events.extend(
        [ReopenReason::CustomerWrote, ReopenReason::WeWrote, ReopenReason::ByHand]
            .map(|reason| ConversationEvent::from(ConversationReopened { episode: 2, reason })),
    );
    events.extend([
        ConversationClosed { episode: 1, reason: "resolved".into() }.into(),
        ConversationMigrated { to: conversation_id(), thread: Personal::new(of_person(), thread) }.into(),
        ParticipantJoined { participant: person() }.into(),
        ParticipantLeft { participant: person() }.into(),
    ]);
    events
}

fn messages(text: &str) -> Vec<ConversationEvent> {
    let mut events = vec![received(MessageKind::Email, MARKS.into(), everything(text))];
    events.extend(KINDS.map(|kind| received(kind, vec![], text_only(text))));
    events.push(
        MessageEdited {
            message: message(),
            author: person(),
            kind: MessageKind::Text,
            edited_at: time(),
            content: Personal::new(of_person(), text_only(text)),
        }
        .into(),
    );
    events.push(MessageRetracted { message: message() }.into());
    events.extend([Some(person()), None].map(|by| {
        let reactions = vec!["👍".into()];
        ConversationEvent::from(ReactionsChanged { message: message(), by, changed_at: time(), reactions })
    }));
    events.extend([
        ActivityNoted {
            activity: "callback_query".into(),
            activity_id: uuid(10),
            by: Some(person()),
            message: Some(message()),
            detail: Personal::new(
                of_person(),
                ActivityDetail { data: Some(text.into()), answer_id: Some("4382".into()) },
            ),
        }
        .into(),
        AttachmentStored { message: message(), index: 0, blob: blob() }.into(),
        AttachmentLost { message: message(), index: 0, reason: "too_big".into() }.into(),
    ]);
    events
}

fn deliveries(text: &str) -> Vec<ConversationEvent> {
    let mut events: Vec<ConversationEvent> = Vec::new();
    events.extend([Some(person()), None].map(|addressee| {
        let subject = addressee.map_or(KeySubject::Conversation(conversation_id()), KeySubject::Occupancy);
        ConversationEvent::from(MessageQueued {
            message: message(),
            episode: 1,
            addressee,
            kind: MessageKind::Text,
            reply_to: Some(other_message()),
            content: Personal::new(subject, text_only(text)),
        })
    }));
    let reason = || "timed_out".to_owned();
    events.extend([
        DeliveryStarted { message: message(), attempt: 1, part: 0 }.into(),
        PartDelivered { message: message(), part: 0, alias: other_message(), outside_id: Some("18".into()) }.into(),
        MessageDelivered { message: message(), parts: 2 }.into(),
        DeliveryPostponed { message: message(), attempt: 1, reason: reason(), retry_at: time() }.into(),
        DeliveryFailed { message: message(), attempt: 5, reason: reason() }.into(),
        DeliveryUnknown { message: message(), attempt: 1, reason: reason() }.into(),
        DeliveryRedriven { message: message() }.into(),
    ]);
    events
}

fn work(text: &str) -> Vec<ConversationEvent> {
    let note = NoteContent { text: text.into() };
    let mut events: Vec<ConversationEvent> = vec![
        NoteAdded { note: uuid(11), mentions: vec![], content: Personal::new(of_person(), note.clone()) }.into(),
        NoteAdded { note: uuid(11), mentions: vec!["anna".into()], content: Personal::new(of_person(), note) }.into(),
        ConversationTagged { added: vec!["vip".into()], removed: vec!["новый".into()] }.into(),
        ConversationAssigned { operator: Some("anna".into()), reason: None }.into(),
        ConversationAssigned { operator: None, reason: None }.into(),
    ];
    let given = [AssignedReason::Returning, AssignedReason::LeastBusy].map(|reason| (Some("anna".into()), reason));
    let taken = [AssignedReason::OperatorAbsent, AssignedReason::OperatorNotFree, AssignedReason::Enqueued];
    let both = given.into_iter().chain(taken.map(|reason| (None, reason)));
    events.extend(both.map(|(operator, reason)| ConversationAssigned { operator, reason: Some(reason) }.into()));
    let reasons =
        [EnqueuedReason::ByAccount, EnqueuedReason::ByHand, EnqueuedReason::Changed, EnqueuedReason::Fallback];
    events.extend((0..).zip(reasons).map(|(fallbacks, reason)| {
        let language = (fallbacks > 0).then(|| "ru".into());
        ConversationEnqueued { queue: QueueId::new(uuid(10)), priority: 3, language, reason, fallbacks }.into()
    }));
    for clock in [ClockKind::FirstResponse, ClockKind::NextResponse, ClockKind::Resolution] {
        for note in [ClockNote::Warning, ClockNote::Breach] {
            events.push(ClockNoted { clock, started_at: time(), note, due: time() }.into());
        }
    }
    events.extend(
        [Speaker::Agent("concierge".into()), Speaker::Operator("anna".into()), Speaker::Nobody]
            .map(|speaker| ConversationEvent::from(SpeakerChanged { speaker, reason: "taken_over".into() })),
    );
    events.push(ConversationSnoozed { until: time() }.into());
    events.extend(
        [WokenReason::CustomerWrote, WokenReason::TimeCame, WokenReason::ByHand]
            .map(|reason| ConversationEvent::from(ConversationWoken { reason })),
    );
    events.push(ConversationRead { operator: "anna".into(), up_to: Revision(41) }.into());
    events.push(ParticipantJoined { participant: other_person() }.into());
    events
}

pub(super) fn conversations(text: &str) -> Vec<DomainEvent> {
    [episodes(text), messages(text), deliveries(text), work(text)]
        .into_iter()
        .flatten()
        .map(DomainEvent::from)
        .collect()
}
