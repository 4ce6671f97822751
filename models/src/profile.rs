//! The decider of profiles: what is known about a person, and from whom.
//!
//! **Invariant:** each source keeps its own value of an attribute; saying the same again writes nothing.

use std::collections::BTreeMap;

use events::envelope::{Category, Revision};
use events::ids::Occupancy;
use events::profile::{
    Attribute, AttributeRecorded, AttributeRetracted, AttributeSource, AttributeValue, ProfileEvent, ProfileOpened,
};
use events::seal::{KeySubject, Personal};

use crate::decider::Decider;

/// Longest value of an attribute, in characters: a name, not a letter.
pub const MAX_VALUE_CHARS: usize = 512;

/// The rules of profiles.
pub struct ProfileDecider;

/// What is known of a profile.
#[derive(Debug, Default, PartialEq)]
pub struct Profile {
    occupancy: Option<Occupancy>,
    values: BTreeMap<(Attribute, AttributeSource), Option<AttributeValue>>,
}

impl Profile {
    /// The occupancy it describes.
    #[must_use]
    pub const fn occupancy(&self) -> Option<Occupancy> {
        self.occupancy
    }
}

/// A wish about a profile.
#[derive(Debug, Clone, PartialEq)]
pub enum ProfileCommand {
    /// Open the profile of an occupancy, unless it is open.
    Open {
        /// The occupancy.
        occupancy: Occupancy,
    },
    /// Record what a source says of an attribute.
    Record {
        /// Which attribute.
        attribute: Attribute,
        /// Who says so.
        source: AttributeSource,
        /// What it is.
        value: AttributeValue,
    },
    /// Take back what a source said.
    Retract {
        /// Which attribute.
        attribute: Attribute,
        /// Who takes it back.
        source: AttributeSource,
    },
}

/// Why a wish about a profile is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProfileRejection {
    /// There is no such profile.
    #[error("profile does not exist")]
    NotOpen,
    /// The profile belongs to another occupancy.
    #[error("profile belongs to another occupancy")]
    OtherOccupancy,
    /// The value is empty or too long.
    #[error("attribute value must have 1 to {MAX_VALUE_CHARS} characters")]
    BadValue,
}

impl Decider for ProfileDecider {
    const CATEGORY: Category = Category::Profile;
    const READS_PERSONAL: bool = true;
    type Event = ProfileEvent;
    type Command = ProfileCommand;
    type State = Profile;
    type Rejection = ProfileRejection;

    fn decide(state: &Profile, command: ProfileCommand) -> Result<Vec<ProfileEvent>, ProfileRejection> {
        Ok(match command {
            ProfileCommand::Open { occupancy } => match state.occupancy {
                None => vec![ProfileOpened { occupancy }.into()],
                Some(held) if held == occupancy => vec![],
                Some(_) => return Err(ProfileRejection::OtherOccupancy),
            },
            ProfileCommand::Record { attribute, source, value } => {
                let occupancy = state.occupancy.ok_or(ProfileRejection::NotOpen)?;
                let fits = |text: &str| text.chars().count() <= MAX_VALUE_CHARS;
                let source_fits = value.source_form.as_deref().is_none_or(fits);
                if value.text.trim().is_empty() || !fits(&value.text) || !source_fits {
                    return Err(ProfileRejection::BadValue);
                }
                if state.values.get(&(attribute, source.clone())) == Some(&Some(value.clone())) {
                    return Ok(vec![]);
                }
                let value = Personal::new(KeySubject::Occupancy(occupancy), value);
                vec![AttributeRecorded { attribute, source, value }.into()]
            }
            ProfileCommand::Retract { attribute, source } => {
                state.occupancy.ok_or(ProfileRejection::NotOpen)?;
                if state.values.contains_key(&(attribute, source.clone())) {
                    vec![AttributeRetracted { attribute, source }.into()]
                } else {
                    vec![]
                }
            }
        })
    }

    fn evolve(state: &mut Profile, event: &ProfileEvent, _revision: Revision) {
        match event {
            ProfileEvent::Opened(opened) => state.occupancy = Some(opened.occupancy),
            ProfileEvent::AttributeRecorded(recorded) => {
                let key = (recorded.attribute, recorded.source.clone());
                state.values.insert(key, recorded.value.value().cloned());
            }
            ProfileEvent::AttributeRetracted(retracted) => {
                state.values.remove(&(retracted.attribute, retracted.source.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
