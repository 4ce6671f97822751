//! How unevenly conversations load partitions, and partitions load the processes that share them: the figures of
//! `docs/scaling.md`.
//!
//! **Invariant:** it depends on nothing but its seeds and the layout's own hash, so it prints the same everywhere; a test
//! compares the page with what it prints.
//!
//! Load is expected load, no sample: conversations weigh as Zipf says, ids are drawn by seed. A message is two events of its
//! intake stream and one of its conversation; other topics have partitions and, in comparison, no load.
//!
//! `cargo run -p events --example partition-skew`

use std::fmt::Write as _;
use std::io::Write as _;

use events::envelope::{Category, StreamName};
use events::feed::Topics;
use events::ids::TenantId;
use uuid::Uuid;

const CONVERSATIONS: u32 = 50_000;
/// Exponent of Zipf's law: the n-th busiest conversation has a share in proportion to n to the power of minus this.
const ZIPF: f64 = 1.05;
/// Share of one more conversation, which is hot.
const HOT: f64 = 0.05;
/// Each seed is another set of ids.
const SEEDS: u64 = 51;
const PARTITIONS: [u32; 4] = [6, 12, 24, 48];
const CONSUMERS: std::ops::RangeInclusive<usize> = 2..=6;
/// Partitions of each topic that is neither intake nor conversation.
const OTHERS: u32 = 6;

/// Numbers that follow from a seed.
///
/// **Source:** `SplitMix64`, Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }

    fn below(&mut self, end: usize) -> usize {
        let drawn = self.next() % u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(drawn).unwrap_or_default()
    }
}

/// Share of each conversation in all messages, the hot one last.
fn shares(zipf: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=CONVERSATIONS).map(|rank| f64::from(rank).powf(-zipf)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum * (1.0 - HOT)).chain([HOT]).collect()
}

/// The most partitions that a topic gets here; the other numbers divide it.
const MOST: u32 = 48;

/// In which of [`MOST`] partitions the streams of each conversation are. In which of fewer they are follows: what the
/// hash leaves over from 48 leaves over from 24 what the hash does.
struct Places {
    intake: Vec<u32>,
    conversation: Vec<u32>,
}

impl Places {
    fn new(seed: u64) -> Self {
        let topics = Topics::new("letopis", |_| MOST).expect("the number is in range");
        let tenant: TenantId = "acme".parse().expect("a name of a tenant");
        let mut random = Random(seed);
        let mut of = |category| -> Vec<u32> {
            // One more: the hot one.
            let ids = (0..=CONVERSATIONS).map(|_| StreamName::new(category, tenant.clone(), random.id()));
            ids.map(|stream| topics.partition_of(&stream)).collect()
        };
        Self { intake: of(Category::Intake), conversation: of(Category::Conversation) }
    }
}

/// The partitions of all topics with the load of each, in the order of topics and numbers.
struct Feed {
    loads: Vec<(Category, f64)>,
}

impl Feed {
    fn new(partitions: u32, shares: &[f64], places: &Places) -> Self {
        let mut loads = Vec::new();
        for category in Category::ALL {
            let (count, events_a_message, places): (u32, f64, &[u32]) = match category {
                Category::Intake => (partitions, 2.0, &places.intake),
                Category::Conversation => (partitions, 1.0, &places.conversation),
                Category::Account
                | Category::Contact
                | Category::Profile
                | Category::Link
                | Category::Operator
                | Category::Case => (OTHERS, 0.0, &[]),
                Category::Calendar
                | Category::Queue
                | Category::CaseType
                | Category::CaseRegister
                | Category::ServiceLevel => (1, 0.0, &[]),
            };
            let mut own = vec![0.0; usize::try_from(count).expect("a small number")];
            for (share, place) in shares.iter().zip(places) {
                own[usize::try_from(place % count).expect("a small number")] += share * events_a_message;
            }
            loads.extend(own.into_iter().map(|load| (category, load)));
        }
        Self { loads }
    }

    /// The busiest partition of the conversations over their mean.
    fn skew(&self) -> f64 {
        let own = self.loads.iter().filter(|(category, _)| *category == Category::Conversation);
        peak(&own.map(|(_, load)| *load).collect::<Vec<f64>>())
    }
}

/// The largest over the mean.
fn peak(loads: &[f64]) -> f64 {
    let count = f64::from(u32::try_from(loads.len()).expect("a small number"));
    loads.iter().copied().fold(0.0, f64::max) * count / loads.iter().sum::<f64>()
}

/// The owner of each partition after members came one by one, as cooperative-sticky shares: counts differ by one at most,
/// over all topics together, and what need not move stays.
///
/// Which partition a member gives away is not promised; here it is drawn.
///
/// **Source:** javadoc of Apache Kafka's `StickyAssignor`, of which librdkafka's is a copy.
fn grown(partitions: usize, members: usize, random: &mut Random) -> Vec<usize> {
    let mut owners = vec![0; partitions];
    let mut counts = vec![partitions];
    for joining in 1..members {
        counts.push(0);
        loop {
            let (giver, most) = counts.iter().copied().enumerate().max_by_key(|(_, count)| *count).unwrap_or_default();
            if most <= counts[joining] + 1 {
                break;
            }
            let of_giver: Vec<usize> = (0..partitions).filter(|at| owners[*at] == giver).collect();
            owners[of_giver[random.below(of_giver.len())]] = joining;
            counts[giver] -= 1;
            counts[joining] += 1;
        }
    }
    owners
}

/// The owner of each partition where all members are there from the beginning: dealt out one by one in order.
fn dealt(partitions: usize, members: usize) -> Vec<usize> {
    (0..partitions).map(|at| at % members).collect()
}

/// What each member has to do.
fn burdens(feed: &Feed, owners: &[usize], members: usize) -> Vec<f64> {
    let mut burdens = vec![0.0; members];
    for ((_, load), owner) in feed.loads.iter().zip(owners) {
        burdens[*owner] += load;
    }
    burdens
}

/// The fewest and most partitions of the conversations that a member has.
fn spread(feed: &Feed, owners: &[usize], members: usize) -> (usize, usize) {
    let mut counts = vec![0; members];
    for ((category, _), owner) in feed.loads.iter().zip(owners) {
        counts[*owner] += usize::from(*category == Category::Conversation);
    }
    (counts.iter().copied().min().unwrap_or_default(), counts.iter().copied().max().unwrap_or_default())
}

/// Median and worst.
fn summary(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    format!("{:.2} ({:.2})", figures[figures.len() / 2], figures.last().copied().unwrap_or_default())
}

/// The tables.
fn report() -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let shares = shares(ZIPF);
    let largest = shares.iter().copied().fold(0.0, f64::max);
    writeln!(
        out,
        "{CONVERSATIONS} conversations by Zipf {ZIPF}, one more with {:.0} %; {SEEDS} sets of ids.",
        HOT * 100.0
    )?;
    writeln!(out, "The busiest conversation has {:.1} % of all messages.\n", largest * 100.0)?;

    writeln!(out, "Busiest partition of the conversations over the mean, median (worst) of the sets:\n")?;
    writeln!(out, "| partitions | no conversation busier than others | as above | its busiest conversation alone |")?;
    writeln!(out, "|---|---|---|---|")?;
    let even = vec![1.0 / f64::from(CONVERSATIONS); usize::try_from(CONVERSATIONS).expect("a small number")];
    let places: Vec<Places> = (0..SEEDS).map(Places::new).collect();
    let feeds = |partitions, shares: &[f64]| -> Vec<Feed> {
        places.iter().map(|places| Feed::new(partitions, shares, places)).collect()
    };
    let mut skewed = Vec::new();
    for partitions in PARTITIONS {
        let (flat, own) = (feeds(partitions, &even), feeds(partitions, &shares));
        let skews = |feeds: &[Feed]| summary(feeds.iter().map(Feed::skew).collect());
        let alone = largest * f64::from(partitions);
        writeln!(out, "| {partitions} | {} | {} | {alone:.2} |", skews(&flat), skews(&own))?;
        skewed.push((partitions, own));
    }

    for (title, is_grown) in [("came one by one", true), ("were there from the beginning", false)] {
        writeln!(out, "\nBusiest process over the mean, median (worst), where processes {title}:\n")?;
        writeln!(
            out,
            "| partitions | {} |",
            CONSUMERS.map(|n| format!("{n} processes")).collect::<Vec<_>>().join(" | ")
        )?;
        writeln!(out, "|---{}|", "|---".repeat(CONSUMERS.count()))?;
        for (partitions, feeds) in &skewed {
            let cells = CONSUMERS.map(|members| {
                let one = |(feed, seed): (&Feed, u64)| {
                    let count = feed.loads.len();
                    let owners =
                        if is_grown { grown(count, members, &mut Random(!seed)) } else { dealt(count, members) };
                    peak(&burdens(feed, &owners, members))
                };
                summary(feeds.iter().zip(0..SEEDS).map(one).collect())
            });
            writeln!(out, "| {partitions} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
        }
    }

    writeln!(
        out,
        "\nPartitions of the conversations that a process has, fewest to most over all sets of ids, where they came one by one:\n"
    )?;
    writeln!(out, "| partitions | {} |", CONSUMERS.map(|n| format!("{n} processes")).collect::<Vec<_>>().join(" | "))?;
    writeln!(out, "|---{}|", "|---".repeat(CONSUMERS.count()))?;
    for (partitions, feeds) in &skewed {
        let cells = CONSUMERS.map(|members| {
            let owners = |(feed, seed): (&Feed, u64)| {
                spread(feed, &grown(feed.loads.len(), members, &mut Random(!seed)), members)
            };
            let all: Vec<(usize, usize)> = feeds.iter().zip(0..SEEDS).map(owners).collect();
            let fewest = all.iter().map(|(fewest, _)| *fewest).min().unwrap_or_default();
            let most = all.iter().map(|(_, most)| *most).max().unwrap_or_default();
            let mean = f64::from(*partitions) / f64::from(u32::try_from(members).expect("a small number"));
            format!("{fewest}–{most} (mean {mean:.1})")
        });
        writeln!(out, "| {partitions} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
    }
    Ok(out)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(std::io::stdout().write_all(report()?.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_quotes_what_this_prints() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scaling.md")).unwrap();
        let quoted =
            page.split("<!-- skew: begin -->\n").nth(1).and_then(|rest| rest.split("<!-- skew: end -->").next());
        assert_eq!(quoted.unwrap_or("no marks").trim(), report().unwrap().trim());
    }

    #[test]
    fn counts_differ_by_one_at_most_however_a_group_grew() {
        for members in 1..8 {
            for owners in [grown(44, members, &mut Random(1)), dealt(44, members)] {
                let counts: Vec<usize> =
                    (0..members).map(|one| owners.iter().filter(|own| **own == one).count()).collect();
                assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
            }
        }
    }

    #[test]
    fn all_load_is_in_the_partitions_that_the_layout_names() {
        let (shares, places) = (shares(ZIPF), Places::new(1));
        for partitions in PARTITIONS {
            assert_eq!(MOST % partitions, 0);
            let feed = Feed::new(partitions, &shares, &places);
            let sum: f64 = feed.loads.iter().map(|(_, load)| load).sum();
            assert!((sum - 3.0).abs() < 1e-9, "{sum}");
        }
        let topics = Topics::new("letopis", |_| 6).unwrap();
        let mut random = Random(1);
        for place in places.intake.iter().take(100) {
            let stream = StreamName::new(Category::Intake, "acme".parse().unwrap(), random.id());
            assert_eq!(place % 6, topics.partition_of(&stream));
        }
    }
}
