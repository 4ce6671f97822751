//! What happens at the demo's shop: who writes what, what the operators do about it, and what must come of it.
//!
//! **Invariant:** the same seed, number of customers and time give the same story. Every delivery is counted where it is
//! written, so that what letopis made of it can be checked.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use encoding_rs::{KOI8_R, UTF_8, WINDOWS_1251};
use serde_json::json;

use super::catalogue::{Catalogue, Tongue, pick};
use super::doors::Delivery;
use super::fake_provider::Sent;
use super::people::{BLOCKED_CHAT, Customer, LIMITED_CHAT, Way};
use super::random::Random;
use mail::Letter;
use telegram::{GROUP, Updates, photo, user};
use webchat::Told;

mod acts;
mod mail;
mod telegram;
mod webchat;

/// How long ago the story begins, in minutes.
const BEGAN_MINUTES_AGO: i64 = 180;
/// Within how many minutes of it everybody has written first.
const FIRST_MINUTES: u64 = 120;

/// What belongs together: posted one after the other, beside other scenes.
pub(super) type Scene = Vec<Delivery>;

/// What an operator does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Answer(String),
    Note(String),
    Tag(&'static str),
    Assign,
    Snooze,
    Close,
    Reopen,
}

/// What the operators do about one conversation.
#[derive(Debug)]
pub(super) struct Task {
    /// The outside key of the conversation.
    pub(super) thread: String,
    pub(super) tongue: Tongue,
    pub(super) steps: Vec<Step>,
}

/// What must have come of the story.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    /// Messages of customers.
    pub(super) inbound: usize,
    pub(super) edits: usize,
    pub(super) reactions: usize,
    pub(super) activities: usize,
    /// Files of customers.
    pub(super) files: usize,
    /// Messages of operators.
    pub(super) outbound: usize,
    /// Of these: refused by the provider.
    pub(super) refused: usize,
    /// Of these: for visitors who have closed the page.
    pub(super) waiting: usize,
    /// Outside keys of conversations.
    pub(super) conversations: BTreeSet<String>,
    pub(super) people: usize,
    /// People with more than one contact point.
    pub(super) linked: usize,
    /// Deliveries that nobody understands.
    pub(super) unrecognised: usize,
}

/// The story.
pub(super) struct Story {
    catalogue: Catalogue,
    customers: Vec<Customer>,
    random: Random,
    updates: Updates,
    began: DateTime<Utc>,
    letters: usize,
    expected: Expected,
    tasks: Vec<Task>,
}

impl Story {
    /// A story of this many customers, told at `now`.
    ///
    /// # Errors
    /// The catalogue is malformed.
    pub(super) fn new(seed: u64, customers: usize, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let catalogue = Catalogue::load()?;
        let mut random = Random::new(seed);
        let customers = (0..customers)
            .map(|number| {
                let mut customer = Customer::invent(number, &catalogue, &mut random);
                customer.telegram += match (customer.way, customer.ordinal % 12) {
                    (Way::Telegram, 6) => BLOCKED_CHAT,
                    (Way::Telegram, 7) => LIMITED_CHAT,
                    _ => 0,
                };
                customer
            })
            .collect();
        Ok(Self {
            catalogue,
            customers,
            random,
            updates: Updates::default(),
            began: now - TimeDelta::minutes(BEGAN_MINUTES_AGO),
            letters: 0,
            expected: Expected::default(),
            tasks: Vec::new(),
        })
    }

    /// The shop and its texts.
    pub(super) const fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What must have come of all that was told so far.
    pub(super) const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// What the operators do after the first act.
    pub(super) fn tasks(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.tasks)
    }

    /// One more message of some customer, now.
    pub(super) fn next_message(&mut self, now: DateTime<Utc>) -> Delivery {
        let number = usize::try_from(self.random.next()).unwrap_or_default() % self.customers.len();
        // Of five customers in a row three use Telegram, the first among them.
        let customer = &self.customers[number - number % 5];
        let text = customer.say(&customer.words(&self.catalogue).later, &mut self.random);
        self.updates.message(customer, now, &json!({ "text": text })).1
    }

    fn begin(&mut self) -> DateTime<Utc> {
        let minutes = i64::try_from(self.random.below(FIRST_MINUTES * 60)).unwrap_or_default();
        self.began + TimeDelta::seconds(minutes)
    }

    fn expect_conversation(&mut self, key: impl Into<String>) {
        self.expected.conversations.insert(key.into());
    }

    fn ask(&mut self, thread: impl Into<String>, tongue: Tongue, steps: Vec<Step>) {
        self.expected.outbound += steps.iter().filter(|step| matches!(step, Step::Answer(_))).count();
        self.tasks.push(Task { thread: thread.into(), tongue, steps });
    }

    fn answer(&mut self, customer: &Customer) -> Step {
        Step::Answer(customer.say(&customer.words(&self.catalogue).answers, &mut self.random))
    }

    fn note(&mut self, customer: &Customer) -> Step {
        Step::Note(customer.say(&customer.words(&self.catalogue).notes, &mut self.random))
    }

    /// A mail of a customer. It opens a conversation of its own unless it answers.
    fn letter(&mut self, from: &Customer, at: DateTime<Utc>) -> Letter {
        self.letters += 1;
        let words = from.words(&self.catalogue);
        Letter {
            id: format!("demo.{}.{}@{}", from.number, self.letters, from.email.rsplit('@').next().unwrap_or_default()),
            from: from.clone(),
            to: self.catalogue.shop.mailbox.clone(),
            at,
            subject: from.say(&words.subjects, &mut self.random),
            text: from.say(&words.mails, &mut self.random),
            charset: UTF_8,
            header: String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
