//! Profiles: what is known of a person, and from whom.
//!
//! **Invariant:** a profile is found by the id of any of its members and always shown whole; a contact point is found
//! by its keyed hash, never by searching for the address.

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, OneofObject, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::{Occupancy, ProfileId};
use events::profile::{Attribute, AttributeSource};
use events::values::{ContactKind, EmailAddress, PhoneNumber, Region};
use projections::audit::{AsOf, Audit};
use projections::conversation::{ConversationFilter, ConversationSort};
use projections::profile::{AttributeView, ProfileFilter, ProfileSort, ProfileView};
use projections::views::Order;

use crate::contact::{Contact, ContactKindName};
use crate::context::{Reading, id};
use crate::conversation::Conversation;
use crate::error::{Failure, Outcome};
use crate::link::Link;
use crate::page::{Connection, Paging, cost};
use crate::scalars::{LogPosition, Token};

mod mutation;

pub(crate) use mutation::ProfileMutation;

/// Which attribute of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "AttributeName", remote = "Attribute")]
pub(crate) enum AttributeName {
    /// The whole name as shown.
    DisplayName,
    /// The name in a messenger, without `@`.
    Username,
    /// The language that the person writes in or has set, as a BCP 47 tag.
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

/// Who says what an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum SourceKind {
    /// A channel account showed it.
    Channel,
    /// The customer said it themselves.
    Customer,
    /// An operator wrote it down.
    Operator,
}

/// What one source says of an attribute.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct ProfileAttribute {
    /// Which attribute.
    pub name: AttributeName,
    /// The value, masked for agents; null when erased.
    pub value: Option<String>,
    /// The form in which the source gave it, where it differs.
    pub source_form: Option<String>,
    /// Who says so. Of several the most trusted is shown first: operator, customer, channel; then the latest.
    pub source: SourceKind,
    /// The account or the operator that is the source.
    pub source_id: Option<String>,
    /// When the source said so.
    pub occurred_at: DateTime<Utc>,
    /// When letopis recorded it.
    pub recorded_at: DateTime<Utc>,
    /// The event that recorded it, as `event-<uuid>`.
    pub event: ID,
}

impl From<AttributeView> for ProfileAttribute {
    fn from(view: AttributeView) -> Self {
        let (source, source_id) = match view.source {
            AttributeSource::Channel { account } => (SourceKind::Channel, Some(account.to_string())),
            AttributeSource::Customer => (SourceKind::Customer, None),
            AttributeSource::Operator { operator } => (SourceKind::Operator, Some(operator)),
        };
        Self {
            name: view.attribute.into(),
            value: view.text,
            source_form: view.source_form,
            source,
            source_id,
            occurred_at: view.occurred_at,
            recorded_at: view.recorded_at,
            event: view.event.to_string().into(),
        }
    }
}

/// A person, as far as is known: all contact points that are linked with each other.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Profile {
    /// The id, as `profile-<uuid>`: the least of `members`. Linking may change it; the ids of all members stay good.
    pub id: ID,
    /// The ids of the profiles of the single contact points, each as `profile-<uuid>`.
    pub members: Vec<ID>,
    /// When the first of them was opened.
    pub opened_at: DateTime<Utc>,
    #[graphql(skip)]
    view: ProfileView,
}

impl From<ProfileView> for Profile {
    fn from(view: ProfileView) -> Self {
        Self {
            id: view.profile.to_string().into(),
            members: view.members.iter().map(|member| member.to_string().into()).collect(),
            opened_at: view.opened_at,
            view,
        }
    }
}

#[ComplexObject]
impl Profile {
    /// The name to be shown, if any is known.
    async fn display_name(&self) -> Option<&str> {
        self.view.attribute(Attribute::DisplayName).and_then(|attribute| attribute.text.as_deref())
    }

    /// What is to be shown for one attribute, if anything is known.
    async fn attribute(&self, #[graphql(desc = "Which attribute.")] name: AttributeName) -> Option<ProfileAttribute> {
        self.view.attribute(name.into()).cloned().map(ProfileAttribute::from)
    }

    /// Everything that every source says; of each attribute the value to be shown comes first.
    #[graphql(complexity = "10 * child_complexity + 1")]
    async fn attributes(&self) -> Vec<ProfileAttribute> {
        self.view.attributes.iter().cloned().map(ProfileAttribute::from).collect()
    }

    /// The contact points.
    #[graphql(complexity = "5 * child_complexity + 1")]
    async fn contacts(&self) -> Vec<Contact> {
        self.view.occupancies.iter().cloned().map(Contact::from).collect()
    }

    /// The links that hold the profile together.
    #[graphql(complexity = "5 * child_complexity + 1")]
    async fn links(&self) -> Vec<Link> {
        self.view.links.iter().cloned().map(Link::from).collect()
    }

    /// The conversations that this person takes or took part in, the latest activity first.
    #[graphql(complexity = "cost(first, last, child_complexity) + 50")]
    async fn conversations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Connection<Conversation>> {
        let asked = Paging { first, after, last, before }.of("profile.conversations", Order::Descending)?;
        let reading = Reading::after(ctx, None).await?;
        let participants: Vec<Occupancy> = self.view.occupancy_ids().collect();
        let filter = ConversationFilter { participants, ..ConversationFilter::default() };
        let sort = ConversationSort::LastActivity;
        let page = reading.views().conversations(reading.viewer(), &filter, sort, &asked.request).await;
        Ok(asked.connection(page.map_err(Failure::from)?, Conversation::from))
    }
}

/// As of when: exactly one of both.
#[derive(Debug, Clone, OneofObject)]
pub(crate) enum AsOfInput {
    /// After the event at this position.
    Position(LogPosition),
    /// At this time, by the clock of letopis.
    Time(DateTime<Utc>),
}

impl From<AsOfInput> for AsOf {
    fn from(input: AsOfInput) -> Self {
        match input {
            AsOfInput::Position(position) => Self::Position(position.0),
            AsOfInput::Time(time) => Self::Time(time),
        }
    }
}

/// What a read of the past costs beside what it shows: it folds events anew.
pub(crate) const AS_OF_COST: usize = 500;

/// Reads of the past for this request.
pub(crate) fn audit(reading: &Reading<'_>) -> Audit {
    let deps = reading.deps;
    Audit::new(deps.log().clone(), deps.codec().clone(), deps.views.clone())
}

/// Which profiles are wanted; all conditions must hold.
#[derive(Debug, Default, InputObject)]
pub(crate) struct ProfileFilterInput {
    /// Only those with a contact point of this kind.
    pub contact_kind: Option<ContactKindName>,
    /// Only those opened at or after this time.
    pub opened_from: Option<DateTime<Utc>>,
    /// Only those opened before this time.
    pub opened_before: Option<DateTime<Utc>>,
}

/// By what profiles are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum ProfileOrder {
    /// The newest first.
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// Queries of profiles.
#[derive(Default)]
pub(crate) struct ProfileQuery;

#[Object]
impl ProfileQuery {
    /// A person by the id of the profile or of any of its members; null when there is none.
    #[graphql(complexity = "child_complexity + if as_of.is_some() { AS_OF_COST } else { 1 }")]
    async fn profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id, as `profile-<uuid>`.")] id: ID,
        #[graphql(desc = "Show what was known then, by folding the events up to there.")] as_of: Option<AsOfInput>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Option<Profile>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let profile: ProfileId = crate::context::id(&id)?;
        Ok(find(&reading, profile, as_of).await?)
    }

    /// The person who holds a contact point now, or held it last; null when nobody ever wrote from it.
    #[graphql(complexity = "child_complexity + 1")]
    async fn profile_by_identity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What kind of contact point it is.")] kind: ContactKindName,
        #[graphql(desc = "The address: a phone number with country code, a mail address, a provider's user id.")]
        value: String,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Option<Profile>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let kind: ContactKind = kind.into();
        let normalised = normalise(kind, &value)?;
        let viewer = reading.viewer();
        let contact = reading.deps.codec().hasher().contact(&viewer.tenant, kind.as_str(), &normalised);
        let found = reading.views().profile_by_contact(viewer, contact).await.map_err(Failure::from)?;
        Ok(found.map(Profile::from))
    }

    /// The persons that the tenant knows.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a Relay connection")]
    async fn profiles(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which are wanted; all when absent.")] filter: Option<ProfileFilterInput>,
        #[graphql(desc = "In which order.", default_with = "ProfileOrder::NewestFirst")] sort: ProfileOrder,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after_token: Option<Token>,
    ) -> async_graphql::Result<Connection<Profile>> {
        let (list, order) = match sort {
            ProfileOrder::NewestFirst => ("profiles.newest", Order::Descending),
            ProfileOrder::OldestFirst => ("profiles.oldest", Order::Ascending),
        };
        let asked = Paging { first, after, last, before }.of(list, order)?;
        let reading = Reading::after(ctx, after_token.as_ref()).await?;
        let filter = filter.unwrap_or_default();
        let filter = ProfileFilter {
            kind: filter.contact_kind.map(Into::into),
            opened_from: filter.opened_from,
            opened_before: filter.opened_before,
        };
        let page = reading.views().profiles(reading.viewer(), &filter, ProfileSort::OpenedAt, &asked.request).await;
        Ok(asked.connection(page.map_err(Failure::from)?, Profile::from))
    }
}

/// One profile of the viewer's tenant, now or then.
pub(crate) async fn find(
    reading: &Reading<'_>,
    profile: ProfileId,
    as_of: Option<AsOfInput>,
) -> Outcome<Option<Profile>> {
    let view = match as_of {
        None => reading.views().profile(reading.viewer(), profile).await?,
        Some(as_of) => {
            let past = audit(reading).profile(reading.viewer(), profile, as_of.into()).await?;
            past.map(|(view, _)| view)
        }
    };
    Ok(view.map(Profile::from))
}

/// The normal form that the id of a contact point is derived from.
fn normalise(kind: ContactKind, value: &str) -> Outcome<String> {
    match kind {
        ContactKind::Phone => PhoneNumber::parse(value, Region::RU)
            .map(|phone| phone.as_str().to_owned())
            .map_err(|_| Failure::bad_input("value is not a phone number with country code")),
        ContactKind::Email => EmailAddress::parse(value)
            .map(|email| email.as_str().to_owned())
            .map_err(|_| Failure::bad_input("value is not a mail address")),
        ContactKind::TelegramUser | ContactKind::TelegramChat => value
            .trim()
            .parse::<i64>()
            .map(|id| id.to_string())
            .map_err(|_| Failure::bad_input("value is not an id in decimal")),
        ContactKind::WebchatVisitor => Ok(value.to_owned()),
    }
}

/// One profile by its printed id.
pub(crate) async fn node(reading: &Reading<'_>, printed: &ID) -> Outcome<Option<Profile>> {
    find(reading, id(printed)?, None).await
}
