//! The customers of the demo: invented people, each with a channel.
//!
//! **Invariant:** nobody real can be written to. Telegram ids lie far above those given out; mail addresses are at
//! example.com and example.net (RFC 2606); phone numbers are 555-0100 to 555-0199 of
//! American area codes, which are given to nobody.

use super::catalogue::{Catalogue, Tongue, Words, pick};
use super::random::Random;

/// Where Telegram ids of customers begin. **Source:** ids given out in 2026 are below 10^10; a Bot API id has up to 52
/// significant bits.
const TELEGRAM_IDS: i64 = 700_000_000_000;
/// Telegram ids of customers are this far from each other, so that the last digits can mean something.
const TELEGRAM_STEP: i64 = 1_000;
/// The last digits of the id of a chat whose customer blocked the bot.
pub(super) const BLOCKED_CHAT: i64 = 403;
/// The last digits of the id of a chat that Telegram limits once.
pub(super) const LIMITED_CHAT: i64 = 429;
/// Area codes of fictional numbers.
const AREAS: [u16; 10] = [202, 212, 213, 305, 312, 404, 415, 503, 617, 702];
/// Fictional numbers of an area code, from 555-0100 on. **Source:** NANPA, "555 line numbers": 0100 to 0199 of each area
/// code are for fiction.
const PHONES_OF_AREA: usize = 100;

/// How a customer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Telegram,
    Webchat,
    Email,
}

/// One customer.
#[derive(Debug, Clone)]
pub(super) struct Customer {
    pub(super) number: usize,
    /// The number among those who write in the same way.
    pub(super) ordinal: usize,
    pub(super) tongue: Tongue,
    pub(super) way: Way,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) telegram: i64,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) item: String,
    pub(super) town: String,
    pub(super) order: u64,
}

impl Customer {
    /// Makes the customer with this number up.
    pub(super) fn invent(number: usize, catalogue: &Catalogue, random: &mut Random) -> Self {
        let (way, ordinal) = match number % 5 {
            telegram @ 0..=2 => (Way::Telegram, number / 5 * 3 + telegram),
            3 => (Way::Webchat, number / 5),
            _ => (Way::Email, number / 5),
        };
        let drawn = if random.below(5) < 3 { Tongue::Russian } else { Tongue::English };
        // Old Russian charsets are for Russian texts.
        let tongue = if way == Way::Email && matches!(ordinal % 4, 1 | 2) { Tongue::Russian } else { drawn };
        let words = catalogue.words(tongue);
        let (first, last) =
            if random.one_in(2) { (&words.women, &words.women_last) } else { (&words.men, &words.men_last) };
        let host = if random.one_in(2) { "example.com" } else { "example.net" };
        Self {
            number,
            ordinal,
            tongue,
            way,
            first_name: pick(first, random).to_owned(),
            last_name: pick(last, random).to_owned(),
            telegram: TELEGRAM_IDS + i64::try_from(number).unwrap_or_default() * TELEGRAM_STEP,
            email: format!("customer.{number}@{host}"),
            phone: format!("+1 {} 555-01{:02}", AREAS[number / PHONES_OF_AREA % AREAS.len()], number % PHONES_OF_AREA),
            item: pick(&words.items, random).to_owned(),
            town: pick(&words.towns, random).to_owned(),
            order: 10_000 + random.below(90_000),
        }
    }

    /// First and last name.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// The id of them that the site of the chat widget uses.
    pub(super) fn visitor(&self) -> String {
        format!("visitor-{}", self.number)
    }

    /// The words of their language.
    pub(super) const fn words<'a>(&self, catalogue: &'a Catalogue) -> &'a Words {
        catalogue.words(self.tongue)
    }

    /// One of the texts with the blanks filled in for this customer.
    pub(super) fn say(&self, texts: &[String], random: &mut Random) -> String {
        self.fill(pick(texts, random))
    }

    /// A text with the blanks filled in for this customer.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{name}", &self.name())
            .replace("{item}", &self.item)
            .replace("{town}", &self.town)
            .replace("{order}", &self.order.to_string())
    }
}

#[cfg(test)]
mod tests {
    use events::values::{EmailAddress, PhoneNumber, Region};

    use super::*;

    #[test]
    fn invented_customers_have_addresses_that_are_well_formed() {
        let catalogue = Catalogue::load().unwrap();
        let mut random = Random::new(7);
        for number in 0..1_000 {
            let customer = Customer::invent(number, &catalogue, &mut random);
            assert!(PhoneNumber::parse(&customer.phone, Region::RU).is_ok(), "{}", customer.phone);
            assert!(EmailAddress::parse(&customer.email).is_ok(), "{}", customer.email);
            assert!(!customer.fill("{name} {item} {town} {order}").contains('{'));
        }
    }

    #[test]
    fn the_same_seed_invents_the_same_customers() {
        let catalogue = Catalogue::load().unwrap();
        let invent = || format!("{:?}", Customer::invent(3, &catalogue, &mut Random::new(1)));
        assert_eq!(invent(), invent());
    }
}
