//! Reads and subscriptions: of one stream, or of `$all` with a filter.
//!
//! **Invariant:** a counted read starts with the event it names when it goes forwards and before it when `$all` is read
//! backwards; a subscription starts after it. A position at which no record begins is refused, as the server reads a
//! record there and finds none.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tonic::Status;

use super::answers::{read, stream_name};
use super::store::{Record, State, Store};
use super::wire::event_store::client::StreamIdentifier;
use super::wire::event_store::client::streams::read_req::Options;
use super::wire::event_store::client::streams::read_req::options::all_options::AllOption;
use super::wire::event_store::client::streams::read_req::options::filter_options::{Filter, Window};
use super::wire::event_store::client::streams::read_req::options::stream_options::RevisionOption;
use super::wire::event_store::client::streams::read_req::options::{
    CountOption, FilterOption, FilterOptions, ReadDirection, StreamOption, uuid_option,
};
use super::wire::event_store::client::streams::read_resp::{self, Content};
use super::wire::event_store::client::streams::{ReadReq, ReadResp};

/// Records searched between two checkpoints of a filtered subscription, when the client does not say.
const WINDOW: u32 = 32;

/// How the regular expressions begin that the official clients send for "no system events": Node, Rust, Python. The
/// double knows no others.
const NO_SYSTEM_EVENTS: [&str; 3] = ["^[^$]", r"^[^\$]", r"^(?!(\$.+"];

/// How a test ends the subscriptions of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a status that says it is unavailable.
    Unavailable,
    /// As if all had been said.
    Clean,
    /// Not at all: they go on and say nothing.
    Silent,
}

/// The subscriptions ended so far, and how the last were.
pub(super) type Ended = watch::Receiver<(u64, End)>;

/// A read as asked for.
pub(super) struct Read {
    from: Place,
    backwards: bool,
    count: Option<u64>,
    structured: bool,
    filter: Wanted,
    checkpoint_after: u64,
}

/// Where a read starts.
#[derive(Debug, Clone, Copy)]
enum Place {
    Start,
    End,
    /// A revision or a position.
    At(u64),
}

/// Which records a read wants.
enum Wanted {
    Stream(String),
    All,
    Names { of_streams: bool, prefixes: Vec<String>, no_system: bool },
}

impl Wanted {
    fn matches(&self, record: &Record) -> bool {
        match self {
            Self::Stream(name) => record.stream == *name,
            Self::All => true,
            Self::Names { of_streams, prefixes, no_system } => {
                let name = if *of_streams { &record.stream } else { &record.event.event_type };
                if *no_system { !name.starts_with('$') } else { prefixes.iter().any(|prefix| name.starts_with(prefix)) }
            }
        }
    }
}

impl Read {
    /// Understands a request.
    pub(super) fn new(request: ReadReq) -> Result<Self, Status> {
        let options = request.options.ok_or_else(|| Status::invalid_argument("no options"))?;
        let backwards = options.read_direction() == ReadDirection::Backwards;
        let structured = structured(&options);
        let (from, stream) = match options.stream_option {
            Some(StreamOption::Stream(stream)) => {
                let from = match stream.revision_option {
                    Some(RevisionOption::Revision(revision)) => Place::At(revision),
                    Some(RevisionOption::End(_)) => Place::End,
                    Some(RevisionOption::Start(_)) | None => Place::Start,
                };
                (from, Some(stream_name(stream.stream_identifier)?))
            }
            Some(StreamOption::All(all)) => {
                let from = match all.all_option {
                    Some(AllOption::Position(position)) => Place::At(position.commit_position),
                    Some(AllOption::End(_)) => Place::End,
                    Some(AllOption::Start(_)) | None => Place::Start,
                };
                (from, None)
            }
            None => return Err(Status::invalid_argument("neither a stream nor $all")),
        };
        let (wanted, checkpoint_after) = match (stream, options.filter_option) {
            (Some(name), _) => (Wanted::Stream(name), u64::MAX),
            (None, Some(FilterOption::Filter(filter))) => filtered(filter)?,
            (None, _) => (Wanted::All, u64::MAX),
        };
        let count = match options.count_option {
            Some(CountOption::Count(count)) => Some(count),
            Some(CountOption::Subscription(_)) => None,
            None => return Err(Status::invalid_argument("neither counted nor a subscription")),
        };
        Ok(Self { from, backwards, count, structured, filter: wanted, checkpoint_after })
    }

    /// Answers until the client has enough.
    pub(super) async fn answer(self, store: Arc<Store>, answers: Sender<Result<ReadResp, Status>>, ended: Ended) {
        // Whoever does not listen any more is not told.
        let _ = match self.count {
            Some(count) => self.once(&store, count, &answers).await,
            None => self.follow(&store, &answers, ended).await,
        };
    }

    async fn once(&self, store: &Store, count: u64, answers: &Sender<Result<ReadResp, Status>>) -> Option<()> {
        let found = {
            let state = store.look();
            self.counted(&state, count)
        };
        match found {
            Ok(found) => {
                for content in found {
                    say(answers, content).await?;
                }
            }
            Err(status) => answers.send(Err(status)).await.ok()?,
        }
        Some(())
    }

    fn counted(&self, state: &State, count: u64) -> Result<Vec<Content>, Status> {
        if let Wanted::Stream(name) = &self.filter {
            let Some(places) = state.streams.get(name) else {
                let identifier = StreamIdentifier { stream_name: name.clone().into() };
                return Ok(vec![Content::StreamNotFound(read_resp::StreamNotFound {
                    stream_identifier: Some(identifier),
                })]);
            };
            return Ok(self.of_stream(state, places, count));
        }
        let all = &state.records;
        let start = match (self.from, self.backwards) {
            (Place::Start, _) => 0,
            (Place::End, _) => all.len(),
            (Place::At(position), _) => place(state, position)?,
        };
        let take = usize::try_from(count).unwrap_or(usize::MAX);
        let wanted = |record: &&Record| self.filter.matches(record);
        let read = |record: &Record| read(record, self.structured);
        Ok(if self.backwards {
            all[..start].iter().rev().filter(wanted).take(take).map(read).collect()
        } else {
            all[start..].iter().filter(wanted).take(take).map(read).collect()
        })
    }

    fn of_stream(&self, state: &State, places: &[usize], count: u64) -> Vec<Content> {
        let last = places.len() as u64 - 1;
        let revisions: Box<dyn Iterator<Item = u64>> = match (self.from, self.backwards) {
            (Place::End, true) => Box::new((0..=last).rev()),
            // A page of the server: it ends at the revision asked for, whether that is there or not.
            (Place::At(revision), true) => Box::new((0..=revision).rev()),
            (Place::Start, true) => Box::new(0..=0),
            (Place::At(revision), false) => Box::new(revision..=last),
            (Place::Start, false) => Box::new(0..=last),
            (Place::End, false) => Box::new(std::iter::empty()),
        };
        let take = usize::try_from(count).unwrap_or(usize::MAX);
        let places = revisions.take(take).filter_map(|revision| places.get(usize::try_from(revision).ok()?));
        places.map(|place| read(&state.records[*place], self.structured)).collect()
    }

    async fn follow(&self, store: &Store, answers: &Sender<Result<ReadResp, Status>>, mut ended: Ended) -> Option<()> {
        let mut grown = store.follow();
        ended.borrow_and_update();
        let start = {
            let state = store.look();
            match (&self.filter, self.from) {
                (_, Place::Start) => Ok(0),
                (_, Place::End) => Ok(state.records.len()),
                (Wanted::Stream(name), Place::At(revision)) => {
                    let places = state.streams.get(name).map_or(&[][..], Vec::as_slice);
                    let place = usize::try_from(revision).ok().and_then(|revision| places.get(revision));
                    Ok(place.map_or(state.records.len(), |place| place + 1))
                }
                (_, Place::At(position)) => place(&state, position).map(|place| place + 1),
            }
        };
        let mut next = match start {
            Ok(start) => start,
            Err(status) => return answers.send(Err(status)).await.ok(),
        };
        say(answers, Content::Confirmation(read_resp::SubscriptionConfirmation { subscription_id: "double".into() }))
            .await?;
        let (mut caught_up, mut searched) = (false, 0);
        loop {
            grown.borrow_and_update();
            let slice: Vec<Record> = store.look().records[next..].iter().take(64).cloned().collect();
            for record in &slice {
                next += 1;
                if self.filter.matches(record) {
                    searched = 0;
                    say(answers, read(record, self.structured)).await?;
                    continue;
                }
                searched += 1;
                if searched >= self.checkpoint_after {
                    searched = 0;
                    let (commit_position, prepare_position) = (record.position, record.position);
                    let checkpoint = read_resp::Checkpoint { commit_position, prepare_position, timestamp: None };
                    say(answers, Content::Checkpoint(checkpoint)).await?;
                }
            }
            if !slice.is_empty() {
                continue;
            }
            if !std::mem::replace(&mut caught_up, true) {
                // Without time and position, as 23.10 says it.
                let caught_up = read_resp::CaughtUp { timestamp: None, stream_revision: None, position: None };
                say(answers, Content::CaughtUp(caught_up)).await?;
            }
            tokio::select! {
                changed = grown.changed() => changed.ok()?,
                changed = ended.changed() => {
                    changed.ok()?;
                    let (_, how) = *ended.borrow();
                    match how {
                        End::Unavailable => answers.send(Err(Status::unavailable("the test ends subscriptions"))).await.ok()?,
                        End::Clean => {}
                        End::Silent => answers.closed().await,
                    }
                    return Some(());
                }
                () = answers.closed() => return None,
            }
        }
    }
}

fn structured(options: &Options) -> bool {
    let content = options.uuid_option.as_ref().and_then(|option| option.content.as_ref());
    !matches!(content, Some(uuid_option::Content::String(_)))
}

fn filtered(options: FilterOptions) -> Result<(Wanted, u64), Status> {
    let (of_streams, expression) = match options.filter {
        Some(Filter::StreamIdentifier(expression)) => (true, expression),
        Some(Filter::EventType(expression)) => (false, expression),
        None => return Err(Status::invalid_argument("a filter of nothing")),
    };
    let no_system = NO_SYSTEM_EVENTS.iter().any(|known| expression.regex.starts_with(known));
    if !expression.regex.is_empty() && !no_system {
        return Err(Status::unimplemented("the double knows no regular expressions"));
    }
    let window = match options.window {
        Some(Window::Max(max)) => max,
        Some(Window::Count(_)) | None => WINDOW,
    };
    let every = u64::from(window) * u64::from(options.checkpoint_interval_multiplier.max(1));
    Ok((Wanted::Names { of_streams, prefixes: expression.prefix, no_system }, every.max(1)))
}

fn place(state: &State, position: u64) -> Result<usize, Status> {
    state
        .records
        .binary_search_by_key(&position, |record| record.position)
        .map_err(|_| Status::invalid_argument(format!("no record begins at position {position}")))
}

async fn say(answers: &Sender<Result<ReadResp, Status>>, content: Content) -> Option<()> {
    answers.send(Ok(ReadResp { content: Some(content) })).await.ok()
}
