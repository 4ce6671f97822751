//! How far the log has come, for those who wait: in all, and category by category.
//!
//! **Invariant:** a head never moves back and never runs ahead of what is committed. Once a commit is published, no head
//! of a category is behind the last event of that category; it may be beyond it.
//!
//! Most commits are of one category, and most followers wait for another one: they are not woken for each of them. Once in
//! a while they are, so that they keep up with what is in memory ([`super::tail`]) and need not look through the file when
//! something comes for them.

use tokio::sync::watch;

use super::queue::{Answer, Request};
use super::schema::category_number;
use crate::envelope::{Category, Position};
use crate::log::Filter;

/// A head of a category lags behind that of all by fewer events than this, which memory keeps also when
/// their payloads are large.
const FARTHEST_BEHIND: u64 = 1_024;

/// Says how far the log has come.
pub(super) struct Heads {
    all: watch::Sender<Position>,
    categories: Vec<(Category, watch::Sender<Position>)>,
}

/// Where those who wait listen.
#[derive(Clone)]
pub(super) struct HeadsSeen {
    all: watch::Receiver<Position>,
    /// Empty when another process writes: it tells how far the log has come, not in which category.
    categories: Vec<(Category, watch::Receiver<Position>)>,
}

impl Heads {
    /// At the beginning of a log.
    pub(super) fn new() -> (Self, HeadsSeen) {
        let (all, seen) = watch::channel(Position::START);
        let categories: Vec<_> = Category::ALL.map(|category| (category, watch::Sender::new(Position::START))).into();
        let receivers = categories.iter().map(|(category, head)| (*category, head.subscribe())).collect();
        (Self { all, categories }, HeadsSeen { all: seen, categories: receivers })
    }

    /// The log was opened and ends here.
    pub(super) fn all_reach(&self, head: Position) {
        self.categories.iter().for_each(|(_, of)| advance(of, head));
        advance(&self.all, head);
    }

    /// The last positions that a committed group wrote, by category.
    pub(super) fn reached_by(&self, group: &[Request], answers: &[Answer]) -> [Position; Category::ALL.len()] {
        let mut reached = [Position::START; Category::ALL.len()];
        for (request, answer) in group.iter().zip(answers) {
            if let Ok(appended) = answer
                && !appended.repeated
            {
                let at = &mut reached[index(request.append.stream.category)];
                *at = appended.position.max(*at);
            }
        }
        reached
    }

    /// A group was committed.
    pub(super) fn publish(&self, reached: [Position; Category::ALL.len()]) {
        let end = reached.into_iter().max().unwrap_or(Position::START);
        for (category, head) in &self.categories {
            let behind = end.0.saturating_sub(head.borrow().0);
            advance(head, if behind > FARTHEST_BEHIND { end } else { reached[index(*category)] });
        }
        advance(&self.all, end);
    }
}

impl HeadsSeen {
    /// The head of a log that another process writes.
    pub(super) const fn of_other_process(all: watch::Receiver<Position>) -> Self {
        Self { all, categories: Vec::new() }
    }

    /// The head that whoever wants these events has to watch.
    pub(super) fn of(&self, filter: &Filter) -> watch::Receiver<Position> {
        let only = match filter.categories.as_slice() {
            [category] => self.categories.iter().find(|(of, _)| of == category),
            _ => None,
        };
        only.map_or_else(|| self.all.clone(), |(_, head)| head.clone())
    }
}

fn advance(head: &watch::Sender<Position>, to: Position) {
    head.send_if_modified(|at| {
        let moved = to > *at;
        *at = to.max(*at);
        moved
    });
}

fn index(category: Category) -> usize {
    // Numbers are from 1, one for each category.
    usize::try_from(category_number(category) - 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(category: Category, position: u64) -> [Position; Category::ALL.len()] {
        let mut reached = [Position::START; Category::ALL.len()];
        reached[index(category)] = Position(position);
        reached
    }

    #[test]
    fn a_follower_of_one_category_is_woken_for_its_events_and_before_it_falls_far_behind() {
        let (heads, seen) = Heads::new();
        let of = |categories: &[Category]| seen.of(&Filter { categories: categories.to_vec() });
        let (mut account, mut two, mut all) =
            (of(&[Category::Account]), of(&[Category::Account, Category::Intake]), of(&[]));
        heads.publish(at(Category::Intake, 1));
        assert!(!account.has_changed().unwrap());
        assert!(two.has_changed().unwrap() && all.has_changed().unwrap());
        heads.publish(at(Category::Account, 2));
        assert_eq!(*account.borrow_and_update(), Position(2));
        assert_eq!((*two.borrow_and_update(), *all.borrow_and_update()), (Position(2), Position(2)));
        heads.publish(at(Category::Intake, 2 + FARTHEST_BEHIND));
        assert!(!account.has_changed().unwrap());
        heads.publish(at(Category::Intake, 3 + FARTHEST_BEHIND));
        assert_eq!(*account.borrow_and_update(), Position(3 + FARTHEST_BEHIND));
    }
}
