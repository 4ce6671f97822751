//! Clocks of service: what counts, from when, to when, and by which rules.
//!
//! **Invariant:** times are minutes after nine o'clock of a Monday; the desk works from nine to eighteen, Monday to Friday,
//! unless a test says otherwise. Cases that others got wrong name the thread that tells of it.

use chrono::NaiveDate;
use events::calendar::{
    CalendarChanged, CalendarEvent, CalendarOpened, DayHours, Span, Weekday, WeekdayHours, WorkingHours,
};
use events::conversation::content::{MessageContent, MessageKind, MessageMark, NoteContent};
use events::conversation::{
    ConversationClosed, ConversationEnqueued, ConversationEvent, ConversationReopened, ConversationSnoozed,
    EnqueuedReason, MessageQueued, MessageReceived, NoteAdded, ReopenReason,
};
use events::envelope::Actor;
use events::ids::{CalendarId, ContactId, MessageId, Occupancy, QueueId, ServiceLevelId};
use events::queue::{QueueEvent, QueueOpened, QueueRules};
use events::seal::Personal;
use events::service_level::{
    ServiceLevelChanged, ServiceLevelClosed, ServiceLevelEvent, ServiceLevelOpened, ServiceLevelRules, ServiceTarget,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// Minutes after nine o'clock of Monday, 2 March 2026.
fn at(minute: i64) -> DateTime<Utc> {
    "2026-03-02T09:00:00Z".parse::<DateTime<Utc>>().unwrap() + Duration::minutes(minute)
}

/// The first minute of the desk's next day.
const NEXT_DAY: i64 = 24 * 60;

fn queue(number: u128) -> QueueId {
    QueueId::new(Uuid::from_u128(number))
}

fn level(number: u128) -> ServiceLevelId {
    ServiceLevelId::new(Uuid::from_u128(10 + number))
}

fn calendar() -> CalendarId {
    CalendarId::new(Uuid::from_u128(20))
}

fn hours(from_min: u16, until_min: u16, days: Vec<DayHours>) -> WorkingHours {
    let weekdays = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
    let spans = vec![Span { from_min, until_min }];
    let week = weekdays.map(|weekday| WeekdayHours { weekday, spans: spans.clone() }).into();
    WorkingHours { zone: "UTC".into(), week, days }
}

fn promise(least_priority: u8, minutes: [Option<u32>; 3]) -> ServiceTarget {
    let [first_response_s, next_response_s, resolution_s] = minutes.map(|minutes| minutes.map(|minutes| minutes * 60));
    ServiceTarget { least_priority, first_response_s, next_response_s, resolution_s }
}

fn level_rules(targets: Vec<ServiceTarget>) -> ServiceLevelRules {
    ServiceLevelRules { calendar: Some(calendar()), targets, warn_before_s: 600 }
}

/// A conversation with everything around it.
#[derive(Default)]
struct Scene {
    events: Vec<(DateTime<Utc>, Actor, ConversationEvent)>,
    histories: Histories,
}

impl Scene {
    /// Queue 1 promises by level 1: a first answer within an hour, a further one within half an hour, the end within four
    /// hours; urgent ones within a quarter of it.
    fn set() -> Self {
        let targets = vec![promise(0, [Some(60), Some(30), Some(240)]), promise(5, [Some(15), Some(8), Some(60)])];
        Self::promising(targets)
    }

    fn promising(targets: Vec<ServiceTarget>) -> Self {
        let mut scene = Self::default();
        let opened = CalendarOpened { name: "x".into(), hours: hours(540, 1080, vec![]) };
        scene.histories.calendars.insert(calendar(), vec![(at(-9000), opened.into())]);
        let opened = ServiceLevelOpened { name: "x".into(), rules: level_rules(targets) };
        scene.histories.service_levels.insert(level(1), vec![(at(-9000), opened.into())]);
        scene.open_queue(1, Some(1));
        scene
    }

    fn open_queue(&mut self, number: u128, of: Option<u128>) {
        let rules = QueueRules { service_level: of.map(level), ..QueueRules::default() };
        let opened = QueueEvent::from(QueueOpened { name: "x".into(), rules });
        self.histories.queues.insert(queue(number), vec![(at(-9000), opened)]);
    }

    fn event(mut self, minute: i64, actor: Actor, event: impl Into<ConversationEvent>) -> Self {
        self.events.push((at(minute), actor, event.into()));
        self
    }

    fn marked(self, minute: i64, marks: Vec<MessageMark>) -> Self {
        let author = Occupancy { contact: ContactId::new(Uuid::from_u128(1)), number: 1 };
        let received = MessageReceived {
            message: MessageId::new(Uuid::from_u128(100 + self.events.len() as u128)),
            episode: 1,
            author,
            kind: MessageKind::Text,
            marks,
            reply_to: None,
            album: None,
            content: Personal::Opened(MessageContent::default()),
        };
        self.event(minute, Actor::Customer(author.contact), received)
    }

    /// The customer writes.
    fn asks(self, minute: i64) -> Self {
        self.marked(minute, vec![])
    }

    /// The customer's first message, which comes into queue 1.
    fn begins(self, minute: i64) -> Self {
        self.asks(minute).enqueued(minute, 1, 0, EnqueuedReason::ByAccount)
    }

    fn enqueued(self, minute: i64, number: u128, priority: u8, reason: EnqueuedReason) -> Self {
        let enqueued = ConversationEnqueued { queue: queue(number), priority, language: None, reason, fallbacks: 0 };
        self.event(minute, Actor::System("routing".into()), enqueued)
    }

    fn sent(self, minute: i64, actor: Actor) -> Self {
        let queued = MessageQueued {
            message: MessageId::new(Uuid::from_u128(200 + self.events.len() as u128)),
            episode: 1,
            addressee: None,
            kind: MessageKind::Text,
            reply_to: None,
            content: Personal::Opened(MessageContent::default()),
        };
        self.event(minute, actor, queued)
    }

    fn answers(self, minute: i64) -> Self {
        self.sent(minute, Actor::Operator("anna".into()))
    }

    fn notes(self, minute: i64) -> Self {
        let content = Personal::Opened(NoteContent { text: "x".into() });
        let note = NoteAdded { note: Uuid::from_u128(9), mentions: vec![], content };
        self.event(minute, Actor::Operator("anna".into()), note)
    }

    fn closes(self, minute: i64) -> Self {
        let closed = ConversationClosed { episode: 1, reason: "resolved".into() };
        self.event(minute, Actor::Operator("anna".into()), closed)
    }

    fn reopens(self, minute: i64) -> Self {
        let reopened = ConversationReopened { episode: 2, reason: ReopenReason::CustomerWrote };
        self.event(minute, Actor::System("inbound".into()), reopened)
    }

    fn clocks(&self, minute: i64) -> Vec<Clock> {
        clocks(&changes(&self.events, &self.histories), at(minute))
    }

    /// The last clock of a kind.
    fn clock(&self, kind: ClockKind, minute: i64) -> Option<Clock> {
        self.clocks(minute).into_iter().rev().find(|clock| clock.kind == kind)
    }

    /// Kind, state, minutes passed and the minute in which it runs out, of each clock.
    fn shown(&self, minute: i64) -> Vec<(ClockKind, ClockState, i64, Option<i64>)> {
        let show = |clock: Clock| {
            let due = clock.due.map(|due| (due - at(0)).num_minutes());
            (clock.kind, clock.state, clock.elapsed.num_minutes(), due)
        };
        self.clocks(minute).into_iter().map(show).collect()
    }
}

use ClockKind::{FirstResponse, NextResponse, Resolution};
use ClockState::{Met, Missed, Paused, Running};

#[test]
fn the_first_answer_ends_the_first_clock_at_once() {
    // zammad#2082: it stood still until the second answer.
    let scene = Scene::set().begins(0);
    assert_eq!(scene.shown(20), [(FirstResponse, Running, 20, Some(60)), (Resolution, Running, 20, Some(240))]);
    let scene = scene.answers(25);
    assert_eq!(scene.shown(50), [(FirstResponse, Met, 25, None), (Resolution, Paused, 25, None)]);
    assert_eq!(scene.clock(FirstResponse, 50).unwrap().ended_at, Some(at(25)));
}

#[test]
fn after_an_answer_of_ours_no_clock_runs_until_the_customer_writes() {
    // zammad#3140: answered tickets escalated because the customer was slow.
    let scene = Scene::set().begins(0).answers(10);
    assert_eq!(scene.shown(2 * NEXT_DAY), [(FirstResponse, Met, 10, None), (Resolution, Paused, 10, None)]);
    let scene = scene.asks(100).asks(110);
    assert_eq!(scene.shown(120)[2], (NextResponse, Running, 20, Some(130)), "from the first of them on");
    assert_eq!(scene.answers(125).shown(200)[2], (NextResponse, Met, 25, None));
}

#[test]
fn a_customers_word_starts_the_next_clock_whatever_its_form_and_a_machines_does_not() {
    // zammad#1322: a customer's note started nothing. Here a word is a word.
    let scene = Scene::set().begins(0).answers(10).marked(20, vec![MessageMark::AutoReply]);
    assert_eq!(scene.clock(NextResponse, 60), None);
    let scene = scene.marked(30, vec![MessageMark::Forwarded]);
    assert_eq!(scene.clock(NextResponse, 40).unwrap().state, Running);
}

#[test]
fn a_shorter_further_promise_does_not_overrule_the_first() {
    // zammad#5177: the update time overruled the first response time.
    let scene = Scene::set().begins(0).asks(5);
    assert_eq!(scene.shown(40), [(FirstResponse, Running, 40, Some(60)), (Resolution, Running, 40, Some(240))]);
}

#[test]
fn the_end_is_measured_when_it_comes() {
    // zammad#2579: the time to the solution was never set.
    let scene = Scene::set().begins(0).answers(10).asks(20).closes(45);
    assert_eq!(
        scene.shown(1000),
        [(FirstResponse, Met, 10, None), (Resolution, Met, 35, None), (NextResponse, Met, 25, None)],
        "ten minutes to the answer, twenty-five after the customer wrote again"
    );
    assert_eq!(scene.clock(Resolution, 1000).unwrap().ended_at, Some(at(45)));
}

#[test]
fn time_that_it_was_closed_does_not_count_after_a_reopening() {
    // zammad#188, glpi#9267.
    let scene = Scene::set().begins(0).answers(30).closes(60).reopens(400).asks(400);
    let resolution = scene.clock(Resolution, 420).unwrap();
    assert_eq!(
        (resolution.state, resolution.elapsed, resolution.due),
        (Running, Duration::minutes(50), Some(at(610 + NEXT_DAY - 540)))
    );
    let pauses: Vec<_> = resolution.steps.iter().map(|step| step.pause).collect();
    assert_eq!(pauses, [None, Some(Pause::WaitingForCustomer), Some(Pause::Closed), None]);
    assert_eq!(scene.clock(NextResponse, 420).unwrap().elapsed, Duration::minutes(20), "an answer is owed again");
    assert_eq!(scene.closes(430).clock(Resolution, 9000).unwrap().elapsed, Duration::minutes(60));
}

#[test]
fn a_closed_conversation_has_nothing_to_warn_of() {
    // libredesk#70: alerts about closed tickets.
    let scene = Scene::set().begins(0).closes(30);
    for clock in scene.clocks(9000) {
        assert_eq!((clock.state, clock.ended_at, clock.due, clock.warns_at), (Met, Some(at(30)), None, None));
    }
}

#[test]
fn waiting_for_the_customer_stays_uncounted_when_the_priority_changes() {
    // glpi#6902: pending time was counted once the SLA changed.
    let scene = Scene::set().begins(0).answers(10).enqueued(100, 1, 5, EnqueuedReason::Changed);
    let resolution = scene.clock(Resolution, 110).unwrap();
    assert_eq!((resolution.state, resolution.elapsed), (Paused, Duration::minutes(10)));
    assert_eq!(resolution.target, Duration::minutes(60));
    let scene = scene.asks(120);
    assert_eq!(scene.clock(Resolution, 130).unwrap().due, Some(at(170)), "fifty of sixty minutes are left");
}

#[test]
fn a_higher_priority_counts_what_has_passed_towards_the_shorter_promise() {
    let scene = Scene::set().begins(0).enqueued(20, 1, 5, EnqueuedReason::Changed);
    let first = scene.clock(FirstResponse, 21).unwrap();
    assert_eq!((first.state, first.target, first.due), (Missed, Duration::minutes(15), Some(at(15))));
    let targets: Vec<_> = first.steps.iter().map(|step| step.target.map(|target| target.num_minutes())).collect();
    assert_eq!(targets, [Some(60), Some(15)], "each step tells the promise of then");
}

#[test]
fn the_first_answer_counts_working_time_only() {
    // From half past five on Friday to Monday.
    let friday = 4 * NEXT_DAY + 510;
    let scene = Scene::set().begins(friday);
    let first = scene.clock(FirstResponse, friday + 600).unwrap();
    assert_eq!((first.state, first.elapsed), (Running, Duration::minutes(30)));
    assert_eq!((first.due, first.warns_at), (Some(at(7 * NEXT_DAY + 30)), Some(at(7 * NEXT_DAY + 20))));
}

#[test]
fn a_calendar_counts_what_passes_from_its_change_on() {
    let mut scene = Scene::set().begins(0);
    let holiday = DayHours { date: NaiveDate::from_ymd_opt(2026, 3, 3).unwrap(), name: None, spans: vec![] };
    let changed = CalendarEvent::from(CalendarChanged { name: "x".into(), hours: hours(540, 600, vec![holiday]) });
    scene.histories.calendars.get_mut(&calendar()).unwrap().push((at(30), changed));
    let first = scene.clock(FirstResponse, 40).unwrap();
    assert_eq!((first.elapsed, first.due), (Duration::minutes(40), Some(at(60))));
    let resolution = scene.clock(Resolution, 40).unwrap();
    // An hour today, none tomorrow, an hour each of the days after it.
    assert_eq!(resolution.due, Some(at(4 * NEXT_DAY + 60)));
    let counted: Vec<_> = resolution.steps.iter().map(|step| step.counted.num_minutes()).collect();
    assert_eq!(counted, [30, 10]);
}

#[test]
fn a_promise_that_changes_or_ends_is_followed_at_once() {
    let mut scene = Scene::set().begins(0);
    let of_level = scene.histories.service_levels.get_mut(&level(1)).unwrap();
    let rules = level_rules(vec![promise(0, [Some(90), None, None])]);
    of_level.push((at(10), ServiceLevelEvent::from(ServiceLevelChanged { name: "x".into(), rules })));
    of_level.push((at(100), ServiceLevelEvent::from(ServiceLevelClosed {})));
    assert_eq!(scene.shown(50), [(FirstResponse, Running, 50, Some(90))], "the end is not promised any more");
    assert_eq!(scene.shown(120), [], "zammad#4353: a promise that is taken back leaves no clock behind");
}

#[test]
fn another_queue_promises_otherwise_and_what_ran_before_counts() {
    // zammad#5624: the promise of the queue before stayed.
    let mut scene = Scene::set().begins(0).answers(10).asks(20);
    let rules = level_rules(vec![promise(0, [Some(5), None, Some(600)])]);
    let opened = ServiceLevelEvent::from(ServiceLevelOpened { name: "x".into(), rules });
    scene.histories.service_levels.insert(level(2), vec![(at(-9000), opened)]);
    scene.open_queue(2, Some(2));
    scene.open_queue(3, None);
    let moved = scene.enqueued(40, 2, 0, EnqueuedReason::Fallback);
    let kinds: Vec<_> = moved.clocks(50).iter().map(|clock| clock.kind).collect();
    assert_eq!(kinds, [FirstResponse, Resolution], "no further answer is promised there");
    assert_eq!(moved.clock(FirstResponse, 50).unwrap().target, Duration::minutes(60), "what has ended stays as it was");
    assert_eq!(moved.clock(Resolution, 50).unwrap().due, Some(at(NEXT_DAY - 540 + 540 + 610 - 540)));
    let nowhere = moved.enqueued(60, 3, 0, EnqueuedReason::ByHand);
    assert_eq!(nowhere.clock(Resolution, 70), None);
}

#[test]
fn what_waited_before_it_came_into_a_queue_is_counted_too() {
    let scene = Scene::set().asks(0).enqueued(15, 1, 0, EnqueuedReason::ByAccount);
    assert_eq!(scene.clocks(10), [], "nothing is promised yet");
    assert_eq!(scene.clock(FirstResponse, 20).unwrap().elapsed, Duration::minutes(20));
}

#[test]
fn notes_and_rests_stop_no_clock_and_a_handover_starts_one() {
    let until = at(200);
    let scene = Scene::set().begins(0).notes(10);
    let scene = scene.event(12, Actor::Operator("anna".into()), ConversationSnoozed { until });
    assert_eq!(scene.clock(FirstResponse, 30).unwrap().state, Running, "zammad#1620: a note to oneself is no answer");
    let scene = Scene::set().begins(0).sent(5, Actor::Agent("bot".into()));
    assert_eq!(scene.clock(FirstResponse, 30).unwrap().state, Met);
    let scene = scene.enqueued(6, 1, 0, EnqueuedReason::ByHand);
    assert_eq!(scene.clock(NextResponse, 30).unwrap().elapsed, Duration::minutes(24), "they wait for a person");
    let scene = Scene::set().begins(0).sent(5, Actor::System("survey".into()));
    assert_eq!(scene.clock(FirstResponse, 30).unwrap().state, Running, "a survey answers nothing");
}

#[test]
fn a_warning_comes_before_the_end() {
    let clock = Scene::set().begins(0).clock(FirstResponse, 5).unwrap();
    assert_eq!((clock.warns_at, clock.due), (Some(at(50)), Some(at(60))));
    let short = Scene::promising(vec![promise(0, [Some(5), None, None])]).begins(0);
    assert_eq!(short.clock(FirstResponse, 1).unwrap().warns_at, Some(at(0)), "at once, where the promise is shorter");
}

#[test]
fn states_add_up_to_the_age() {
    use TimedState::{Closed, Queued, WaitingForCustomer, WaitingForUs};
    let assigned = events::conversation::ConversationAssigned { operator: Some("anna".into()), reason: None };
    let scene = Scene::set().begins(0).event(10, Actor::System("routing".into()), assigned).answers(15).closes(35);
    let scene = scene.reopens(100).asks(100);
    let events: Vec<_> = scene.events.iter().map(|(at, _, event)| (*at, event)).collect();
    let times: Vec<_> =
        time_in_states(&events, at(110)).iter().map(|t| (t.state, t.times, t.total.num_minutes())).collect();
    let expected = [(Queued, 1, 10), (WaitingForUs, 3, 15), (WaitingForCustomer, 2, 20), (Closed, 1, 65)];
    assert_eq!(times, expected);
}

/// What happens next, and how many minutes later.
fn any_step() -> impl Strategy<Value = (u8, i64)> {
    (0_u8..9, 0_i64..400)
}

fn play(steps: &[(u8, i64)]) -> (Scene, i64) {
    let (mut scene, mut now, mut closed) = (Scene::set().begins(0), 0, false);
    for (what, after) in steps {
        now += after;
        scene = match what {
            0 | 1 if closed => {
                closed = false;
                scene.reopens(now).asks(now)
            }
            0 | 1 => scene.asks(now),
            2 | 3 if !closed => scene.answers(now),
            4 if !closed => {
                closed = true;
                scene.closes(now)
            }
            5 if !closed => scene.enqueued(now, 1, 5, EnqueuedReason::Changed),
            6 if !closed => scene.enqueued(now, 1, 0, EnqueuedReason::Changed),
            7 => {
                let changed = CalendarChanged { name: "x".into(), hours: hours(480, 1200, vec![]) };
                scene.histories.calendars.get_mut(&calendar()).unwrap().push((at(now), changed.into()));
                scene
            }
            _ => scene.notes(now),
        };
    }
    (scene, now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_history_counts_forwards_and_its_steps_add_up(steps in prop::collection::vec(any_step(), 0..24), later in 0_i64..3000) {
        let (scene, end) = play(&steps);
        let (then, now) = (scene.clocks(end), scene.clocks(end + later));
        prop_assert_eq!(then.len(), now.len(), "nothing begins by itself");
        for (then, now) in then.iter().zip(&now) {
            prop_assert_eq!((then.kind, then.started_at, then.ended_at), (now.kind, now.started_at, now.ended_at));
            prop_assert!(then.elapsed <= now.elapsed);
            let unchanged = then.elapsed == now.elapsed;
            prop_assert!(unchanged || then.ended_at.is_none(), "what has ended stands still");
            let counted: Duration = now.steps.iter().map(|step| step.counted).sum();
            prop_assert_eq!(counted, now.elapsed);
            let end = now.ended_at.unwrap_or(at(end + later));
            prop_assert_eq!(now.steps.first().map_or(end, |step| step.from), now.started_at);
            prop_assert!(now.steps.windows(2).all(|pair| pair[0].to == pair[1].from), "no gap");
            prop_assert_eq!(now.steps.last().map_or(now.started_at, |step| step.to), end);
            prop_assert!(now.steps.iter().all(|step| step.pause.is_none() || step.counted.is_zero()));
            prop_assert_eq!(now.state == Missed, now.elapsed > now.target || (now.ended_at.is_none() && now.elapsed >= now.target));
        }
        prop_assert!(now.iter().filter(|clock| clock.kind == FirstResponse).count() <= 1);
        prop_assert!(now.iter().filter(|clock| clock.kind == Resolution).count() <= 1);
        let owed = now.iter().filter(|clock| clock.kind != Resolution && clock.ended_at.is_none()).count();
        prop_assert!(owed <= 1, "one answer is owed at a time");
    }

    #[test]
    fn a_running_clock_is_late_exactly_when_its_time_has_come(steps in prop::collection::vec(any_step(), 0..16)) {
        let (scene, end) = play(&steps);
        for clock in scene.clocks(end).into_iter().filter(|clock| clock.state == Running) {
            let due = clock.due.unwrap();
            let minute = (due - at(0)).num_minutes();
            let of = |minute| scene.clocks(minute).into_iter().find(|later| later.started_at == clock.started_at && later.kind == clock.kind);
            prop_assert_eq!(of(minute).unwrap().state, Missed);
            if minute > end {
                prop_assert_eq!(of(minute - 1).unwrap().state, Running);
            }
        }
    }
}
