//! Links: which contact points belong to the same person.
//!
//! **Invariant:** linking and unlinking are mutations on the pair; neither profile is written to.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::Occupancy;
use events::link::LinkBasis;
use models::link::{LinkCommand, LinkDecider};
use models::profile::ProfileDecider;
use projections::link::LinkView;

use crate::command::{Answered, Mutating, refusal};
use crate::contact::{OccupancyInput, Person, PersonSubject};
use crate::error::{Outcome, UserErrorCode};
use crate::guard::OPERATOR;
use crate::payload::{Done, Mutation, Payload};
use crate::scalars::Token;

/// Why two contact points are believed to be the same person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "LinkBasis", remote = "LinkBasis")]
pub(crate) enum LinkBasisName {
    /// An operator says so.
    Operator,
    /// The customer shared the other contact point in a message of their own.
    SharedByCustomer,
    /// The tenant's site vouched for it in a signed visitor identity.
    SignedIdentity,
}

/// A link between two contact points of a profile.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Link {
    /// The id, as `link-<uuid>`.
    pub id: ID,
    /// One side.
    pub one: Person,
    /// The other side.
    pub other: Person,
    /// Why this is believed.
    pub basis: Option<LinkBasisName>,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl From<LinkView> for Link {
    fn from(view: LinkView) -> Self {
        Self {
            id: view.link.to_string().into(),
            one: view.one.into(),
            other: view.other.into(),
            basis: view.basis.map(Into::into),
            since: view.since,
        }
    }
}

/// Says that two contact points belong to the same person.
#[derive(InputObject)]
pub(crate) struct LinkContactsInput {
    /// One side.
    pub one: OccupancyInput,
    /// The other side.
    pub other: OccupancyInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Takes a link back.
#[derive(InputObject)]
pub(crate) struct UnlinkContactsInput {
    /// One side.
    pub one: OccupancyInput,
    /// The other side.
    pub other: OccupancyInput,
    /// Why, as a short code, `mistake` if absent; kept for ever, so nothing personal.
    #[graphql(validator(max_length = 64))]
    pub reason: Option<String>,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// What came of a mutation: `LinkContactsPayload`.
pub(crate) struct LinkContacts;

impl Mutation for LinkContacts {
    type Subject = PersonSubject;
    const PAYLOAD: &'static str = "LinkContactsPayload";
}

/// What came of a mutation: `UnlinkContactsPayload`.
pub(crate) struct UnlinkContacts;

impl Mutation for UnlinkContacts {
    type Subject = PersonSubject;
    const PAYLOAD: &'static str = "UnlinkContactsPayload";
}

/// Mutations of links.
#[derive(Default)]
pub(crate) struct LinkMutation;

#[Object]
impl LinkMutation {
    /// Says that two contact points belong to the same person: their profiles become one. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn link_contacts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which contact points.")] input: LinkContactsInput,
    ) -> async_graphql::Result<Payload<LinkContacts>> {
        let mutating = Mutating::begin(ctx, "linkContacts", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (one, other) = (input.one.parse()?, input.other.parse()?);
        let answered = match (exists(&mutating, one, "one").await?, exists(&mutating, other, "other").await?) {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(()), Ok(())) => {
                let link = mutating.deps.codec().hasher().link(one, other);
                let command = LinkCommand::Link { one, other, basis: LinkBasis::Operator };
                mutating.run::<LinkDecider>(link.uuid(), command).await?
            }
        };
        Ok(done(&mutating, one, answered).into())
    }

    /// Takes a link back: what is not linked in another way becomes profiles of their own again. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn unlink_contacts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which contact points.")] input: UnlinkContactsInput,
    ) -> async_graphql::Result<Payload<UnlinkContacts>> {
        let mutating = Mutating::begin(ctx, "unlinkContacts", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (one, other) = (input.one.parse()?, input.other.parse()?);
        let reason = input.reason.unwrap_or_else(|| "mistake".to_owned());
        let link = mutating.deps.codec().hasher().link(one, other);
        let command = LinkCommand::Unlink { one, other, reason };
        let answered = mutating.run::<LinkDecider>(link.uuid(), command).await?;
        Ok(done(&mutating, one, answered).into())
    }
}

fn done(mutating: &Mutating<'_>, one: Occupancy, answered: Answered<Token>) -> Done {
    Done { id: mutating.deps.codec().hasher().profile(one).uuid(), answered }
}

/// Whether the tenant knows this occupancy: folded from the stream of its profile, not from a read model. A profile
/// never goes away again, so nothing is lost between this look and the link.
async fn exists(mutating: &Mutating<'_>, who: Occupancy, field: &'static str) -> Outcome<Answered<()>> {
    let profile = mutating.deps.codec().hasher().profile(who);
    let known = mutating.inspect::<ProfileDecider, _>(profile.uuid(), |state| state.occupancy() == Some(who)).await?;
    Ok(if known { Ok(()) } else { Err(refusal(UserErrorCode::NotFound, "there is no such contact", field)) })
}
