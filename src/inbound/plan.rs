//! What the interactions of a delivery ask for, before anything is carried out.
//!
//! **Invariant:** pure: a plan follows from the delivery alone, with an ordinal for every command, so that the same
//! delivery planned again has the same command ids (design invariant 8).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::envelope::{Actor, RecordedEvent};
use events::ids::{AccountId, CommandId, ContactId, ConversationId, EventId, IdHasher, Occupancy};
use events::profile::{Attribute, AttributeSource, AttributeValue};
use events::values::{ContactKind, EmailAddress};
use models::command::Origin;
use models::contact::ContactCommand;
use models::conversation::{ConversationCommand, ThreadFacts};
use models::profile::ProfileCommand;

use super::NAME;
use crate::accounts::ChannelAccount;
use crate::channels::{Happening, Interaction, Party, Thread};

/// Commands that one interaction may lead to; each has its own ordinal.
const ORDINALS_PER_INTERACTION: u32 = 64;

/// The raw delivery that a plan is about.
#[derive(Clone)]
pub(super) struct Raw {
    pub(super) id: EventId,
    pub(super) account: Arc<ChannelAccount>,
    traceparent: Option<Arc<str>>,
}

impl Raw {
    pub(super) fn new(recorded: &RecordedEvent, account: Arc<ChannelAccount>) -> Self {
        Self { id: recorded.id, account, traceparent: recorded.metadata.traceparent.clone() }
    }
}

/// A customer to be met: the occupancy of the contact point is known once the first command is carried out.
pub(super) struct PlannedParty {
    pub(super) contact: ContactId,
    pub(super) occupy: (Origin, ContactCommand),
    /// Opens the profile, once it is known of which occupancy.
    pub(super) open: Origin,
    pub(super) attributes: Vec<(Origin, ProfileCommand)>,
}

/// One interaction.
pub(super) struct Planned {
    pub(super) raw: Raw,
    pub(super) author: Option<PlannedParty>,
    /// Whether the author lets us write to them.
    pub(super) block: Option<(Origin, ContactCommand)>,
    /// A contact point that the author shared, and the command that links the two.
    pub(super) shared: Option<(PlannedParty, Origin)>,
    pub(super) thread: Option<(Thread, Origin)>,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) what: Happening,
}

/// Plans the interaction at this place in its delivery.
pub(super) fn plan(raw: &Raw, index: u32, interaction: Interaction, hasher: &IdHasher) -> Planned {
    let Interaction { thread, party, occurred_at, mut what } = interaction;
    let actor = Actor::System(NAME.into());
    let mut steps = Steps { raw, next: index * ORDINALS_PER_INTERACTION, occurred_at, actor };
    let author = party.map(|party| steps.party(party, hasher));
    if let Some(author) = &author {
        steps.actor = Actor::Customer(author.contact);
    }
    let block = match (&author, contact_command(&what, raw.account.id)) {
        (Some(_), Some(command)) => Some((steps.origin(), command)),
        _ => None,
    };
    let shared = match (&author, &mut what) {
        (Some(_), Happening::SharedContact { other }) => {
            let other = Party { attributes: std::mem::take(&mut other.attributes), ..other.clone() };
            let other = steps.party(other, hasher);
            Some((other, steps.origin()))
        }
        _ => None,
    };
    let thread = thread.map(|thread| (thread, steps.origin()));
    Planned { raw: raw.clone(), author, block, shared, thread, occurred_at, what }
}

/// The commands of one interaction, numbered.
struct Steps<'a> {
    raw: &'a Raw,
    next: u32,
    occurred_at: DateTime<Utc>,
    actor: Actor,
}

impl Steps<'_> {
    fn origin(&mut self) -> Origin {
        let ordinal = self.next;
        self.next += 1;
        Origin {
            id: CommandId::of_reactor(NAME, self.raw.id, ordinal),
            tenant: self.raw.account.tenant.clone(),
            actor: self.actor.clone(),
            causation: Some(self.raw.id),
            correlation: self.raw.id.uuid(),
            occurred_at: self.occurred_at,
            traceparent: self.raw.traceparent.clone(),
            seen_at: None,
            wish: None,
        }
    }

    /// Opens the occupancy of a party's contact point and its profile, and records what the channel shows of it.
    fn party(&mut self, party: Party, hasher: &IdHasher) -> PlannedParty {
        let (account, tenant) = (self.raw.account.id, &self.raw.account.tenant);
        let Party { kind, address, attributes } = party;
        let contact = hasher.contact(tenant, ContactKind::as_str(kind), &address.normalised);
        let occupy = (self.origin(), ContactCommand::Occupy { contact, kind, account, address });
        let open = self.origin();
        let attributes = attributes.into_iter().filter_map(|(attribute, text)| {
            let value = attribute_value(attribute, text)?;
            let source = AttributeSource::Channel { account };
            Some((self.origin(), ProfileCommand::Record { attribute, source, value }))
        });
        let attributes = attributes.collect();
        PlannedParty { contact, occupy, open, attributes }
    }
}

fn contact_command(what: &Happening, account: AccountId) -> Option<ContactCommand> {
    match what {
        Happening::Blocked => Some(ContactCommand::Block { account }),
        Happening::Unblocked => Some(ContactCommand::Unblock { account }),
        Happening::Message { .. }
        | Happening::Edit { .. }
        | Happening::Retraction { .. }
        | Happening::Reactions { .. }
        | Happening::Activity { .. }
        | Happening::Joined
        | Happening::Left
        | Happening::Migrated { .. }
        | Happening::SharedContact { .. } => None,
    }
}

/// What the conversation is asked for; `None` when the interaction concerns no conversation, or needs an author and
/// has none.
pub(super) fn conversation_command(
    raw: &Raw,
    thread: ThreadFacts,
    author: Option<Occupancy>,
    occurred_at: DateTime<Utc>,
    what: Happening,
    hasher: &IdHasher,
) -> Option<ConversationCommand> {
    let conversation = thread.conversation;
    let id = |outside: &str| hasher.message(conversation, outside);
    Some(match what {
        Happening::Message { outside_id, kind, marks, reply_to, album, content } => ConversationCommand::Receive {
            message: id(&outside_id),
            author: author?,
            kind,
            marks,
            reply_to: reply_to.as_deref().map(id),
            album: album.map(|album| hasher.derive("album", &[conversation.uuid().as_bytes(), album.as_bytes()])),
            content,
            thread,
        },
        Happening::Edit { outside_id, kind, edited_at, content } => ConversationCommand::ReceiveEdit {
            message: id(&outside_id),
            author: author?,
            kind,
            edited_at,
            content,
            thread,
        },
        Happening::Retraction { outside_id } => ConversationCommand::Retract { thread, message: id(&outside_id) },
        Happening::Reactions { outside_id, reactions } => ConversationCommand::React {
            thread,
            message: id(&outside_id),
            by: author,
            changed_at: occurred_at,
            reactions,
        },
        Happening::Activity { activity, activity_id, about, detail } => ConversationCommand::NoteActivity {
            activity_id: hasher
                .derive("activity", &[raw.account.id.uuid().as_bytes(), activity.as_bytes(), activity_id.as_bytes()]),
            activity,
            by: author,
            message: about.as_deref().map(id),
            detail,
            thread,
        },
        Happening::Joined => ConversationCommand::Join { participant: author?, thread },
        Happening::Left => ConversationCommand::Leave { participant: author? },
        Happening::Migrated { to } => ConversationCommand::Migrate {
            thread,
            to: hasher.conversation(raw.account.id, &to.key),
            outside: to.outside,
        },
        Happening::Blocked | Happening::Unblocked | Happening::SharedContact { .. } => return None,
    })
}

/// A thread with what the conversation needs to know of it.
pub(super) fn thread_facts(conversation: ConversationId, account: &ChannelAccount, thread: Thread) -> ThreadFacts {
    ThreadFacts {
        conversation,
        account: account.id,
        channel: account.channel(),
        kind: thread.kind,
        outside: thread.outside,
    }
}

/// A value that a profile takes, or nothing: a channel's empty or endless name is no name.
fn attribute_value(attribute: Attribute, text: String) -> Option<AttributeValue> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return None;
    }
    let limit = models::profile::MAX_VALUE_CHARS;
    let cut: String = trimmed.chars().take(limit).collect();
    let normal = match attribute {
        Attribute::Email => {
            EmailAddress::parse(&cut).map_or_else(|_| cut.clone(), |address| address.as_str().to_owned())
        }
        Attribute::DisplayName
        | Attribute::Username
        | Attribute::Language
        | Attribute::Phone
        | Attribute::Company
        | Attribute::Place => cut,
    };
    let source_form = (normal != text).then_some(text).filter(|text| text.chars().count() <= limit);
    Some(AttributeValue { text: normal, source_form })
}
