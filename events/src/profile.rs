//! What is known about the person behind one occupancy, and from whom it is known.
//!
//! **Invariant:** every attribute value names its source; recording a value never overwrites another source's.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, Occupancy};
use crate::seal::{Personal, personal_json};
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a profile.
    ProfileEvent {
        /// The profile exists from here on.
        Opened(ProfileOpened) = "profile.opened", 1;
        /// A source says what an attribute is.
        AttributeRecorded(AttributeRecorded) = "profile.attribute_recorded", 1, sealed value;
        /// A source takes back what it said.
        AttributeRetracted(AttributeRetracted) = "profile.attribute_retracted", 1;
    }
}

/// The profile exists from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileOpened {
    /// The occupancy it describes.
    pub occupancy: Occupancy,
}

/// Where a value comes from. The order is that of trust: of two sources the greater one is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AttributeSource {
    /// A channel account showed it.
    Channel {
        /// The account.
        account: AccountId,
    },
    /// The customer said it themselves, in a form or a contact card.
    Customer,
    /// An operator wrote it down.
    Operator {
        /// Who.
        operator: String,
    },
}

/// Which attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The whole name as shown.
    DisplayName,
    /// The name in a messenger, without `@`.
    Username,
    /// The language the customer writes in or has set, as a BCP 47 tag.
    Language,
    /// A phone number in E.164.
    Phone,
    /// An e-mail address.
    Email,
    /// The company they speak for.
    Company,
    /// The town or region they are in.
    Place,
}

impl Attribute {
    /// Every attribute.
    pub const ALL: [Self; 7] =
        [Self::DisplayName, Self::Username, Self::Language, Self::Phone, Self::Email, Self::Company, Self::Place];

    /// The name in lower case, as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Username => "username",
            Self::Language => "language",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Company => "company",
            Self::Place => "place",
        }
    }
}

/// A source says what an attribute is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeRecorded {
    /// Which attribute.
    pub attribute: Attribute,
    /// Who says so.
    pub source: AttributeSource,
    /// What it is.
    pub value: Personal<AttributeValue>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeValue {
    /// The value, normalised where its kind has a normal form.
    pub text: String,
    /// The form in which the source gave it, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_form: Option<String>,
}

personal_json!(AttributeValue);

/// A source takes back what it said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeRetracted {
    /// Which attribute.
    pub attribute: Attribute,
    /// Who takes it back.
    pub source: AttributeSource,
}
