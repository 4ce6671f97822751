//! Every rejection of a decider, as a user error.
//!
//! **Invariant:** the match is total: a new rejection does not compile until it has a code here.

use models::account::AccountRejection;
use models::calendar::CalendarRejection;
use models::case::CaseRejection;
use models::case_type::CaseTypeRejection;
use models::contact::ContactRejection;
use models::conversation::ConversationRejection;
use models::intake::IntakeRejection;
use models::link::LinkRejection;
use models::operator::OperatorRejection;
use models::profile::ProfileRejection;
use models::queue::QueueRejection;
use models::service_level::ServiceLevelRejection;

use super::{UserError, UserErrorCode};

/// A rejection that callers understand.
pub(crate) trait Explain: std::error::Error {
    /// The code and the input field that it is about.
    fn explain(&self) -> (UserErrorCode, Option<&'static str>);

    /// The whole user error.
    fn user_error(&self) -> UserError {
        let (code, field) = self.explain();
        UserError { code, message: self.to_string(), field: field.map(str::to_owned) }
    }
}

impl Explain for AccountRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NotOpen => (UserErrorCode::NotFound, Some("account")),
            Self::AlreadyOpen => (UserErrorCode::AlreadyExists, None),
            Self::OtherChannel => (UserErrorCode::WrongChannel, Some("settings")),
            Self::BadName => (UserErrorCode::InvalidValue, Some("name")),
            Self::TooManySecrets => (UserErrorCode::TooManySecrets, None),
            Self::BadSecret => (UserErrorCode::InvalidValue, Some("secret")),
            Self::BadReason => (UserErrorCode::InvalidValue, Some("reason")),
            Self::NoSuchSecret => (UserErrorCode::NotFound, Some("number")),
            Self::LastSecret => (UserErrorCode::LastSecret, Some("number")),
        }
    }
}

impl Explain for CalendarRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NoSuchCalendar => (UserErrorCode::NotFound, Some("calendar")),
            Self::Exists => (UserErrorCode::AlreadyExists, None),
            Self::BadName => (UserErrorCode::InvalidValue, Some("name")),
            Self::NoSuchZone | Self::DayTwice | Self::BadSpan | Self::TooManyDays | Self::NeverOpen => {
                (UserErrorCode::InvalidValue, Some("hours"))
            }
        }
    }
}

impl Explain for CaseRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NoSuchCase => (UserErrorCode::NotFound, Some("case")),
            Self::Exists => (UserErrorCode::AlreadyExists, None),
            Self::NoSuchType => (UserErrorCode::NotFound, Some("caseType")),
            Self::NoSuchConversation => (UserErrorCode::NotFound, Some("conversation")),
            Self::BadTitle => (UserErrorCode::InvalidValue, Some("title")),
            Self::NoSuchField(_) | Self::BadValue(_) => (UserErrorCode::InvalidValue, Some("fields")),
            Self::Missing(_) => (UserErrorCode::NotReady, Some("status")),
            Self::BadPriority => (UserErrorCode::InvalidValue, Some("priority")),
            Self::NotInFuture => (UserErrorCode::InvalidValue, Some("until")),
            Self::Closed => (UserErrorCode::Closed, None),
            Self::Merged | Self::TargetMerged => (UserErrorCode::Merged, Some("case")),
            Self::SameCase => (UserErrorCode::InvalidValue, Some("other")),
            Self::NotMerged => (UserErrorCode::NotMerged, Some("case")),
            Self::TooMany => (UserErrorCode::InvalidValue, None),
            Self::LastConversation => (UserErrorCode::InvalidValue, Some("conversation")),
            Self::BadReason => (UserErrorCode::InvalidValue, Some("reason")),
            Self::BadNote => (UserErrorCode::InvalidValue, Some("text")),
        }
    }
}

impl Explain for CaseTypeRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NoSuchType => (UserErrorCode::NotFound, Some("caseType")),
            Self::Exists => (UserErrorCode::AlreadyExists, None),
            Self::BadName => (UserErrorCode::InvalidValue, Some("name")),
            Self::BadPriority | Self::BadKey(_) | Self::TooManyFields | Self::BadKind(_) => {
                (UserErrorCode::InvalidValue, Some("rules"))
            }
        }
    }
}

impl Explain for ServiceLevelRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NoSuchLevel => (UserErrorCode::NotFound, Some("serviceLevel")),
            Self::Exists => (UserErrorCode::AlreadyExists, None),
            Self::BadName => (UserErrorCode::InvalidValue, Some("name")),
            Self::BadTargets => (UserErrorCode::InvalidValue, Some("rules")),
        }
    }
}

impl Explain for OperatorRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NotRegistered => (UserErrorCode::NotFound, Some("operator")),
            Self::AlreadyRegistered => (UserErrorCode::AlreadyExists, Some("operator")),
            Self::BadName => (UserErrorCode::InvalidValue, Some("name")),
            Self::BadSkill | Self::BadLanguage | Self::BadRoom => (UserErrorCode::InvalidValue, Some("abilities")),
            Self::NotAvailable | Self::Full => (UserErrorCode::NotReady, Some("operator")),
        }
    }
}

impl Explain for QueueRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NoSuchQueue => (UserErrorCode::NotFound, Some("queue")),
            Self::Exists => (UserErrorCode::AlreadyExists, None),
            Self::BadName => (UserErrorCode::InvalidValue, Some("name")),
            Self::BadSkill | Self::BadPriority | Self::TooManyAccounts | Self::FallsBackToItself => {
                (UserErrorCode::InvalidValue, Some("rules"))
            }
        }
    }
}

impl Explain for ContactRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NotOccupied => (UserErrorCode::NotOccupied, Some("occupancy")),
        }
    }
}

impl Explain for ProfileRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NotOpen => (UserErrorCode::NotFound, Some("profile")),
            Self::OtherOccupancy => (UserErrorCode::AlreadyExists, Some("profile")),
            Self::BadValue => (UserErrorCode::InvalidValue, Some("value")),
        }
    }
}

impl Explain for LinkRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::SameOccupancy => (UserErrorCode::SameContact, Some("other")),
            Self::NotLinked => (UserErrorCode::NotLinked, None),
        }
    }
}

impl Explain for IntakeRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::AlreadyNormalised => (UserErrorCode::AlreadyNormalised, Some("intake")),
            Self::NothingToRedrive => (UserErrorCode::NotFound, Some("intake")),
        }
    }
}

impl Explain for ConversationRejection {
    fn explain(&self) -> (UserErrorCode, Option<&'static str>) {
        match self {
            Self::NotOpen => (UserErrorCode::NotFound, Some("conversation")),
            Self::Closed => (UserErrorCode::Closed, None),
            Self::Migrated => (UserErrorCode::Migrated, None),
            Self::HeldByOther(_) => (UserErrorCode::HeldByOther, None),
            Self::NoSpeaker => (UserErrorCode::HeldByOther, None),
            Self::NoAddressee => (UserErrorCode::NoAddressee, None),
            Self::BadText => (UserErrorCode::InvalidValue, Some("text")),
            Self::NoSuchMessage => (UserErrorCode::NotFound, Some("message")),
            Self::MessageExists => (UserErrorCode::IdempotencyKeyReused, Some("idempotencyKey")),
            Self::NotItsTurn | Self::WrongPart { .. } | Self::WrongDeliveryState(_) => {
                (UserErrorCode::WrongDeliveryState, Some("message"))
            }
            Self::BadTag => (UserErrorCode::InvalidValue, Some("add")),
            Self::NotInFuture => (UserErrorCode::InvalidValue, Some("until")),
            Self::BadReason => (UserErrorCode::InvalidValue, Some("reason")),
            Self::NoSuchRevision => (UserErrorCode::InvalidValue, Some("upTo")),
            Self::NoSuchQueue => (UserErrorCode::NotFound, Some("queue")),
            Self::BadMention => (UserErrorCode::InvalidValue, Some("mentions")),
            Self::BadPriority => (UserErrorCode::InvalidValue, Some("priority")),
            Self::BadLanguage => (UserErrorCode::InvalidValue, Some("language")),
            Self::NotWaiting => (UserErrorCode::NotWaiting, None),
        }
    }
}
