//! Sharing out, round by round, on a log in memory.
//!
//! **Invariant:** time stands still until a test moves it; what came of a round is read from the log, whose events an
//! onlooker folds who asks nothing of the code under test.

use chrono::TimeDelta;
use events::calendar::{Span, Weekday, WeekdayHours, WorkingHours};
use events::clock::{FixedClock, IdGenerator, SequentialIds};
use events::codec::{Codec, DomainEvent};
use events::consumer::{ConsumerConfig, ConsumerStatus};
use events::conversation::content::{MessageContent, MessageKind, OutsideThread};
use events::conversation::{AssignedReason, ConversationEvent, ConversationKind, EnqueuedReason, Speaker};
use events::feed::LogFeed;
use events::heartbeats::MemoryHeartbeats;
use events::ids::{AccountId, CalendarId, ContactId, IdHasher, MessageId, Occupancy, QueueId};
use events::log::{EventLog, Filter};
use events::operator::{Abilities, OperatorEvent, Presence, PresenceReason, ReleaseReason, TakenBy};
use events::queue::{Fallback, QueueRules};
use events::seal::Sealer;
use events::testing::{MemoryLog, memory_keys::MemoryKeyStore, sample_time};
use events::values::Channel;
use models::calendar::{CalendarCommand, CalendarDecider};
use models::conversation::{EnqueuedBy, Enqueueing, Outgoing, ThreadFacts};
use models::queue::{QueueCommand, QueueDecider};
use projections::projector::Projector;
use projections::store::sqlite::SqliteStore;
use uuid::Uuid;

use super::*;

mod edges;
mod random;

const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(0xA));

/// A desk with a log, read models that follow it and a clock that stands still.
pub(crate) struct Scene {
    pub(crate) routing: Routing,
    pub(crate) shift: Shift,
    pub(crate) clock: Arc<FixedClock>,
    ids: SequentialIds,
    pub(crate) log: Arc<dyn EventLog>,
    codec: Codec,
    _stop: watch::Sender<bool>,
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

pub(crate) fn queue_id(number: u128) -> QueueId {
    QueueId::new(Uuid::from_u128(0x9000 + number))
}

pub(crate) fn conversation_id(number: u128) -> ConversationId {
    ConversationId::new(Uuid::from_u128(0xC000 + number))
}

pub(crate) fn rules() -> QueueRules {
    QueueRules::default()
}

pub(crate) fn abilities(room: u32) -> Abilities {
    Abilities { languages: ["ru".into()].into(), skills: [].into(), room, room_of_channel: [].into() }
}

impl Scene {
    pub(crate) async fn set() -> Self {
        let clock = Arc::new(FixedClock::new(sample_time()));
        let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(clock.clone()));
        let codec = Codec::new(Sealer::new(Arc::new(MemoryKeyStore::default())), IdHasher::new([1; 32]));
        let handler = Handler::new(Arc::clone(&log), codec.clone());
        let store = Arc::new(SqliteStore::in_memory().await.unwrap());
        let (feed, projector) = (LogFeed::new(Arc::clone(&log)), Projector::new(codec.clone(), store.clone()));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let (config, status) = (ConsumerConfig::default(), ConsumerStatus::default());
            events::consumer::run(&feed, Arc::new(projector), &config, &status, stopped).await
        });
        let routing = Routing {
            handler,
            views: Views::new(store),
            heartbeats: Arc::new(MemoryHeartbeats::new(clock.clone())),
            clock: clock.clone(),
            presence_timeout: Duration::from_secs(90),
        };
        let shift = routing.begin();
        Self { routing, shift, clock, ids: SequentialIds::starting_at(1), log, codec, _stop: stop }
    }

    fn operator_id(&self, name: &str) -> OperatorId {
        self.codec.hasher().operator(&tenant(), name)
    }

    pub(crate) async fn wish<D: Decider>(
        &mut self,
        id: Uuid,
        actor: Actor,
        command: D::Command,
    ) -> Result<(), D::Rejection> {
        let command_id = self.ids.next();
        let origin = Origin {
            id: CommandId::new(command_id),
            tenant: tenant(),
            actor,
            causation: None,
            correlation: command_id,
            occurred_at: self.clock.now(),
            traceparent: None,
            seen_at: None,
            wish: None,
        };
        match self.routing.handler.handle::<D>(id, &origin, command).await {
            Ok(handled) => {
                self.shift.written = self.shift.written.max(handled.position);
                Ok(())
            }
            Err(HandleError::Rejected(rejection)) => Err(rejection),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn on(&mut self, number: u128, command: ConversationCommand) {
        let actor = Actor::Operator("supervisor".into());
        self.wish::<ConversationDecider>(conversation_id(number).uuid(), actor, command).await.unwrap();
    }

    pub(crate) async fn operator(&mut self, name: &str, abilities: Abilities) {
        let id = self.operator_id(name).uuid();
        let operator: Arc<str> = name.into();
        let register = OperatorCommand::Register { operator, name: name.to_owned(), abilities };
        self.wish::<OperatorDecider>(id, Actor::System("test".into()), register).await.unwrap();
        self.presence(name, Presence::Available).await;
    }

    async fn presence(&mut self, name: &str, presence: Presence) {
        let id = self.operator_id(name).uuid();
        let set = OperatorCommand::SetPresence { presence, reason: PresenceReason::ByThemselves };
        self.wish::<OperatorDecider>(id, Actor::Operator(name.into()), set).await.unwrap();
        self.beat(name).await;
    }

    async fn beat(&self, name: &str) {
        self.routing.heartbeats.beat(&tenant(), name).await.unwrap();
    }

    pub(crate) async fn queue(&mut self, number: u128, rules: QueueRules) {
        let queue = queue_id(number);
        let open = QueueCommand::Open { queue, name: format!("queue {number}"), rules };
        self.wish::<QueueDecider>(queue.uuid(), Actor::System("test".into()), open).await.unwrap();
    }

    /// The customer of this number writes in the conversation of this number.
    pub(crate) async fn writes(&mut self, number: u128) {
        let author = Occupancy { contact: ContactId::new(Uuid::from_u128(0xD000 + number)), number: 1 };
        let conversation = conversation_id(number);
        let receive = ConversationCommand::Receive {
            thread: ThreadFacts {
                conversation,
                account: ACCOUNT,
                channel: Channel::Telegram,
                kind: ConversationKind::Direct,
                outside: OutsideThread {
                    key: number.to_string(),
                    topic: None,
                    title: None,
                    reply_address: None,
                    business_connection: None,
                },
            },
            message: MessageId::new(self.ids.next()),
            author,
            kind: MessageKind::Text,
            marks: vec![],
            reply_to: None,
            album: None,
            content: MessageContent { text: Some("hello".to_owned()), ..MessageContent::default() },
        };
        self.on(number, receive).await;
    }

    pub(crate) async fn answers(&mut self, name: &str, number: u128) -> Result<(), ConversationRejection> {
        let conversation = conversation_id(number);
        let queue = ConversationCommand::Queue(Outgoing {
            conversation,
            message: MessageId::new(self.ids.next()),
            speaker: Speaker::Operator(name.into()),
            kind: MessageKind::Text,
            reply_to: None,
            content: MessageContent { text: Some("good day".to_owned()), ..MessageContent::default() },
        });
        self.wish::<ConversationDecider>(conversation.uuid(), Actor::Operator(name.into()), queue).await
    }

    pub(crate) async fn enqueue(&mut self, number: u128, queue: u128, priority: u8) {
        let by = EnqueuedBy::Hand;
        let enqueueing = Enqueueing { queue: queue_id(queue), is_open: true, priority, language: None, by };
        self.on(number, ConversationCommand::Enqueue(enqueueing)).await;
    }

    pub(crate) async fn close(&mut self, number: u128) {
        self.on(number, ConversationCommand::Close { reason: "resolved".to_owned() }).await;
    }

    async fn assign(&mut self, number: u128, name: &str) {
        self.on(number, ConversationCommand::Assign { operator: Some(name.into()) }).await;
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    pub(crate) async fn round(&mut self) {
        self.routing.round(&mut self.shift).await.unwrap();
    }

    /// Every event with its stream, in order.
    pub(crate) async fn events(&self) -> Vec<(Uuid, DomainEvent)> {
        let (recorded, _) = self.log.read_all(Position::START, &Filter::default(), 100_000).await.unwrap();
        let decoded = recorded.into_iter().map(|event| (event.stream.id, self.codec.decode(event).unwrap().event));
        decoded.collect()
    }

    async fn assignee(&self, number: u128) -> Option<String> {
        let stream = conversation_stream(&tenant(), conversation_id(number));
        let of = |state: &models::conversation::Conversation| state.operator().map(ToString::to_string);
        self.routing.handler.inspect::<ConversationDecider, _>(&stream, of).await.unwrap()
    }

    async fn held(&self, name: &str) -> Vec<ConversationId> {
        let stream = StreamName::new(Category::Operator, tenant(), self.operator_id(name).uuid());
        let held = |state: &models::operator::Operator| state.held().collect();
        self.routing.handler.inspect::<OperatorDecider, _>(&stream, held).await.unwrap()
    }

    /// Why conversations were assigned or taken away, in order.
    async fn reasons(&self) -> Vec<Option<AssignedReason>> {
        let events = self.events().await;
        let assigned = events.into_iter().filter_map(|(_, event)| match event {
            DomainEvent::Conversation(ConversationEvent::Assigned(assigned)) => Some(assigned.reason),
            _ => None,
        });
        assigned.collect()
    }
}

#[tokio::test]
async fn what_comes_through_an_account_goes_to_whoever_is_there_within_their_room() {
    let mut scene = Scene::set().await;
    scene.queue(1, QueueRules { accounts: [ACCOUNT].into(), priority: 4, ..rules() }).await;
    for number in 1..=3 {
        scene.writes(number).await;
        scene.pass(1);
    }
    scene.round().await;
    assert_eq!(scene.assignee(1).await, None, "nobody is there");
    scene.operator("anna", abilities(2)).await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [conversation_id(1), conversation_id(2)], "the oldest");
    assert_eq!((scene.assignee(1).await.as_deref(), scene.assignee(3).await), (Some("anna"), None));
    scene.close(1).await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [conversation_id(2), conversation_id(3)]);
    assert_eq!(scene.assignee(3).await.as_deref(), Some("anna"));
    let enqueued: Vec<_> = scene
        .events()
        .await
        .into_iter()
        .filter_map(|(_, event)| match event {
            DomainEvent::Conversation(ConversationEvent::Enqueued(event)) => Some((event.priority, event.reason)),
            _ => None,
        })
        .collect();
    assert_eq!(enqueued, [(4, EnqueuedReason::ByAccount); 3], "each once");
    let events = scene.events().await.len();
    scene.round().await;
    assert_eq!(scene.events().await.len(), events, "there is nothing more to do");
}

#[tokio::test]
async fn nobody_is_given_anything_while_they_are_busy() {
    let mut scene = Scene::set().await;
    scene.queue(1, rules()).await;
    scene.operator("anna", abilities(2)).await;
    scene.presence("anna", Presence::Busy).await;
    scene.writes(1).await;
    scene.enqueue(1, 1, 0).await;
    scene.round().await;
    assert_eq!(scene.assignee(1).await, None);
    scene.presence("anna", Presence::Available).await;
    scene.round().await;
    assert_eq!(scene.assignee(1).await.as_deref(), Some("anna"));
}

#[tokio::test]
async fn what_a_vanished_operator_had_goes_to_another_with_its_old_place_in_the_queue() {
    let mut scene = Scene::set().await;
    scene.queue(1, rules()).await;
    scene.operator("anna", abilities(5)).await;
    scene.writes(1).await;
    scene.enqueue(1, 1, 0).await;
    scene.round().await;
    assert!(scene.answers("anna", 1).await.is_ok());
    scene.writes(1).await;
    scene.pass(60);
    scene.operator("boris", abilities(1)).await;
    scene.presence("boris", Presence::Busy).await;
    scene.round().await;
    scene.pass(31);
    scene.writes(2).await;
    scene.enqueue(2, 1, 0).await;
    scene.beat("boris").await;
    scene.round().await;
    scene.round().await;
    assert_eq!(
        (scene.held("anna").await, scene.assignee(1).await),
        (vec![], None),
        "91 seconds without a sign of life"
    );
    let absent = scene.events().await.into_iter().any(|(_, event)| {
        matches!(event, DomainEvent::Operator(OperatorEvent::PresenceChanged(changed))
            if changed.presence == Presence::Absent && changed.reason == PresenceReason::NoSignOfLife)
    });
    assert!(absent);
    scene.presence("boris", Presence::Available).await;
    scene.round().await;
    assert_eq!(scene.held("boris").await, [conversation_id(1)], "its customer waits longer");
    assert!(scene.answers("boris", 1).await.is_ok(), "anna speaks no more");
    assert_eq!(scene.answers("anna", 1).await, Err(ConversationRejection::HeldByOther("boris".to_owned())));
}

#[tokio::test]
async fn a_new_process_does_not_take_everybody_for_absent() {
    let mut scene = Scene::set().await;
    scene.operator("anna", abilities(5)).await;
    scene.pass(3600);
    scene.routing.heartbeats = Arc::new(MemoryHeartbeats::new(scene.clock.clone()));
    let written = scene.shift.written;
    scene.shift = Shift { written, ..scene.routing.begin() };
    scene.round().await;
    let events = scene.events().await.len();
    scene.pass(90);
    scene.round().await;
    assert_eq!(scene.events().await.len(), events);
    scene.pass(1);
    scene.round().await;
    assert_eq!(scene.events().await.len(), events + 1);
}

#[tokio::test]
async fn what_is_given_by_hand_counts_also_beyond_the_room_and_is_left_with_an_absent_one() {
    let mut scene = Scene::set().await;
    scene.queue(1, rules()).await;
    scene.operator("anna", abilities(1)).await;
    for number in 1..=2 {
        scene.writes(number).await;
        scene.assign(number, "anna").await;
    }
    scene.writes(3).await;
    scene.enqueue(3, 1, 9).await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [1, 2].map(conversation_id));
    assert_eq!(scene.assignee(3).await, None, "she is full");
    scene.pass(10);
    scene.presence("anna", Presence::Absent).await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, []);
    scene.pass(10);
    scene.assign(1, "anna").await;
    scene.round().await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [conversation_id(1)], "whoever gave it knew that she is absent");
}

#[tokio::test]
async fn a_returning_customer_goes_to_the_same_operator_if_they_have_room() {
    let mut scene = Scene::set().await;
    scene.queue(1, QueueRules { accounts: [ACCOUNT].into(), ..rules() }).await;
    scene.operator("anna", abilities(1)).await;
    for number in 1..=2 {
        scene.writes(number).await;
        scene.round().await;
        scene.close(number).await;
        scene.round().await;
    }
    scene.operator("boris", abilities(3)).await;
    scene.pass(10);
    scene.writes(1).await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [conversation_id(1)], "the next episode is hers, who had the last");
    scene.writes(2).await;
    scene.round().await;
    scene.round().await;
    assert_eq!(scene.held("boris").await, [conversation_id(2)], "she has no room for another");
    assert_eq!(scene.assignee(2).await.as_deref(), Some("boris"));
    let reasons = scene.reasons().await;
    assert_eq!(reasons[2..], [Some(AssignedReason::OperatorNotFree), Some(AssignedReason::LeastBusy)]);
}

#[tokio::test]
async fn what_rests_takes_no_room_until_it_wakes() {
    let mut scene = Scene::set().await;
    scene.queue(1, rules()).await;
    scene.operator("anna", abilities(1)).await;
    scene.writes(1).await;
    scene.enqueue(1, 1, 0).await;
    scene.round().await;
    let (until, now) = (scene.clock.now() + TimeDelta::hours(1), scene.clock.now());
    scene.on(1, ConversationCommand::Snooze { until, now }).await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, []);
    scene.writes(1).await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [conversation_id(1)]);
    let releases: Vec<_> = scene
        .events()
        .await
        .into_iter()
        .filter_map(|(_, event)| match event {
            DomainEvent::Operator(OperatorEvent::ConversationReleased(released)) => Some(released.reason),
            _ => None,
        })
        .collect();
    assert_eq!(releases, [ReleaseReason::Snoozed]);
}

#[tokio::test]
async fn a_round_that_died_halfway_is_finished_by_the_next() {
    let mut scene = Scene::set().await;
    scene.queue(1, rules()).await;
    scene.operator("anna", abilities(1)).await;
    for number in 1..=2 {
        scene.writes(number).await;
        scene.enqueue(number, 1, 0).await;
        scene.pass(1);
    }
    // Taken, and nothing came of it.
    let take =
        OperatorCommand::Take { conversation: conversation_id(2), channel: Channel::Telegram, by: TakenBy::Policy };
    let id = scene.operator_id("anna").uuid();
    scene.wish::<OperatorDecider>(id, Actor::System(NAME.into()), take).await.unwrap();
    scene.round().await;
    assert_eq!(scene.held("anna").await, [conversation_id(1)], "released, and the oldest given");
    assert_eq!((scene.assignee(1).await.as_deref(), scene.assignee(2).await), (Some("anna"), None));
    // Unassigned, and not released.
    scene.on(1, ConversationCommand::Unassign { from: "anna".into(), reason: AssignedReason::OperatorAbsent }).await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [conversation_id(1)], "released and given again");
    assert_eq!(scene.assignee(1).await.as_deref(), Some("anna"));
}

#[tokio::test]
async fn what_nobody_takes_falls_through_after_working_time() {
    let mut scene = Scene::set().await;
    let calendar = CalendarId::new(Uuid::from_u128(0x8001));
    let spans = vec![Span { from_min: 0, until_min: 1440 }];
    let now = scene.clock.now();
    // Works on the day of the sample time only.
    let today = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ][chrono::Datelike::weekday(&now).num_days_from_monday() as usize];
    let hours = WorkingHours { zone: "UTC".into(), week: vec![WeekdayHours { weekday: today, spans }], days: vec![] };
    let open = CalendarCommand::Open { name: "today".to_owned(), hours };
    scene.wish::<CalendarDecider>(calendar.uuid(), Actor::System("test".into()), open).await.unwrap();
    let fallback = |to: u128, after_s: u32| Some(Fallback { queue: queue_id(to), after_s });
    scene.queue(1, QueueRules { skills: ["rare".into()].into(), fallback: fallback(2, 600), ..rules() }).await;
    scene
        .queue(
            2,
            QueueRules {
                skills: ["rare".into()].into(),
                calendar: Some(calendar),
                fallback: fallback(1, 60),
                ..rules()
            },
        )
        .await;
    scene.operator("anna", abilities(5)).await;
    scene.writes(1).await;
    scene.enqueue(1, 1, 3).await;
    scene.pass(599);
    scene.round().await;
    let queue = async |scene: &Scene| {
        let stream = conversation_stream(&tenant(), conversation_id(1));
        let of = |state: &models::conversation::Conversation| {
            state.queued().map(|queued| (queued.queue, queued.priority, queued.fallbacks))
        };
        scene.routing.handler.inspect::<ConversationDecider, _>(&stream, of).await.unwrap()
    };
    assert_eq!(queue(&scene).await, Some((queue_id(1), 3, 0)));
    scene.pass(1);
    scene.round().await;
    assert_eq!(queue(&scene).await, Some((queue_id(2), 3, 1)), "after ten minutes");
    // The day after is none of its working days.
    let midnight = (now + TimeDelta::days(1)).date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc();
    scene.clock.advance(midnight - scene.clock.now() - TimeDelta::seconds(30));
    let entered = scene.clock.now();
    scene.round().await;
    assert!(entered - now > TimeDelta::seconds(700));
    assert_eq!(queue(&scene).await, Some((queue_id(1), 3, 2)), "sixty seconds of working time");
    // Falls and falls, and comes to rest.
    for _ in 0..80 {
        scene.pass(86_400);
        scene.round().await;
    }
    let rested = queue(&scene).await.unwrap();
    assert_eq!(rested.2, models::conversation::MAX_FALLBACKS);
}

#[tokio::test]
async fn only_who_has_the_skills_of_the_queue_gets_its_conversations() {
    let mut scene = Scene::set().await;
    scene.queue(1, QueueRules { skills: ["refunds".into()].into(), ..rules() }).await;
    scene.operator("anna", abilities(5)).await;
    scene.operator("boris", Abilities { skills: ["refunds".into(), "sales".into()].into(), ..abilities(5) }).await;
    for number in 1..=3 {
        scene.writes(number).await;
        scene.enqueue(number, 1, 0).await;
    }
    scene.round().await;
    assert_eq!((scene.held("anna").await.len(), scene.held("boris").await.len()), (0, 3));
}
