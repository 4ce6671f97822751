//! Clocks of service: how long a customer has waited, as the promise to them counts.
//!
//! Three kinds. **First response** runs from the first thing that a customer wrote to the first answer. **Next response**
//! runs from the first thing that they wrote after an answer to the next answer. **Resolution** runs from the first thing
//! that they wrote to the end; it rests while the customer is to answer, and while the conversation was closed before it
//! was opened again. The end of an episode ends them all: whoever closes says that nothing is owed any more.
//!
//! **Invariant:** pure: the same changes and the same instant give the same clocks, so that they need not be stored and are
//! right after a reopening, or a change of priority, calendar or promise. Time is counted by the hours that were in force
//! when it passed, towards the target that is in force now (or was at the end).

use chrono::{DateTime, Duration, Utc};
use events::service_level::ClockKind;

use crate::calendar::Hours;

mod governing;
mod states;

pub use governing::{Histories, changes};
pub use states::{StateTime, TimedState, time_in_states};

/// Something that matters to clocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub what: What,
}

/// What matters to clocks.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A customer wrote, or was put into a queue: somebody owes them an answer.
    Asked,
    /// Somebody answered them.
    Answered,
    /// The episode ended.
    Closed,
    /// A further episode began.
    Reopened,
    /// These rules hold from here on; none when nothing is promised.
    Governed(Option<Box<Rules>>),
}

/// The rules by which clocks count.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Whose working time counts.
    pub hours: Hours,
    /// Until the first answer.
    pub first_response: Option<Duration>,
    /// Until each further answer.
    pub next_response: Option<Duration>,
    /// Until the end.
    pub resolution: Option<Duration>,
    /// How much working time before its end a clock warns.
    pub warn_before: Duration,
}

impl Rules {
    const fn target(&self, kind: ClockKind) -> Option<Duration> {
        match kind {
            ClockKind::FirstResponse => self.first_response,
            ClockKind::NextResponse => self.next_response,
            ClockKind::Resolution => self.resolution,
        }
    }
}

/// How a clock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockState {
    /// It runs.
    Running,
    /// It rests.
    Paused,
    /// What it counts to came in time.
    Met,
    /// What it counts to came too late, or has not come and is late.
    Missed,
}

/// Why a clock rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The customer is to answer.
    WaitingForCustomer,
    /// The conversation is closed.
    Closed,
}

/// A stretch of time of a clock, in which nothing changed that matters to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its beginning.
    pub from: DateTime<Utc>,
    /// Its end.
    pub to: DateTime<Utc>,
    /// How much of it counted.
    pub counted: Duration,
    /// Why none of it counted, when the clock rested.
    pub pause: Option<Pause>,
    /// The target by the rules of then.
    pub target: Option<Duration>,
}

/// A clock at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// What it counts to.
    pub kind: ClockKind,
    /// Since when: this tells it from others of its kind.
    pub started_at: DateTime<Utc>,
    /// When what it counts to came.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it stands.
    pub state: ClockState,
    /// How much working time is promised.
    pub target: Duration,
    /// How much has passed.
    pub elapsed: Duration,
    /// When it warns or warned; `None` while it rests, or when that is years ahead.
    pub warns_at: Option<DateTime<Utc>>,
    /// When it runs out or ran out; `None` while it rests and was not late before, or when that is years ahead.
    pub due: Option<DateTime<Utc>>,
    /// How the time came about.
    pub steps: Vec<Step>,
}

/// A clock while the changes are gone through.
struct Run {
    kind: ClockKind,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// From when on it runs, or why it rests.
    spells: Vec<(DateTime<Utc>, Option<Pause>)>,
}

impl Run {
    fn new(kind: ClockKind, at: DateTime<Utc>) -> Self {
        Self { kind, started_at: at, ended_at: None, spells: vec![(at, None)] }
    }

    fn is(&mut self, at: DateTime<Utc>, pause: Option<Pause>) {
        if self.ended_at.is_none() && self.spells.last().is_some_and(|(_, before)| *before != pause) {
            self.spells.push((at, pause));
        }
    }

    fn end(&mut self, at: DateTime<Utc>) {
        self.ended_at.get_or_insert(at);
    }
}

/// The clocks of a conversation at an instant, in the order in which they began: those to which something is promised.
#[must_use]
pub fn clocks(changes: &[Change], now: DateTime<Utc>) -> Vec<Clock> {
    let seen: Vec<&Change> = changes.iter().filter(|change| change.at <= now).collect();
    let governing: Vec<(DateTime<Utc>, Option<&Rules>)> = seen
        .iter()
        .filter_map(|change| match &change.what {
            What::Governed(rules) => Some((change.at, rules.as_deref())),
            What::Asked | What::Answered | What::Closed | What::Reopened => None,
        })
        .collect();
    runs(&seen).into_iter().filter_map(|run| counted(&run, &governing, now)).collect()
}

fn runs(changes: &[&Change]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    // Places of the clock that counts to an answer now, and of the one that counts to the end.
    let (mut response, mut resolution) = (None::<usize>, None::<usize>);
    for change in changes {
        let at = change.at;
        match &change.what {
            What::Asked => {
                if response.is_none() {
                    let kind = if runs.is_empty() { ClockKind::FirstResponse } else { ClockKind::NextResponse };
                    response = Some(runs.len());
                    runs.push(Run::new(kind, at));
                }
                match resolution {
                    None => {
                        resolution = Some(runs.len());
                        runs.push(Run::new(ClockKind::Resolution, at));
                    }
                    Some(place) => runs[place].is(at, None),
                }
            }
            What::Answered => {
                if let Some(place) = response.take() {
                    runs[place].end(at);
                }
                if let Some(place) = resolution {
                    runs[place].is(at, Some(Pause::WaitingForCustomer));
                }
            }
            // Whoever ends it says that nothing is owed any more.
            What::Closed => {
                for place in [response.take(), resolution].into_iter().flatten() {
                    runs[place].end(at);
                }
            }
            What::Reopened => {
                if let Some(run) = resolution.and_then(|place| runs.get_mut(place)) {
                    if let Some(ended) = run.ended_at.take() {
                        run.is(ended, Some(Pause::Closed));
                    }
                    run.is(at, Some(Pause::WaitingForCustomer));
                }
            }
            What::Governed(_) => {}
        }
    }
    runs
}

/// Counts a clock; `None` when nothing is promised to it.
fn counted(run: &Run, governing: &[(DateTime<Utc>, Option<&Rules>)], now: DateTime<Utc>) -> Option<Clock> {
    let end = run.ended_at.unwrap_or(now);
    let at_end = governing.iter().rev().find(|(at, _)| *at <= end).and_then(|(_, rules)| *rules);
    let target = at_end.and_then(|rules| rules.target(run.kind))?;
    let steps = steps(run, governing, end);
    let elapsed = steps.iter().map(|step| step.counted).sum();
    let pause = run.spells.last().and_then(|(_, pause)| *pause);
    let reaches = |wanted: Duration| {
        let mut left = wanted;
        for step in &steps {
            if step.pause.is_none() && step.counted >= left {
                return hours_at(governing, step.from).and_then(|hours| hours.after(step.from, left));
            }
            left -= step.counted;
        }
        // It goes on by the rules of now.
        let runs = run.ended_at.is_none() && pause.is_none();
        if runs { hours_at(governing, end).and_then(|hours| hours.after(end, left)) } else { None }
    };
    let late = elapsed > target || (run.ended_at.is_none() && elapsed >= target);
    let state = match (late, run.ended_at, pause) {
        (true, ..) => ClockState::Missed,
        (false, Some(_), _) => ClockState::Met,
        (false, None, Some(_)) => ClockState::Paused,
        (false, None, None) => ClockState::Running,
    };
    let warn_before = at_end.map_or(Duration::zero(), |rules| rules.warn_before);
    Some(Clock {
        kind: run.kind,
        started_at: run.started_at,
        ended_at: run.ended_at,
        state,
        target,
        elapsed,
        warns_at: reaches((target - warn_before).max(Duration::zero())),
        due: reaches(target),
        steps,
    })
}

fn steps(run: &Run, governing: &[(DateTime<Utc>, Option<&Rules>)], end: DateTime<Utc>) -> Vec<Step> {
    let mut bounds: Vec<DateTime<Utc>> = run.spells.iter().map(|(at, _)| *at).collect();
    bounds.extend(governing.iter().map(|(at, _)| *at).filter(|at| *at > run.started_at));
    bounds.retain(|at| *at < end);
    bounds.push(end);
    bounds.sort_unstable();
    bounds.dedup();
    let step = |(from, to): (DateTime<Utc>, DateTime<Utc>)| {
        let pause = run.spells.iter().rev().find(|(at, _)| *at <= from).and_then(|(_, pause)| *pause);
        let counted = match (pause, hours_at(governing, from)) {
            (None, Some(hours)) => hours.between(from, to),
            (Some(_), _) | (None, None) => Duration::zero(),
        };
        let rules = governing.iter().rev().find(|(at, _)| *at <= from).and_then(|(_, rules)| *rules);
        Step { from, to, counted, pause, target: rules.and_then(|rules| rules.target(run.kind)) }
    };
    bounds.iter().copied().zip(bounds.iter().copied().skip(1)).map(step).collect()
}

/// The hours in force at an instant: while nothing is promised, those of the promise that follows, else of the last one.
fn hours_at<'a>(governing: &[(DateTime<Utc>, Option<&'a Rules>)], at: DateTime<Utc>) -> Option<&'a Hours> {
    let (before, after) = governing.split_at(governing.partition_point(|(from, _)| *from <= at));
    let in_force = before.last().and_then(|(_, rules)| *rules);
    let following = || after.iter().find_map(|(_, rules)| *rules);
    let last = || before.iter().rev().find_map(|(_, rules)| *rules);
    in_force.or_else(following).or_else(last).map(|rules| &rules.hours)
}

#[cfg(test)]
mod tests;
