//! Everything that can be read of read models, as text: two engines with the same events must say the same.
//!
//! **Invariant:** every read of [`Views`] is in it, in both directions, on whole and on small pages, for viewers who see
//! more and less, and so is what [`EventFinder`] and [`Audit`] ask of the read models.
#![expect(clippy::missing_panics_doc, reason = "a read that fails fails its test")]

use std::fmt::Debug;
use std::sync::Arc;

use chrono::Duration;
use events::case::CaseStatus;
use events::codec::Codec;
use events::envelope::{Category, Position};
use events::ids::{
    AccountId, CalendarId, CaseId, CaseTypeId, ContactId, MessageId, OperatorId, ProfileId, QueueId, ServiceLevelId,
};
use events::log::EventLog;
use events::values::{Channel, ContactKind};
use events::viewer::{Role, Viewer};

use super::{conversation_id, id, person, second, viewer};
use crate::audit::{AsOf, Audit};
use crate::case::{CaseFilter, CaseSort};
use crate::conversation::{Assignee, ConversationFilter, ConversationSort, ConversationStatus};
use crate::event_index::{EventFilter, EventFinder};
use crate::intake::{IntakeFilter, IntakeOutcome};
use crate::profile::{ProfileFilter, ProfileSort};
use crate::store::StoreError;
use crate::views::{Order, Page, PageRequest, Views};

/// What was read, a line per read.
#[derive(Default)]
pub struct Surface(Vec<String>);

impl Surface {
    fn add(&mut self, read: &str, result: impl Debug) {
        self.0.push(format!("{read}: {result:?}"));
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// All pages of a list, in both directions.
    async fn pages<T: Debug>(
        &mut self,
        read: &str,
        limit: u32,
        mut page: impl AsyncFnMut(&PageRequest) -> Result<Page<T>, StoreError>,
    ) {
        for order in [Order::Ascending, Order::Descending] {
            let mut request = PageRequest::first(limit, order);
            loop {
                let got = page(&request).await.unwrap_or_else(|error| panic!("{read}: {error}"));
                self.add(read, (order, &got));
                let Some(after) = got.next() else { break };
                request.after = Some(after);
            }
        }
    }
}

/// Reads everything about the histories of [`super::history`].
pub async fn read(views: &Views, log: &Arc<dyn EventLog>, codec: &Codec) -> Surface {
    let mut surface = Surface::default();
    for role in [Role::Agent, Role::Supervisor] {
        let viewer = viewer(role);
        people(views, &viewer, &mut surface).await;
        inbox(views, &viewer, &mut surface).await;
        desk(views, &viewer, &mut surface).await;
        cases(views, &viewer, &mut surface).await;
        talk(views, &viewer, &mut surface).await;
        work(views, &viewer, &mut surface).await;
        found(views, &**log, codec, &viewer, &mut surface).await;
        let audit = Audit::new(Arc::clone(log), codec.clone(), views.clone());
        for profile in [ProfileId::new(id(0x50_0001)), ProfileId::new(id(0x50_0002))] {
            let past = audit.profile(&viewer, profile, AsOf::Position(views.position())).await.expect("a past");
            surface.add("profile as of", past.map(|(view, past)| (view, past.position, past.events.len())));
        }
    }
    surface
}

async fn people(views: &Views, viewer: &Viewer, surface: &mut Surface) {
    surface.add("accounts", views.accounts(viewer).await.expect("a read"));
    let accounts = [AccountId::new(id(0xA)), AccountId::new(id(0xB)), AccountId::new(id(0xC))];
    surface.add("accounts by ids", views.accounts_by_ids(viewer, &accounts).await.expect("a read"));
    for number in 1..4 {
        let profile = ProfileId::new(id(0x50_0000 + number));
        surface.add("profile", views.profile(viewer, profile).await.expect("a read"));
        let contact = ContactId::new(id(number));
        surface.add("profile by contact", views.profile_by_contact(viewer, contact).await.expect("a read"));
    }
    let persons = [person(1), person(2), person(9)];
    surface.add("profiles by occupancies", views.profiles_by_occupancies(viewer, &persons).await.expect("a read"));
    let bounds = (Some(second(2)), Some(second(8)));
    for (kind, (opened_from, opened_before)) in [
        (None, (None, None)),
        (Some(ContactKind::Email), (None, None)),
        (None, bounds),
        (Some(ContactKind::Phone), bounds),
    ] {
        let filter = ProfileFilter { kind, opened_from, opened_before };
        for limit in [1, 50] {
            let sort = ProfileSort::OpenedAt;
            let read = async |page: &PageRequest| views.profiles(viewer, &filter, sort, page).await;
            surface.pages("profiles", limit, read).await;
        }
    }
}

async fn inbox(views: &Views, viewer: &Viewer, surface: &mut Surface) {
    let any = ConversationFilter::default;
    let filters = [
        any(),
        ConversationFilter { statuses: vec![ConversationStatus::Open], ..any() },
        ConversationFilter { statuses: vec![ConversationStatus::Closed, ConversationStatus::Snoozed], ..any() },
        ConversationFilter { assignee: Some(Assignee::Nobody), ..any() },
        ConversationFilter { assignee: Some(Assignee::Operator("olga".into())), ..any() },
        ConversationFilter { channel: Some(Channel::Email), account: Some(AccountId::new(id(0xA))), ..any() },
        ConversationFilter { queue: Some(QueueId::new(id(800))), ..any() },
        ConversationFilter { tag: Some("tag 1".into()), ..any() },
        ConversationFilter { unread: true, ..any() },
        ConversationFilter { mentions_me: true, ..any() },
        ConversationFilter { participants: vec![person(1), person(3)], ..any() },
        ConversationFilter {
            statuses: vec![ConversationStatus::Open, ConversationStatus::Closed],
            assignee: Some(Assignee::Nobody),
            channel: Some(Channel::Email),
            tag: Some("tag 2".into()),
            unread: true,
            participants: vec![person(2)],
            ..any()
        },
    ];
    for filter in &filters {
        for sort in [ConversationSort::LastActivity, ConversationSort::WaitingSince] {
            for limit in [1, 50] {
                let read = async |page: &PageRequest| views.conversations(viewer, filter, sort, page).await;
                surface.pages("conversations", limit, read).await;
            }
        }
    }
    let ids = [101, 100, 999].map(conversation_id);
    surface.add("conversations by ids", views.conversations_by_ids(viewer, &ids).await.expect("a read"));
    surface.add("latest messages", views.latest_messages(viewer, &ids).await.expect("a read"));
    let read = async |page: &PageRequest| views.ended_snoozes(second(100), page).await;
    surface.pages("ended snoozes", 1, read).await;
}

async fn desk(views: &Views, viewer: &Viewer, surface: &mut Surface) {
    let queues = [QueueId::new(id(800)), QueueId::new(id(801))];
    surface.add("service levels", views.service_levels(viewer).await.expect("a read"));
    let levels = [ServiceLevelId::new(id(520_000))];
    surface.add("service levels by ids", views.service_levels_by_ids(viewer, &levels).await.expect("a read"));
    surface.add("case types", views.case_types(viewer).await.expect("a read"));
    surface.add("case types by ids", views.case_types_by_ids(viewer, &[types_id()]).await.expect("a read"));
    surface.add("calendars", views.calendars(viewer).await.expect("a read"));
    let calendars = [CalendarId::new(id(700_000)), CalendarId::new(id(9))];
    surface.add("calendars by ids", views.calendars_by_ids(viewer, &calendars).await.expect("a read"));
    surface.add("queues", views.queues(viewer).await.expect("a read"));
    surface.add("queues by ids", views.queues_by_ids(viewer, &queues[..1]).await.expect("a read"));
    let loads = views.queue_loads(viewer, &queues).await.expect("a read");
    surface.add("queue loads", queues.map(|queue| loads.get(&queue).copied()));
    surface.add("queues on duty", views.queues_on_duty().await.expect("a read"));
    surface.add("operators", views.operators(viewer).await.expect("a read"));
    let operators = [OperatorId::new(id(600_000)), OperatorId::new(id(600_001))];
    surface.add("operators by ids", views.operators_by_ids(viewer, &operators).await.expect("a read"));
    surface.add("operators on duty", views.operators_on_duty().await.expect("a read"));
    let read = async |page: &PageRequest| views.timed_conversations(page).await;
    surface.pages("timed conversations", 1, read).await;
    for most in [1, 50] {
        surface.add("stray held", views.stray_held(most).await.expect("a read"));
        surface.add("stray assigned", views.stray_assigned(most).await.expect("a read"));
        let waiting = views.waiting_conversations(Duration::minutes(1), most).await;
        surface.add("waiting", waiting.expect("a read"));
        for queue in queues {
            let waiting = views.waiting_in_queue(queue, second(100), 2, most).await;
            surface.add("waiting in queue", waiting.expect("a read"));
        }
        let accounts = [AccountId::new(id(0xA)), AccountId::new(id(0xB)), AccountId::new(id(0xC))];
        surface.add("unqueued", views.unqueued_conversations(&viewer.tenant, &accounts, most).await.expect("a read"));
    }
}

async fn cases(views: &Views, viewer: &Viewer, surface: &mut Surface) {
    let ids = [500_001, 500_000, 9].map(|number| CaseId::new(id(number)));
    surface.add("cases by ids", views.cases_by_ids(viewer, &ids).await.expect("a read"));
    surface.add("case by number", views.case_by_number(viewer, 2).await.expect("a read"));
    let conversations = [100, 101].map(conversation_id);
    let of = views.cases_of_conversations(viewer, &conversations).await.expect("a read");
    surface.add("cases of conversations", conversations.map(|conversation| of.get(&conversation).cloned()));
    let any = CaseFilter::default;
    let filters = [
        any(),
        CaseFilter { merged: true, ..any() },
        CaseFilter { statuses: vec![CaseStatus::New, CaseStatus::Open], ..any() },
        CaseFilter { assignee: Some(Assignee::Operator("olga".into())), least_priority: Some(2), ..any() },
        CaseFilter { assignee: Some(Assignee::Nobody), case_type: Some(types_id()), ..any() },
        CaseFilter { customers: vec![person(1), person(2)], merged: true, ..any() },
    ];
    for filter in &filters {
        for sort in [CaseSort::Number, CaseSort::PromisedUntil] {
            for limit in [1, 50] {
                let read = async |page: &PageRequest| views.cases(viewer, filter, sort, page).await;
                surface.pages("cases", limit, read).await;
            }
        }
    }
    let read = async |page: &PageRequest| views.case_notes(viewer, ids[1], page).await;
    surface.pages("case notes", 2, read).await;
}

fn types_id() -> CaseTypeId {
    CaseTypeId::new(id(510_000))
}

async fn talk(views: &Views, viewer: &Viewer, surface: &mut Surface) {
    for conversation in [100, 101].map(conversation_id) {
        for limit in [3, 200] {
            let read = async |page: &PageRequest| views.timeline(viewer, conversation, page).await;
            surface.pages("timeline", limit, read).await;
        }
        for message in (200..220).chain(250..262) {
            let message = MessageId::new(id(message));
            surface.add("message", views.message(viewer, conversation, message).await.expect("a read"));
        }
    }
}

async fn work(views: &Views, viewer: &Viewer, surface: &mut Surface) {
    for limit in [1, 50] {
        let read = async |page: &PageRequest| views.dead_letters(viewer, page).await;
        surface.pages("dead letters", limit, read).await;
        let read = async |page: &PageRequest| views.parked(viewer, page).await;
        surface.pages("parked", limit, read).await;
    }
    let outcomes = [
        None,
        Some(IntakeOutcome::Received),
        Some(IntakeOutcome::Normalised),
        Some(IntakeOutcome::Unrecognised),
        Some(IntakeOutcome::Parked),
        Some(IntakeOutcome::Redriven),
    ];
    for outcome in outcomes {
        for (account, conversation) in [(None, None), (Some(AccountId::new(id(0xA))), Some(conversation_id(100)))] {
            let filter = IntakeFilter { outcome, account, conversation };
            let read = async |page: &PageRequest| views.intake(viewer, &filter, page).await;
            surface.pages("intake", 2, read).await;
        }
    }
}

async fn found(views: &Views, log: &dyn EventLog, codec: &Codec, viewer: &Viewer, surface: &mut Surface) {
    let any = EventFilter::default;
    let of_type = |name: &str| EventFilter { event_type: Some(name.to_owned()), ..any() };
    let persons = Some((vec![person(1), person(2)], vec![ProfileId::new(id(0x50_0001))]));
    let filters = [
        any(),
        EventFilter { stream: Some((Category::Conversation, id(100))), ..any() },
        EventFilter { conversation: Some(conversation_id(101)), ..any() },
        EventFilter { persons, ..any() },
        of_type("conversation.assigned"),
        of_type("intake.unrecognised"),
        of_type("conversation.message_received"),
        EventFilter { up_to: Some(Position(20)), ..of_type("conversation.tagged") },
    ];
    for filter in &filters {
        let finder = EventFinder::new(log, codec, views);
        let read = async |page: &PageRequest| {
            let found = finder.events(viewer, filter, page).await.expect("events");
            let Page { items, cursors, more } = found.page;
            let items: Vec<_> = items.into_iter().map(|event| (event.position, event.id)).collect();
            Ok(Page { items, cursors, more })
        };
        surface.pages("events", 7, read).await;
    }
}
