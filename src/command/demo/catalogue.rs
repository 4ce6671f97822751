//! The texts of the demo, from the catalogue beside this file.
//!
//! **Invariant:** no text that a customer or an operator reads stands in code.

use anyhow::Context;
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;

use super::random::Random;

/// What the shop is called and where it is reached.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shop {
    pub(super) mailbox: String,
    pub(super) mailbox_name: String,
    pub(super) group_title: String,
}

/// The words of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub(super) women: Vec<String>,
    pub(super) men: Vec<String>,
    pub(super) women_last: Vec<String>,
    pub(super) men_last: Vec<String>,
    pub(super) towns: Vec<String>,
    pub(super) items: Vec<String>,
    pub(super) greetings: Vec<String>,
    pub(super) orders: Vec<String>,
    pub(super) questions: Vec<String>,
    pub(super) complaints: Vec<String>,
    pub(super) edits: Vec<String>,
    pub(super) thanks: Vec<String>,
    pub(super) again: Vec<String>,
    pub(super) captions: Vec<String>,
    pub(super) group_talk: Vec<String>,
    pub(super) subjects: Vec<String>,
    pub(super) mails: Vec<String>,
    pub(super) away_subject: String,
    pub(super) away: String,
    pub(super) answers: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) later: Vec<String>,
}

/// All texts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue {
    pub(super) shop: Shop,
    ru: Words,
    en: Words,
}

/// A language of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tongue {
    Russian,
    English,
}

impl Tongue {
    /// Its BCP 47 tag.
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::Russian => "ru",
            Self::English => "en",
        }
    }
}

impl Catalogue {
    /// Reads the catalogue that is built in.
    ///
    /// # Errors
    /// It is malformed, which a test rules out.
    pub(super) fn load() -> anyhow::Result<Self> {
        Figment::from(Toml::string(include_str!("catalogue.toml"))).extract().context("the catalogue of the demo")
    }

    /// The words of a language.
    pub(super) const fn words(&self, tongue: Tongue) -> &Words {
        match tongue {
            Tongue::Russian => &self.ru,
            Tongue::English => &self.en,
        }
    }
}

/// One of the texts, as it is.
pub(super) fn pick<'a>(texts: &'a [String], random: &mut Random) -> &'a str {
    random.pick(texts).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_whole_in_both_languages() {
        let catalogue = Catalogue::load().unwrap();
        for tongue in [Tongue::Russian, Tongue::English] {
            let words = catalogue.words(tongue);
            for list in [&words.women, &words.men, &words.items, &words.answers, &words.mails, &words.later] {
                assert!(list.len() >= 2, "{}", tongue.tag());
            }
        }
    }
}
