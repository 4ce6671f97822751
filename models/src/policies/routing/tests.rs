//! Who gets what, case by case and for any desk.
//!
//! **Invariant:** properties are checked against the candidates as they were given, not as the policy has changed them.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn now() -> DateTime<Utc> {
    events::testing::sample_time()
}

fn names(all: &[&str]) -> BTreeSet<Arc<str>> {
    all.iter().map(|name| Arc::from(*name)).collect()
}

fn waiting(number: u128, minutes: i64) -> Waiting {
    Waiting {
        conversation: ConversationId::new(Uuid::from_u128(number)),
        channel: Channel::Telegram,
        priority: 0,
        since: now() - Duration::minutes(minutes),
        skills: BTreeSet::new(),
        language: None,
        last_operator: None,
    }
}

fn candidate(operator: &str, held: u32, room: u32) -> Candidate {
    Candidate {
        operator: operator.into(),
        skills: BTreeSet::new(),
        languages: names(&["ru"]),
        held,
        room,
        room_of_channel: BTreeMap::new(),
        last_given: None,
    }
}

/// Pairs of number and operator.
fn given(waiting: &[Waiting], candidates: Vec<Candidate>) -> Vec<(u128, String)> {
    let pair = |made: Assignment| (made.conversation.uuid().as_u128(), made.operator.to_string());
    assign(waiting, candidates, now()).into_iter().map(pair).collect()
}

fn pairs(expected: &[(u128, &str)]) -> Vec<(u128, String)> {
    expected.iter().map(|(number, operator)| (*number, (*operator).to_owned())).collect()
}

#[test]
fn the_oldest_goes_first_and_to_the_least_busy() {
    let queue = [waiting(1, 1), waiting(2, 3), waiting(3, 2)];
    let desk = vec![candidate("anna", 2, 5), candidate("boris", 0, 5), candidate("vera", 1, 5)];
    // Boris has one as well by then, and Vera has waited longer for one.
    assert_eq!(given(&queue, desk), pairs(&[(2, "boris"), (3, "vera"), (1, "boris")]));
}

#[test]
fn of_equals_the_one_who_waited_longest_for_a_conversation() {
    let mut rested = candidate("vera", 1, 1);
    rested.last_given = Some(now() - Duration::minutes(9));
    let mut served = candidate("anna", 1, 1);
    served.last_given = Some(now() - Duration::minutes(1));
    assert_eq!(given(&[waiting(1, 1)], vec![served, rested]), pairs(&[(1, "vera")]));
}

#[test]
fn a_higher_priority_goes_first_until_the_other_has_waited_long() {
    let mut urgent = waiting(1, 1);
    urgent.priority = 3;
    let one = || vec![candidate("anna", 0, 1)];
    assert_eq!(given(&[waiting(2, 29), urgent.clone()], one()), pairs(&[(1, "anna")]));
    assert_eq!(given(&[waiting(2, 30), urgent.clone()], one()), pairs(&[(2, "anna")]), "as urgent now, and older");
    urgent.priority = MAX_PRIORITY;
    assert_eq!(given(&[waiting(2, 91), urgent], one()), pairs(&[(2, "anna")]));
}

#[test]
fn a_returning_customer_goes_to_the_same_operator_if_they_have_room() {
    let mut returning = waiting(1, 1);
    returning.last_operator = Some("anna".into());
    let desk = vec![candidate("anna", 4, 1), candidate("boris", 0, 5)];
    let made = assign(&[returning.clone()], desk, now());
    assert_eq!((&*made[0].operator, made[0].reason), ("anna", Reason::Returning));
    let full = vec![candidate("anna", 5, 0), candidate("boris", 0, 5)];
    let made = assign(&[returning], full, now());
    assert_eq!((&*made[0].operator, made[0].reason), ("boris", Reason::LeastBusy));
}

#[test]
fn who_lacks_a_skill_or_the_language_is_passed_over_and_the_next_conversation_is_not_held_up() {
    let mut english = waiting(1, 9);
    english.language = Some("en".into());
    let mut refund = waiting(2, 8);
    refund.skills = names(&["refunds"]);
    assert_eq!(given(&[english, refund, waiting(3, 1)], vec![candidate("anna", 0, 5)]), pairs(&[(3, "anna")]));
}

#[test]
fn a_channel_can_have_a_bound_of_its_own() {
    let mut mail = waiting(3, 1);
    mail.channel = Channel::Email;
    let mut anna = candidate("anna", 0, 5);
    anna.room_of_channel = [(Channel::Telegram, 1)].into();
    assert_eq!(given(&[waiting(1, 3), waiting(2, 2), mail], vec![anna]), pairs(&[(1, "anna"), (3, "anna")]));
}

fn any_waiting() -> impl Strategy<Value = Waiting> {
    let skills = prop::sample::subsequence(vec!["refunds", "delivery"], 0..=2);
    let language = prop::option::of(prop::sample::select(vec!["ru", "en"]));
    let last = prop::option::of(0_u32..6);
    let channel = prop::sample::select(Channel::ALL.to_vec());
    (any::<u128>(), 0_u8..=MAX_PRIORITY, 0_i64..200, skills, language, last, channel).prop_map(
        |(id, priority, minutes, skills, language, last, channel)| Waiting {
            priority,
            skills: names(&skills),
            language: language.map(Arc::from),
            last_operator: last.map(|number| format!("operator-{number}").into()),
            channel,
            ..waiting(id, minutes)
        },
    )
}

fn any_desk() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (
        prop::sample::subsequence(vec!["refunds", "delivery"], 0..=2),
        prop::sample::subsequence(vec!["ru", "en"], 1..=2),
        0_u32..4,
        0_u32..4,
        prop::collection::btree_map(prop::sample::select(Channel::ALL.to_vec()), 0_u32..3, 0..3),
        prop::option::of(0_i64..100),
    );
    prop::collection::vec(one, 0..6).prop_map(|all| {
        let made = |(number, (skills, languages, held, room, room_of_channel, minutes)): (usize, _)| {
            let (skills, languages): (Vec<&str>, Vec<&str>) = (skills, languages);
            let minutes: Option<i64> = minutes;
            Candidate {
                skills: names(&skills),
                languages: names(&languages),
                room_of_channel,
                last_given: minutes.map(|minutes| now() - Duration::minutes(minutes)),
                ..candidate(&format!("operator-{number}"), held, room)
            }
        };
        all.into_iter().enumerate().map(made).collect()
    })
}

proptest! {
    #[test]
    fn nobody_gets_more_than_they_have_room_for_or_what_they_cannot_do(
        queue in prop::collection::vec(any_waiting(), 0..20),
        desk in any_desk(),
    ) {
        let made = assign(&queue, desk.clone(), now());
        let mut left: BTreeMap<Arc<str>, Candidate> =
            desk.into_iter().map(|candidate| (Arc::clone(&candidate.operator), candidate)).collect();
        let mut seen = BTreeSet::new();
        for assignment in &made {
            prop_assert!(seen.insert(assignment.conversation), "each once");
            let waiting = queue.iter().find(|waiting| waiting.conversation == assignment.conversation).unwrap();
            let candidate = left.get_mut(&assignment.operator).unwrap();
            prop_assert!(candidate.can_take(waiting));
            candidate.take(waiting.channel, now());
        }
        // Whoever still waits could be taken by nobody who is left.
        for waiting in queue.iter().filter(|waiting| !seen.contains(&waiting.conversation)) {
            prop_assert!(left.values().all(|candidate| !candidate.can_take(waiting)));
        }
    }

    #[test]
    fn the_order_in_which_they_are_given_does_not_matter(
        queue in prop::collection::vec(any_waiting(), 0..12).prop_shuffle(),
        desk in any_desk(),
    ) {
        let made = assign(&queue, desk.clone(), now());
        let (backwards, others) = (queue.into_iter().rev().collect::<Vec<_>>(), desk.into_iter().rev().collect());
        prop_assert_eq!(made, assign(&backwards, others, now()));
    }
}
