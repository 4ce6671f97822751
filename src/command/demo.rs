//! `letopis demo`: a story on a throw-away data folder.
//!
//! **Invariant:** talks to the server as everybody does, over HTTP: deliveries through webhooks, people through GraphQL.
//! Nothing leaves the machine; the data folder goes with the demo unless it was named. On configured engines it has a schema
//! and topics of its own, which stay.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use events::clock::Clock;
use events::ids::TenantId;
use events::viewer::{Role, Viewer};
use futures::{StreamExt, TryStreamExt};

use crate::app::App;
use crate::clock::SystemClock;
use crate::command::{say, serve};
use crate::config::{Config, FeedEngine, Keeping, LogEngine};
use crate::http::auth::Tokens;
use crate::telemetry;
use catalogue::Tongue;
use desk::Desk;
use doors::Doors;
use fake_provider::FakeProvider;
use operators::Operators;
use progress::{Progress, tell};
use story::{Scene, Story};

mod catalogue;
mod checks;
mod desk;
mod doors;
pub mod fake_provider;
mod operators;
mod people;
mod progress;
mod queries;
mod random;
mod shift;
mod story;

/// Fewer customers do not make a whole story.
pub const FEWEST_CUSTOMERS: usize = 20;
/// More have no phone numbers of their own.
const MOST_CUSTOMERS: i64 = 1_000;
/// The tenant whose shop it is.
const TENANT: &str = "demo";
/// Scenes that play at the same time.
const SCENES_AT_ONCE: usize = 16;
/// Ports tried after the wanted one.
const PORTS_TRIED: u16 = 100;
/// Between two messages once the story is told.
const LIVE_EVERY: Duration = Duration::from_secs(4);

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to listen; the next free port is taken when this one is not free.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))]
    listen: SocketAddr,
    /// Folder of the data, kept afterwards; a throw-away folder when absent.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Use the engines of the configuration: in a schema of PostgreSQL and topics of Kafka that are made for the demo.
    #[arg(long)]
    engines: bool,
    /// How many customers the story has.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(FEWEST_CUSTOMERS as i64..=MOST_CUSTOMERS))]
    customers: u32,
    /// The same number tells the same story.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End once the story is told and checked, with exit code 1 if something is not as it should be.
    #[arg(long)]
    once: bool,
}

/// Runs the story.
///
/// # Errors
/// The server cannot be started, or what letopis made of the story is not what it should be.
pub async fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    let folder = Folder::of(arguments.data_dir.as_deref())?;
    let listen = free(arguments.listen)?;
    let provider = FakeProvider::start().await?;
    let config = configured(config, &arguments, &folder, listen, &provider)?;
    let place = Place::of(&config, &folder);
    telemetry::install_logs(&config.logs)?;
    let clock = SystemClock;
    let (tokens, people) = People::admit(&listen)?;
    let app = App::start(config, tokens).await?;
    let server = format!("http://{}", app.address());
    say(format_args!("letopis demo: {} customers, seed {}", arguments.customers, arguments.seed))?;
    let moved = if listen.port() == arguments.listen.port() || arguments.listen.port() == 0 {
        String::new()
    } else {
        format!(" ({} is taken)", arguments.listen.port())
    };
    tell("server", format_args!("{server}{moved}, data in {}", place.described))?;
    let demo = Demo { client: reqwest::Client::new(), server, people, provider, clock, place };
    let outcome = tokio::select! {
        told = Box::pin(demo.tell(&arguments)) => told,
        interrupted = serve::interrupted() => interrupted.and_then(|()| {
            anyhow::ensure!(!arguments.once, "interrupted before everything was checked");
            say("\n\n  stopping: what was acknowledged is finished first")
        }),
    };
    app.stop().await;
    outcome
}

/// The configuration of the demo: what was configured, but for what would reach outside or touch what is there.
fn configured(
    config: Config,
    arguments: &Arguments,
    folder: &Folder,
    listen: SocketAddr,
    provider: &FakeProvider,
) -> anyhow::Result<Config> {
    let mut demo = Config { logs: config.logs, http: config.http, ..Config::default() };
    if arguments.engines {
        anyhow::ensure!(
            config.log.engine != LogEngine::Eventstore,
            "the demo needs a place of its own, which EventStoreDB does not have: use log.engine = \"postgres\""
        );
        (demo.log, demo.feed, demo.views) = (config.log, config.feed, config.views);
        (demo.keys, demo.blobs) = (config.keys, config.blobs);
        (demo.postgres, demo.kafka) = (config.postgres, config.kafka);
        let mut random = [0_u8; 4];
        getrandom::fill(&mut random)?;
        let number = hex::encode(random);
        demo.postgres.schema = format!("letopis_demo_{number}");
        demo.kafka.topic_prefix = format!("letopis-demo-{number}");
    }
    if demo.logs.filter == Config::default().logs.filter {
        demo.logs.filter = "error".to_owned();
    }
    demo.data_dir.clone_from(&folder.path);
    demo.http.listen = listen;
    demo.http.public_url = Some(format!("http://{listen}"));
    demo.telegram.api_base = provider.api_base();
    Ok(demo)
}

/// Where the data of the demo are.
struct Place {
    described: String,
    /// Settings with which another command finds them.
    settings: String,
}

impl Place {
    fn of(config: &Config, folder: &Folder) -> Self {
        let mut described = folder.path.display().to_string();
        let mut settings = format!("LETOPIS_DATA_DIR={described}");
        let kept = [config.views.engine, config.keys.engine, config.blobs.engine];
        if config.log.engine == LogEngine::Postgres || kept.contains(&Keeping::Postgres) {
            described = format!("{described} and PostgreSQL's schema {}", config.postgres.schema);
            settings = format!("{settings} LETOPIS_POSTGRES__SCHEMA={}", config.postgres.schema);
        }
        if config.feed.engine == FeedEngine::Kafka {
            described = format!("{described}, by Kafka's topics {}.*", config.kafka.topic_prefix);
            settings = format!("{settings} LETOPIS_KAFKA__TOPIC_PREFIX={}", config.kafka.topic_prefix);
        }
        Self { described, settings }
    }
}

/// The tokens of the people at the shop.
struct People {
    administrator: String,
    supervisor: String,
    russian: String,
    english: String,
}

impl People {
    fn admit(listen: &SocketAddr) -> anyhow::Result<(Tokens, Self)> {
        anyhow::ensure!(listen.ip().is_loopback(), "the demo listens on loopback only, not on {listen}");
        let mut tokens = Tokens::none(Arc::new(SystemClock));
        let tenant: TenantId = TENANT.parse().context("the name of the tenant")?;
        let mut admit = |role, id: &str| -> anyhow::Result<String> {
            let mut random = [0_u8; 16];
            getrandom::fill(&mut random)?;
            let token = format!("demo-{}", hex::encode(random));
            tokens.admit(&token, Viewer { tenant: tenant.clone(), role, id: id.into() });
            Ok(token)
        };
        let people = Self {
            administrator: admit(Role::Administrator, "administrator")?,
            supervisor: admit(Role::Supervisor, "supervisor")?,
            russian: admit(Role::Operator, operators::name(Tongue::Russian))?,
            english: admit(Role::Operator, operators::name(Tongue::English))?,
        };
        Ok((tokens, people))
    }
}

struct Demo {
    client: reqwest::Client,
    server: String,
    people: People,
    provider: FakeProvider,
    clock: SystemClock,
    place: Place,
}

impl Demo {
    fn desk(&self, token: &str) -> Desk {
        Desk::new(self.client.clone(), &self.server, token)
    }

    async fn tell(&self, arguments: &Arguments) -> anyhow::Result<()> {
        let customers = usize::try_from(arguments.customers)?;
        let mut story = Story::new(arguments.seed, customers, self.clock.now())?;
        let administrator = self.desk(&self.people.administrator);
        let shop = &story.catalogue().shop;
        let doors = Doors::open(self.client.clone(), &self.server, &administrator, shop, &self.provider).await?;
        tell("accounts", "telegram, webchat and email, opened by mutation")?;

        let scenes = story.first_act();
        self.play("act 1", &doors, scenes).await?;
        let tasks = story.tasks();
        let progress = Progress::of("operators", tasks.len());
        let operators =
            Operators { russian: self.desk(&self.people.russian), english: self.desk(&self.people.english) };
        let wishes = operators.work(tasks, self.clock.now(), &progress).await?;
        checks::at_rest(&self.client, &self.server, &progress).await?;
        progress.end(format_args!("{wishes} answers, notes, tags and the like, by mutation"))?;
        let supervisor = self.desk(&self.people.supervisor);
        // Who replies must have got an answer: the second act begins when everything of the first is there.
        let sent = async || self.provider.sent(&self.client).await;
        checks::hold(&supervisor, story.expected(), sent).await?;
        let scenes = story.second_act(&sent().await?);
        self.play("act 2", &doors, scenes).await?;
        let found = checks::hold(&supervisor, story.expected(), sent).await?;
        tell("checked", summary(&found))?;
        tell("shift", shift::play(&administrator, &operators).await?)?;
        let conversation = self.print(&supervisor).await?;
        if arguments.once {
            return Ok(());
        }
        self.what_next(&conversation)?;
        self.go_on(&doors, &mut story).await
    }

    async fn play(&self, label: &'static str, doors: &Doors, scenes: Vec<Scene>) -> anyhow::Result<()> {
        let copies = |scene: &Scene| scene.iter().map(|delivery| usize::from(delivery.copies)).sum::<usize>();
        let deliveries: usize = scenes.iter().map(copies).sum();
        let progress = Progress::of(label, scenes.iter().map(Vec::len).sum());
        let progress = &progress;
        let plays = scenes.into_iter().map(|scene| async move {
            for delivery in &scene {
                doors.post(delivery).await?;
                progress.step();
            }
            anyhow::Ok(())
        });
        futures::stream::iter(plays).buffer_unordered(SCENES_AT_ONCE).try_collect::<()>().await?;
        let posted = progress.took();
        checks::at_rest(&self.client, &self.server, progress).await?;
        progress.end(format_args!(
            "{deliveries} deliveries taken in {:.1} s, all readable {:.1} s later",
            posted.as_secs_f64(),
            (progress.took() - posted).as_secs_f64()
        ))
    }

    /// Prints addresses, token and queries; returns the conversation that they are about.
    async fn print(&self, supervisor: &Desk) -> anyhow::Result<String> {
        let Self { server, people: People { supervisor: token, .. }, .. } = self;
        say("")?;
        tell("GraphiQL", format_args!("{server}/graphiql"))?;
        tell("health", format_args!("{server}/health/ready"))?;
        tell("metrics", format_args!("{server}/metrics"))?;
        tell("token", format_args!("{token} (a supervisor's; in GraphiQL as the header Authorization: Bearer …)"))?;
        let examples = queries::Examples::find(supervisor).await?;
        for ready in queries::ready(&examples) {
            ready.run(supervisor).await?;
            say(format_args!("\n  # {}", ready.about))?;
            say(ready.curl(server, token))?;
        }
        Ok(examples.conversation)
    }

    fn what_next(&self, conversation: &str) -> anyhow::Result<()> {
        let program = std::env::args().next().unwrap_or_else(|| "letopis".to_owned());
        say("\n  # What a supervisor sees later: every step with actor, cause and both times")?;
        say(format_args!("{} {program} replay --tenant {TENANT} --conversation {conversation}", self.place.settings))?;
        say("\n  Customers go on writing. Ctrl-C ends the demo.\n")
    }

    async fn go_on(&self, doors: &Doors, story: &mut Story) -> anyhow::Result<()> {
        let progress = Progress::of("live", 0);
        let mut tick = tokio::time::interval(LIVE_EVERY);
        for written in 1_u64.. {
            tick.tick().await;
            doors.post(&story.next_message(self.clock.now())).await?;
            progress.show(format_args!("{written} more messages"));
        }
        Ok(())
    }
}

fn summary(found: &checks::Found) -> String {
    let all = &found.all;
    format!(
        "{} messages in and {} out, {} conversations, {} people ({} in two channels), {} unrecognised, none lost or doubled",
        all.inbound,
        all.outbound,
        all.conversations.len(),
        all.people,
        all.linked,
        all.unrecognised
    )
}

/// The first address from `wanted` on that can be listened on.
fn free(wanted: SocketAddr) -> anyhow::Result<SocketAddr> {
    let ports = wanted.port()..=wanted.port().saturating_add(PORTS_TRIED);
    for port in ports {
        let address = SocketAddr::new(wanted.ip(), port);
        // Bound for a moment only: the server binds it again. Port 0 becomes the port that was found free.
        if let Ok(listener) = TcpListener::bind(address) {
            return Ok(listener.local_addr()?);
        }
    }
    anyhow::bail!("no free port at or after {wanted}")
}

/// The data folder.
struct Folder {
    path: PathBuf,
    throw_away: bool,
}

impl Folder {
    fn of(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = named {
            anyhow::ensure!(
                !path.join("log.db").exists(),
                "{} has data already: the demo wants a folder of its own",
                path.display()
            );
            return Ok(Self { path: path.to_owned(), throw_away: false });
        }
        let path = std::env::temp_dir().join(format!("letopis-demo-{}", std::process::id()));
        // Made anew and for this user only: what lies there already is somebody else's.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self { path, throw_away: true })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.throw_away {
            // What stays behind lies in the folder for such things.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
