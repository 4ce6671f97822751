//! Mutations of profiles.
//!
//! **Invariant:** an operator writes and takes back what this operator says; what other sources say stays.

use async_graphql::{Context, ID, InputObject, Object};
use events::ids::ProfileId;
use events::profile::{Attribute, AttributeSource, AttributeValue};
use events::values::{EmailAddress, PhoneNumber, Region};
use models::profile::{ProfileCommand, ProfileDecider};

use super::AttributeName;
use crate::command::{Mutating, refusal};
use crate::contact::PersonSubject;
use crate::context::id;
use crate::error::{UserError, UserErrorCode};
use crate::guard::OPERATOR;
use crate::payload::{Done, Mutation, Payload};
use crate::scalars::Token;

/// Writes down what an attribute of a person is.
#[derive(InputObject)]
pub(crate) struct RecordAttributeInput {
    /// The profile of the contact point that it is recorded for, as `profile-<uuid>`: one of `members`.
    pub profile: ID,
    /// Which attribute.
    pub attribute: AttributeName,
    /// What it is, 1 to 512 characters; phone numbers with country code.
    pub value: String,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Takes back what the caller wrote down.
#[derive(InputObject)]
pub(crate) struct RetractAttributeInput {
    /// The profile of the contact point that it was recorded for, as `profile-<uuid>`: one of `members`.
    pub profile: ID,
    /// Which attribute.
    pub attribute: AttributeName,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// What came of a mutation: `RecordAttributePayload`.
pub(crate) struct RecordAttribute;

impl Mutation for RecordAttribute {
    type Subject = PersonSubject;
    const PAYLOAD: &'static str = "RecordAttributePayload";
}

/// What came of a mutation: `RetractAttributePayload`.
pub(crate) struct RetractAttribute;

impl Mutation for RetractAttribute {
    type Subject = PersonSubject;
    const PAYLOAD: &'static str = "RetractAttributePayload";
}

/// Mutations of profiles.
#[derive(Default)]
pub(crate) struct ProfileMutation;

#[Object]
impl ProfileMutation {
    /// Writes down what an attribute of a person is, in the name of the caller. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn record_attribute(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to write down.")] input: RecordAttributeInput,
    ) -> async_graphql::Result<Payload<RecordAttribute>> {
        let mutating = Mutating::begin(ctx, "recordAttribute", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let profile: ProfileId = id(&input.profile)?;
        let attribute = input.attribute.into();
        let answered = match value(attribute, input.value) {
            Ok(value) => {
                let command = ProfileCommand::Record { attribute, source: source(&mutating), value };
                mutating.run::<ProfileDecider>(profile.uuid(), command).await?
            }
            Err(error) => Err(error),
        };
        Ok(Done { id: profile.uuid(), answered }.into())
    }

    /// Takes back what the caller wrote down of a person; what others said is shown again. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn retract_attribute(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to take back.")] input: RetractAttributeInput,
    ) -> async_graphql::Result<Payload<RetractAttribute>> {
        let mutating = Mutating::begin(ctx, "retractAttribute", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let profile: ProfileId = id(&input.profile)?;
        let command = ProfileCommand::Retract { attribute: input.attribute.into(), source: source(&mutating) };
        let answered = mutating.run::<ProfileDecider>(profile.uuid(), command).await?;
        Ok(Done { id: profile.uuid(), answered }.into())
    }
}

fn source(mutating: &Mutating<'_>) -> AttributeSource {
    AttributeSource::Operator { operator: mutating.caller.viewer.id.as_ref().to_owned() }
}

/// The value in its normal form, with the form in which it was given where that differs.
fn value(attribute: Attribute, given: String) -> Result<AttributeValue, UserError> {
    let bad = |message: &str| refusal(UserErrorCode::InvalidValue, message, "value");
    let text = match attribute {
        Attribute::Phone => PhoneNumber::parse(&given, Region::RU)
            .map(|phone| phone.as_str().to_owned())
            .map_err(|_| bad("value is not a phone number with country code"))?,
        Attribute::Email => EmailAddress::parse(&given)
            .map(|email| email.as_str().to_owned())
            .map_err(|_| bad("value is not a mail address"))?,
        Attribute::Username => given.trim().trim_start_matches('@').to_owned(),
        Attribute::DisplayName | Attribute::Language | Attribute::Company | Attribute::Place => given.trim().to_owned(),
    };
    let source_form = (text != given).then_some(given);
    Ok(AttributeValue { text, source_form })
}
