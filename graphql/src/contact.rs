//! Contact points and the persons behind them.
//!
//! **Invariant:** a contact point is always named with the number of its occupancy: the person behind it changes.

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::contact::VacatedReason;
use events::ids::{ContactId, Occupancy};
use events::values::ContactKind;
use models::contact::{ContactCommand, ContactDecider};
use projections::contact::OccupancyView;

use crate::command::Mutating;
use crate::context::{Reading, id, loader};
use crate::error::{Failure, Outcome};
use crate::guard::OPERATOR;
use crate::payload::{Done, Mutation, Payload, Subject};
use crate::profile::Profile;
use crate::scalars::Token;

/// What kind of contact point it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ContactKind", remote = "ContactKind")]
pub(crate) enum ContactKindName {
    /// A phone number, in E.164.
    Phone,
    /// A mail address.
    Email,
    /// A Telegram user, by the user id in decimal.
    TelegramUser,
    /// A Telegram chat that writes in its own name, by the chat id in decimal.
    TelegramChat,
    /// A visitor of a chat widget, as `<account uuid>/<visitor id>`.
    WebchatVisitor,
}

/// Why a person holds a contact point no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "VacatedReason", remote = "VacatedReason")]
pub(crate) enum VacatedReasonName {
    /// An operator found that it passed to another person.
    Reassigned,
    /// The person was erased.
    Erased,
}

/// A contact point in the hands of one person.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Contact {
    /// The contact point, as `contact-<uuid>`.
    pub contact: ID,
    /// The number of the occupancy, from 1: each further person who holds the contact point gets the next.
    pub occupancy: u32,
    /// What kind of contact point it is.
    pub kind: ContactKindName,
    /// The address in its normal form, masked for agents; null when erased.
    pub address: Option<String>,
    /// The address as the customer or the provider wrote it, masked for agents; null when erased.
    pub source_form: Option<String>,
    /// The account through which it was first seen, as `account-<uuid>`.
    pub account: ID,
    /// Since when this person holds it.
    pub occupied_at: DateTime<Utc>,
    /// Until when this person held it.
    pub vacated_at: Option<DateTime<Utc>>,
    /// Why this person does not hold it any more.
    pub vacated_reason: Option<VacatedReasonName>,
    /// The accounts that this person does not let write to them.
    pub blocks: Vec<Block>,
}

/// An account that a customer does not let write to them.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Block {
    /// The account, as `account-<uuid>`.
    pub account: ID,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl From<OccupancyView> for Contact {
    fn from(view: OccupancyView) -> Self {
        let blocked = view.blocks.into_iter().filter(|block| block.blocked);
        Self {
            contact: view.occupancy.contact.to_string().into(),
            occupancy: view.occupancy.number,
            kind: view.kind.into(),
            address: view.normalised,
            source_form: view.source_form,
            account: view.account.to_string().into(),
            occupied_at: view.occupied_at,
            vacated_at: view.vacated_at,
            vacated_reason: view.vacated_reason.map(Into::into),
            blocks: blocked
                .map(|block| Block { account: block.account.to_string().into(), since: block.since })
                .collect(),
        }
    }
}

/// Somebody, known by the contact point through which they take part.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Person {
    /// The contact point, as `contact-<uuid>`.
    pub contact: ID,
    /// The number of the occupancy of the contact point.
    pub occupancy: u32,
    #[graphql(skip)]
    who: Occupancy,
}

impl From<Occupancy> for Person {
    fn from(who: Occupancy) -> Self {
        Self { contact: who.contact.to_string().into(), occupancy: who.number, who }
    }
}

#[ComplexObject]
impl Person {
    /// What is known of the person. Absent for a moment while the person is only just becoming known.
    #[graphql(complexity = "2 + child_complexity")]
    async fn profile(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Profile>> {
        Ok(loader(ctx).load_one(self.who).await.map_err(Failure::from)?.map(Profile::from))
    }
}

/// A contact point in the hands of one person.
#[derive(Debug, Clone, InputObject)]
pub(crate) struct OccupancyInput {
    /// The contact point, as `contact-<uuid>`.
    pub contact: ID,
    /// The number of the occupancy, from 1.
    pub occupancy: u32,
}

impl OccupancyInput {
    pub(crate) fn parse(&self) -> Outcome<Occupancy> {
        Ok(Occupancy { contact: id(&self.contact)?, number: self.occupancy })
    }
}

/// The profile of an occupancy, as what mutations change. The id is that of the profile.
pub(crate) struct PersonSubject;

impl Subject for PersonSubject {
    type Object = Profile;

    async fn load(reading: &Reading<'_>, id: uuid::Uuid) -> Outcome<Option<Profile>> {
        let found = reading.views().profile(reading.viewer(), events::ids::ProfileId::new(id)).await?;
        Ok(found.map(Profile::from))
    }
}

/// Ends the occupancy of a contact point: the number passed to somebody else.
#[derive(InputObject)]
pub(crate) struct VacateContactInput {
    /// The contact point, as `contact-<uuid>`.
    pub contact: ID,
    /// The number of the occupancy that ends; nothing happens to a later one.
    pub occupancy: u32,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// What came of a mutation: `VacateContactPayload`.
pub(crate) struct VacateContact;

impl Mutation for VacateContact {
    type Subject = PersonSubject;
    const PAYLOAD: &'static str = "VacateContactPayload";
}

/// Mutations of contact points.
#[derive(Default)]
pub(crate) struct ContactMutation;

#[Object]
impl ContactMutation {
    /// Notes that a contact point passed to another person: what is written from it next makes a new profile. For
    /// operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn vacate_contact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which occupancy ends.")] input: VacateContactInput,
    ) -> async_graphql::Result<Payload<VacateContact>> {
        let mutating = Mutating::begin(ctx, "vacateContact", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let contact: ContactId = id(&input.contact)?;
        let occupancy = input.occupancy;
        let command = ContactCommand::Vacate { occupancy, reason: VacatedReason::Reassigned };
        let answered = mutating.run::<ContactDecider>(contact.uuid(), command).await?;
        let profile = mutating.deps.codec().hasher().profile(Occupancy { contact, number: occupancy });
        Ok(Done { id: profile.uuid(), answered }.into())
    }
}
