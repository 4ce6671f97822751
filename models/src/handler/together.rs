//! Many commands at once: those of a stream go into one append, the appends of all streams to the log together.
//!
//! **Invariant:** what comes of it is what would come of the commands of each stream one after the other. Only what is
//! plain goes together: a command that was carried out before, is refused, or cannot be judged without a look at the
//! log is handled alone, in its turn. While an append is on its way the state in memory is ahead of the log and marked
//! so; unless the append is answered, it is thrown away and read anew. Streams are locked in the order of their ids,
//! so that two callers never wait for each other.

use events::DomainEvent;
use events::envelope::{Category, Position, Revision, StreamName};
use events::log::{AppendError, AppendRequest, Appended, ExpectedRevision};
use futures::lock::OwnedMutexGuard;
use uuid::Uuid;

use super::{Earlier, HandleError, Handled, Handler, Loaded, not_coded};
use crate::command::Origin;
use crate::decider::Decider;

/// Most commands of a stream in one append: what waits behind it waits for all of them.
const MOST_COMMANDS: usize = 64;

/// Commands on one stream, in order. All of them are of one tenant.
#[derive(Debug, Clone)]
pub struct Commands<C> {
    /// The id of what the stream is about.
    pub id: Uuid,
    /// What is wished.
    pub commands: Vec<(Origin, C)>,
}

/// What came of each command of a stream: a refused one does not keep the others back.
pub type Answers<R> = Vec<Result<Handled, R>>;

/// What is decided for a stream and not yet written.
struct Turn<'a, D: Decider> {
    /// Which of the streams asked for.
    place: usize,
    stream: StreamName,
    loaded: OwnedMutexGuard<Loaded<D>>,
    before: Option<Revision>,
    events: Vec<(&'a Origin, u32, D::Event)>,
    decided: Vec<Decided<'a>>,
}

/// A command that was decided: where the stream is after it, and whether it has events.
struct Decided<'a> {
    origin: &'a Origin,
    revision: Option<Revision>,
    written: bool,
}

impl Handler {
    /// Carries out commands on different streams, those of each in their order, with as few appends as it takes.
    ///
    /// # Errors
    /// See [`HandleError`], but for [`HandleError::Rejected`], which is the answer to one command. After an error some
    /// commands may have been carried out: send all of them again with the same ids.
    pub async fn handle_all<D: Decider>(
        &self,
        streams: &[Commands<D::Command>],
    ) -> Result<Vec<Answers<D::Rejection>>, HandleError<D::Rejection>> {
        let mut answers: Vec<Answers<D::Rejection>> = streams.iter().map(|_| Vec::new()).collect();
        let mut order: Vec<usize> = (0..streams.len()).collect();
        order.sort_unstable_by_key(|place| streams[*place].id);
        loop {
            order.retain(|place| answers[*place].len() < streams[*place].commands.len());
            if order.is_empty() {
                return Ok(answers);
            }
            let mut turns = Vec::with_capacity(order.len());
            for place in &order {
                let Commands { id, commands } = &streams[*place];
                let rest = &commands[answers[*place].len()..];
                turns.push(self.turn::<D>(*place, *id, &rest[..rest.len().min(MOST_COMMANDS)]).await?);
            }
            let mut alone = Vec::new();
            for (place, handled) in self.append_turns(turns).await? {
                if handled.is_empty() {
                    alone.push(place);
                }
                answers[place].extend(handled.into_iter().map(Ok));
            }
            for place in alone {
                let Commands { id, commands } = &streams[place];
                let (origin, command) = &commands[answers[place].len()];
                answers[place].push(match Box::pin(self.handle::<D>(*id, origin, command.clone())).await {
                    Ok(handled) => Ok(handled),
                    Err(HandleError::Rejected(rejection)) => Err(rejection),
                    Err(error) => return Err(error),
                });
            }
        }
    }

    /// Decides as many of the first commands as go together; none when the first has to be handled alone.
    async fn turn<'a, D: Decider>(
        &self,
        place: usize,
        id: Uuid,
        commands: &'a [(Origin, D::Command)],
    ) -> Result<Turn<'a, D>, HandleError<D::Rejection>> {
        let tenant = commands[0].0.tenant.clone();
        let stream = StreamName::new(D::CATEGORY, tenant, id);
        let slot = self.slot::<D>(&stream);
        // Most often nobody else has it.
        let mut loaded = match slot.try_lock_owned() {
            Some(loaded) => loaded,
            None => slot.lock_owned().await,
        };
        loaded.back_to_the_log();
        if loaded.revision.is_none() {
            Box::pin(self.catch_up::<D>(&stream, &mut loaded)).await?;
        }
        let before = loaded.revision;
        let sole = self.sole_writer && D::CATEGORY != Category::Intake && !loaded.in_doubt;
        let (mut written, mut decided) = (Vec::new(), Vec::with_capacity(commands.len()));
        for (origin, command) in commands {
            if loaded.results.contains_key(&origin.id) || decided.iter().any(|d: &Decided<'_>| d.origin.id == origin.id)
            {
                break;
            }
            let Ok(events) = D::decide(&loaded.state, command.clone()) else { break };
            // What changes nothing is only sure where nobody else writes and there is a stream.
            if events.is_empty() && !(sole && loaded.revision.is_some()) {
                break;
            }
            decided.push(Decided { origin, revision: None, written: !events.is_empty() });
            for (index, event) in (0..).zip(events) {
                loaded.ahead = true;
                let revision = loaded.revision.map_or(Revision(0), Revision::next);
                D::evolve(&mut loaded.state, &event, revision);
                loaded.revision = Some(revision);
                written.push((origin, index, event));
            }
            if let Some(last) = decided.last_mut() {
                last.revision = loaded.revision;
            }
        }
        Ok(Turn { place, stream, loaded, before, events: written, decided })
    }

    /// Writes what was decided; gives what came of each turn, nothing when its append was not made.
    async fn append_turns<D: Decider>(
        &self,
        turns: Vec<Turn<'_, D>>,
    ) -> Result<Vec<(usize, Vec<Handled>)>, HandleError<D::Rejection>> {
        let mut done = Vec::with_capacity(turns.len());
        let mut waiting = Vec::new();
        for mut turn in turns {
            if turn.events.is_empty() {
                let position = turn.loaded.position;
                done.push((turn.place, turn.loaded.settle(&turn.stream, position, turn.decided)));
            } else {
                waiting.push(turn);
            }
        }
        if waiting.is_empty() {
            return Ok(done);
        }
        let mut requests = Vec::with_capacity(waiting.len());
        let mut facts = Vec::with_capacity(waiting.len());
        for turn in &mut waiting {
            let expected = turn.before.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
            requests.push(AppendRequest { stream: turn.stream.clone(), expected, events: Vec::new() });
            let events = std::mem::take(&mut turn.events);
            facts.push(events.into_iter().map(|(origin, index, event)| (origin, index, event.into())).collect());
        }
        // On the way out the states are ahead and marked so.
        self.encode_into(&mut requests, facts).await?;
        let appended = self.log.append_all(requests).await;
        for (mut turn, appended) in waiting.into_iter().zip(appended) {
            let handled = match appended {
                Ok(Appended { position, repeated: false, .. }) => {
                    turn.loaded.settle(&turn.stream, position, turn.decided)
                }
                // Somebody else was faster, it was written before, or nobody knows: alone this is found out.
                Ok(_) | Err(_) => {
                    turn.loaded.back_to_the_log();
                    Vec::new()
                }
            };
            done.push((turn.place, handled));
        }
        Ok(done)
    }

    /// Encodes events of several streams. Keys that are still to be made are made together.
    async fn encode_into<R: std::error::Error + 'static>(
        &self,
        requests: &mut [AppendRequest],
        mut facts: Vec<Vec<(&Origin, u32, DomainEvent)>>,
    ) -> Result<(), HandleError<R>> {
        // Whoever fails says so when the event is encoded.
        self.codec.make_keys(facts.iter_mut().flatten().map(|(_, _, event)| event)).await;
        for (request, facts) in requests.iter_mut().zip(facts) {
            for (origin, index, event) in facts {
                let stream = &request.stream;
                let new = self.codec.encode(origin.id.event(index), stream, origin.metadata(), event).await;
                request.events.push(new.map_err(|error| not_coded(stream, error))?);
            }
        }
        Ok(())
    }

    /// Writes facts that no rule could refuse, each with an origin of its own; to each stream in one append where none
    /// of its facts was written before.
    ///
    /// # Errors
    /// As [`Handler::record`]; some of them may have been written.
    pub async fn record_all<R: std::error::Error + 'static>(
        &self,
        streams: Vec<(StreamName, Vec<(Origin, DomainEvent)>)>,
    ) -> Result<(), HandleError<R>> {
        let mut requests = Vec::with_capacity(streams.len());
        for (stream, _) in &streams {
            let (stream, expected) = (stream.clone(), ExpectedRevision::Any);
            requests.push(AppendRequest { stream, expected, events: Vec::new() });
        }
        let facts = streams.iter().map(|(_, facts)| facts.iter().map(|(origin, fact)| (origin, 0, fact.clone())));
        self.encode_into(&mut requests, facts.map(Iterator::collect).collect()).await?;
        let appended = self.log.append_all(requests).await;
        for ((stream, facts), appended) in streams.into_iter().zip(appended) {
            match appended {
                Ok(_) => continue,
                Err(AppendError::Unavailable { reason, retry_after }) => {
                    return Err(HandleError::Unavailable { reason, retry_after });
                }
                // Some of them were written before.
                Err(AppendError::IdTaken(_) | AppendError::Invalid(_) | AppendError::Conflict { .. }) => {}
            }
            for (origin, fact) in facts {
                match Box::pin(self.record(&stream, &origin, vec![fact])).await {
                    // Another fact was written for the same cause before: the first one stands.
                    Ok(_) | Err(HandleError::IdTaken) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl<D: Decider> Loaded<D> {
    /// Forgets a state that is ahead of the log, so that it is read anew. What made it so may still be written.
    pub(super) fn back_to_the_log(&mut self) {
        if self.ahead {
            *self = Self { in_doubt: true, ..Self::default() };
        }
    }

    /// The append that the state was ahead by has been made and ends at `position`.
    fn settle(&mut self, stream: &StreamName, position: Position, decided: Vec<Decided<'_>>) -> Vec<Handled> {
        let mut handled = Vec::with_capacity(decided.len());
        if std::mem::take(&mut self.ahead) {
            self.in_doubt = false;
        }
        for Decided { origin, revision, written } in decided {
            if written {
                // Where its own events ended is not known; whoever reads at the end of the append sees them.
                self.position = position;
                self.remember(origin.id, Earlier { wish: origin.wish, position });
            }
            handled.push(Handled { stream: stream.clone(), revision, position: self.position, written });
        }
        handled
    }
}
