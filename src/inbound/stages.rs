//! The plans of several deliveries, carried out stage by stage: who it is, then what they did.
//!
//! **Invariant:** within each contact point, profile, pair and conversation the commands keep the order of the
//! deliveries; between them none is promised (design invariant 7). A stage that fails is done again as a whole, which
//! changes nothing where it was done.

use std::collections::HashMap;

use events::envelope::{Category, StreamName};
use events::ids::{ContactId, ConversationId, Occupancy, TenantId};
use events::link::LinkBasis;
use models::command::Origin;
use models::contact::{Contact, ContactCommand, ContactDecider};
use models::conversation::ConversationDecider;
use models::decider::Decider;
use models::handler::Commands;
use models::link::{LinkCommand, LinkDecider};
use models::profile::{ProfileCommand, ProfileDecider};
use uuid::Uuid;

use super::plan::{self, Planned, PlannedParty, Raw};
use super::{Inbound, InboundError, worse};
use crate::channels::Thread;

/// Commands by the stream that they are for, each stream's in order.
struct ByStream<C> {
    places: HashMap<Uuid, usize>,
    streams: Vec<Commands<C>>,
}

impl<C> ByStream<C> {
    fn new() -> Self {
        Self { places: HashMap::new(), streams: Vec::new() }
    }

    fn of(&mut self, id: Uuid) -> &mut Vec<(Origin, C)> {
        let place = *self.places.entry(id).or_insert_with(|| {
            self.streams.push(Commands { id, commands: Vec::new() });
            self.streams.len() - 1
        });
        &mut self.streams[place].commands
    }
}

impl<C: PartialEq> ByStream<C> {
    /// Adds a command unless the last one `about` the same thing asks for the very same.
    fn ask(&mut self, id: Uuid, origin: Origin, command: C, about: impl Fn(&C, &C) -> bool) {
        let asked = self.of(id);
        let last = asked.iter().rev().find(|(_, earlier)| about(earlier, &command));
        if last.is_none_or(|(_, earlier)| *earlier != command) {
            asked.push((origin, command));
        }
    }
}

/// What the deliveries touched: for each plan the persons and the conversation.
#[derive(Default, Clone)]
pub(super) struct Touched {
    pub(super) persons: Vec<Occupancy>,
    pub(super) conversation: Option<ConversationId>,
}

impl Inbound {
    /// Carries out the plans, in order, and says what each touched.
    pub(super) async fn carry_out(&self, mut plans: Vec<Planned>) -> Result<Vec<Touched>, InboundError> {
        let occupancies = self.occupy(&mut plans).await?;
        let hasher = self.handler.codec().hasher();
        let (mut profiles, mut links, mut conversations) = (ByStream::new(), ByStream::new(), ByStream::new());
        let mut touched = Vec::with_capacity(plans.len());
        let occupancy = |party: &PlannedParty| {
            let found = occupancies.get(&party.contact).copied();
            // A delivery of long ago repeated after the occupancy closed belongs to the one that it opened.
            found.ok_or_else(|| InboundError::Park("the contact point was vacated since".to_owned()))
        };
        for planned in plans {
            let Planned { raw, author, shared, thread, occurred_at, what, .. } = planned;
            let mut touches = Touched::default();
            let mut one = None;
            if let Some(author) = author {
                let occupancy = occupancy(&author)?;
                meet(&mut profiles, hasher.profile(occupancy).uuid(), occupancy, author);
                touches.persons.push(occupancy);
                one = Some(occupancy);
            }
            if let (Some(one), Some((other, origin))) = (one, shared) {
                let occupancy = occupancy(&other)?;
                meet(&mut profiles, hasher.profile(occupancy).uuid(), occupancy, other);
                touches.persons.push(occupancy);
                let command = LinkCommand::Link { one, other: occupancy, basis: LinkBasis::SharedByCustomer };
                links.of(hasher.link(one, occupancy).uuid()).push((origin, command));
            }
            if let Some((thread, origin)) = thread {
                let conversation = self.conversation_of(&raw, &thread).await?;
                let facts = plan::thread_facts(conversation, &raw.account, thread);
                if let Some(command) = plan::conversation_command(&raw, facts, one, occurred_at, what, hasher) {
                    conversations.of(conversation.uuid()).push((origin, command));
                }
                touches.conversation = Some(conversation);
            }
            touched.push(touches);
        }
        // They have nothing to do with each other, so that all of it waits for one group of appends.
        let (conversations, profiles, links) = futures::join!(
            Box::pin(self.command_all::<ConversationDecider>(conversations)),
            Box::pin(self.command_all::<ProfileDecider>(profiles)),
            Box::pin(self.command_all::<LinkDecider>(links)),
        );
        worse(worse(conversations, profiles), links)?;
        Ok(touched)
    }

    /// Opens the occupancies of all contact points that the plans name; gives them.
    async fn occupy(&self, plans: &mut [Planned]) -> Result<HashMap<ContactId, Occupancy>, InboundError> {
        let mut contacts = ByStream::new();
        let mut tenants: HashMap<ContactId, TenantId> = HashMap::new();
        for planned in plans {
            let Planned { raw, author, block, shared, .. } = planned;
            for party in author.iter().chain(shared.as_ref().map(|(other, _)| other)) {
                let (origin, command) = party.occupy.clone();
                contacts.ask(party.contact.uuid(), origin, command, about_the_same_contact);
                tenants.insert(party.contact, raw.account.tenant.clone());
            }
            if let (Some(author), Some((origin, command))) = (author, block.take()) {
                contacts.of(author.contact.uuid()).push((origin, command));
            }
        }
        self.command_all::<ContactDecider>(contacts).await?;
        let mut occupancies = HashMap::with_capacity(tenants.len());
        for (contact, tenant) in tenants {
            let stream = StreamName::new(Category::Contact, tenant, contact.uuid());
            let number = self.handler.inspect::<ContactDecider, _>(&stream, Contact::occupancy).await?;
            occupancies.extend(number.map(|number| (contact, Occupancy { contact, number })));
        }
        Ok(occupancies)
    }

    /// Carries out the commands of all streams.
    async fn command_all<D: Decider>(&self, commands: ByStream<D::Command>) -> Result<(), InboundError> {
        let answers = self.handler.handle_all::<D>(&commands.streams).await?;
        let asked = commands.streams.iter().flat_map(|stream| &stream.commands);
        for ((origin, _), answer) in asked.zip(answers.into_iter().flatten()) {
            // What a customer did is never refused for its conversation's state; what is left are reactions and
            // retractions in conversations that we never heard of. The raw delivery keeps them.
            if let Err(rejection) = answer {
                tracing::info!(correlation = %origin.correlation, %rejection, "nothing to do");
            }
        }
        Ok(())
    }

    /// The conversation that a delivery belongs to: the one that its token names, if that is one of the account's,
    /// else the one of its thread.
    async fn conversation_of(&self, raw: &Raw, thread: &Thread) -> Result<ConversationId, InboundError> {
        if let Some(named) = thread.conversation {
            let stream = StreamName::new(Category::Conversation, raw.account.tenant.clone(), named.uuid());
            let account = self.handler.inspect::<ConversationDecider, _>(&stream, |state| state.account()).await?;
            if account == Some(raw.account.id) {
                return Ok(named);
            }
        }
        Ok(self.handler.codec().hasher().conversation(raw.account.id, &thread.key))
    }
}

fn meet(profiles: &mut ByStream<ProfileCommand>, id: Uuid, occupancy: Occupancy, party: PlannedParty) {
    profiles.ask(id, party.open, ProfileCommand::Open { occupancy }, about_the_same_attribute);
    for (origin, command) in party.attributes {
        profiles.ask(id, origin, command, about_the_same_attribute);
    }
}

/// An open occupancy stays open here: nothing of ours closes it.
fn about_the_same_contact(one: &ContactCommand, other: &ContactCommand) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn about_the_same_attribute(one: &ProfileCommand, other: &ProfileCommand) -> bool {
    match (one, other) {
        (ProfileCommand::Open { .. }, ProfileCommand::Open { .. }) => true,
        (
            ProfileCommand::Record { attribute: one, source: of_one, .. },
            ProfileCommand::Record { attribute: other, source: of_other, .. },
        ) => one == other && of_one == of_other,
        _ => false,
    }
}
