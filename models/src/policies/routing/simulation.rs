//! A day at a desk of fifty: shifts, bursts, operators who vanish.
//!
//! **Invariant:** the same seed gives the same day. The desk keeps its own account of who is there and what they hold; the
//! policy is shown what a reactor would know, and every assignment is checked against that account.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares of small numbers")]

use uuid::Uuid;

use super::*;

const SEED: u64 = 0x6c65_746f_7069_7301;
const OPERATORS: usize = 50;
const DAY_SECONDS: i64 = 24 * 3600;
/// Customers who write in a usual second by day; a tenth of it by night, sixfold in a burst.
const ARRIVALS: f64 = 0.09;
/// Most conversations of an operator at a time.
const ROOM: u32 = 4;

/// `SplitMix64` (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Seconds of an exponential distribution with this mean.
    fn about(&mut self, mean: f64) -> i64 {
        (-self.share().max(1e-12).ln() * mean).ceil() as i64
    }
}

/// An operator as they are, whatever anybody knows.
struct Operator {
    candidate: Candidate,
    shift: std::ops::Range<i64>,
    /// Gone until then, without a word.
    vanished_until: i64,
    /// What they work on, and when they will be done with it.
    holds: Vec<(Waiting, i64)>,
}

impl Operator {
    fn is_there(&self, second: i64) -> bool {
        self.shift.contains(&second) && second >= self.vanished_until
    }
}

#[derive(Default)]
struct Day {
    /// Seconds until somebody had it, by priority.
    waited: BTreeMap<u8, Vec<i64>>,
    returned_to_own: usize,
    taken_back: usize,
    arrived: usize,
}

fn operators(random: &mut Random) -> Vec<Operator> {
    let shift = |number: usize| match number % 5 {
        0 => 0..8 * 3600,
        1 | 2 => 8 * 3600..16 * 3600,
        3 => 12 * 3600..20 * 3600,
        _ => 16 * 3600..DAY_SECONDS,
    };
    (0..OPERATORS)
        .map(|number| {
            // Each shift has one who can do everything.
            let skilled = random.share() < 0.3 || number < 5;
            let english = random.share() < 0.3 || number < 5;
            let names = |all: Vec<&str>| all.into_iter().map(Arc::from).collect();
            Operator {
                candidate: Candidate {
                    operator: format!("operator-{number:02}").into(),
                    skills: names(if skilled { vec!["refunds"] } else { vec![] }),
                    languages: names(if english { vec!["ru", "en"] } else { vec!["ru"] }),
                    held: 0,
                    room: ROOM,
                    room_of_channel: BTreeMap::new(),
                    last_given: None,
                },
                shift: shift(number),
                vanished_until: 0,
                holds: Vec::new(),
            }
        })
        .collect()
}

fn customer(random: &mut Random, number: usize, now: DateTime<Utc>) -> Waiting {
    let refund = random.share() < 0.1;
    let english = random.share() < 0.1;
    let returning = random.share() < 0.2;
    Waiting {
        conversation: ConversationId::new(Uuid::from_u128(number as u128)),
        channel: Channel::ALL[random.below(Channel::ALL.len() as u64) as usize],
        priority: if random.share() < 0.15 { 5 } else { random.below(2) as u8 },
        since: now,
        skills: refund.then(|| Arc::from("refunds")).into_iter().collect(),
        language: english.then(|| Arc::from("en")),
        last_operator: returning.then(|| format!("operator-{:02}", random.below(OPERATORS as u64)).into()),
    }
}

/// Two hours after the day nobody new writes, so that what still waits is worked off.
fn simulate(seed: u64) -> Day {
    let (mut random, begin) = (Random(seed), events::testing::sample_time());
    let (mut desk, mut queue, mut day) = (operators(&mut random), Vec::<Waiting>::new(), Day::default());
    let bursts: Vec<i64> = (0..6).map(|_| random.below(DAY_SECONDS as u64) as i64).collect();
    for operator in desk.iter_mut().filter(|operator| operator.shift.end == DAY_SECONDS) {
        operator.shift.end += 2 * 3600;
    }
    for second in 0..DAY_SECONDS + 2 * 3600 {
        let now = begin + Duration::seconds(second);
        let burst = bursts.iter().any(|begins| (*begins..begins + 900).contains(&second));
        let by_day = (8 * 3600..22 * 3600).contains(&second);
        let rate = ARRIVALS * if burst { 6.0 } else { 1.0 } * if by_day { 1.0 } else { 0.1 };
        if second < DAY_SECONDS && random.share() < rate {
            day.arrived += 1;
            queue.push(customer(&mut random, day.arrived, now));
        }
        for operator in &mut desk {
            operator.holds.retain(|(_, done)| *done > second);
            if operator.is_there(second) && random.share() < 0.000_05 {
                operator.vanished_until = second + 60 + random.about(1200.0);
            }
            if !operator.is_there(second) {
                // What they held goes back, as old as it is.
                let held = std::mem::take(&mut operator.holds);
                day.taken_back += held.len();
                queue.extend(held.into_iter().map(|(waiting, _)| waiting));
            }
        }
        if queue.is_empty() {
            continue;
        }
        let known = desk.iter().filter(|operator| operator.is_there(second)).map(|operator| {
            let held = u32::try_from(operator.holds.len()).unwrap();
            Candidate { held, room: ROOM - held, ..operator.candidate.clone() }
        });
        for made in assign(&queue, known.collect(), now) {
            let place = queue.iter().position(|waiting| waiting.conversation == made.conversation);
            let waiting = queue.swap_remove(place.expect("it waits"));
            let operator = desk.iter_mut().find(|operator| operator.candidate.operator == made.operator).unwrap();
            assert!(operator.is_there(second), "{} is absent", made.operator);
            assert!(operator.holds.len() < ROOM as usize, "{} is full", made.operator);
            assert!(waiting.skills.is_subset(&operator.candidate.skills), "{} cannot do it", made.operator);
            operator.candidate.last_given = Some(now);
            day.waited.entry(waiting.priority).or_default().push((now - waiting.since).num_seconds());
            day.returned_to_own += usize::from(made.reason == Reason::Returning);
            operator.holds.push((waiting, second + random.about(420.0)));
        }
    }
    assert!(queue.is_empty(), "{} still wait after two quiet hours", queue.len());
    day
}

fn percentile(sorted: &[i64], share: f64) -> i64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

#[test]
fn a_day_of_fifty_operators_starves_nobody_and_gives_nothing_to_the_absent() {
    let mut day = simulate(SEED);
    println!(
        "{} conversations, {} taken back from those who left, {} to their own operator",
        day.arrived, day.taken_back, day.returned_to_own
    );
    let mut longest = BTreeMap::new();
    for (priority, waited) in &mut day.waited {
        waited.sort_unstable();
        let [half, most, nearly_all] = [0.5, 0.9, 0.99].map(|share| percentile(waited, share));
        let last = percentile(waited, 1.0);
        println!("priority {priority}: {} given, waited {half} s, {most} s, {nearly_all} s, {last} s", waited.len());
        longest.insert(*priority, last);
    }
    assert!(day.arrived > 4_000, "{}", day.arrived);
    assert!(day.taken_back > 0 && day.returned_to_own > 0, "the day has something of everything");
    // Ten steps of waiting put the lowest before whatever comes then; what comes before is worked off by then.
    let bound = AGES_EVERY.num_seconds() * i64::from(MAX_PRIORITY + 1);
    assert!(longest.values().all(|longest| *longest <= bound), "{longest:?}");
}

#[test]
fn other_days_are_no_worse() {
    for seed in 1..=5 {
        let day = simulate(SEED ^ seed);
        assert_eq!(day.waited.values().map(Vec::len).sum::<usize>(), day.arrived + day.taken_back);
    }
}
