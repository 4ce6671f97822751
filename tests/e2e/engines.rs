//! The engines that the stories run on: the embedded ones, or those that `make engines` started.
//!
//! **Invariant:** `LETOPIS_TEST_ENGINES` names them; what it names has to be there, or the test fails. Every stage has
//! topics and tables of its own.

use std::any::Any;
use std::env;

use events::clock::Clock;
use events::testing::fresh_uuid;
use letopis::clock::SystemClock;
use letopis::config::{Config, FeedEngine, Keeping, LogEngine};

/// Which engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engines {
    /// Files.
    Embedded,
    /// The log, the views, the keys and the blobs in PostgreSQL, the feed in Kafka.
    PostgresAndKafka,
    /// The log on the protocol double of EventStoreDB, the feed in Kafka, the others embedded.
    DoubleAndKafka,
}

impl Engines {
    /// As the environment says.
    pub(crate) fn chosen() -> Self {
        match env::var("LETOPIS_TEST_ENGINES").as_deref() {
            Err(_) => Self::Embedded,
            Ok("postgres+kafka") => Self::PostgresAndKafka,
            Ok("double+kafka") => Self::DoubleAndKafka,
            Ok(other) => panic!("LETOPIS_TEST_ENGINES={other}: postgres+kafka or double+kafka"),
        }
    }

    /// Configures them; what is returned must live as long as the stage.
    pub(crate) async fn set_up(self, config: &mut Config) -> Box<dyn Any + Send + Sync> {
        let name = format!("t{}", fresh_uuid().simple());
        if self != Self::Embedded {
            config.feed.engine = FeedEngine::Kafka;
            config.kafka.brokers = server("LETOPIS_TEST_KAFKA_BROKERS");
            config.kafka.replication = if config.kafka.brokers.contains(',') { 3 } else { 1 };
            config.kafka.topic_prefix.clone_from(&name);
            config.kafka.partitions = 2;
        }
        match self {
            Self::Embedded => Box::new(()),
            Self::PostgresAndKafka => {
                config.log.engine = LogEngine::Postgres;
                config.views.engine = Keeping::Postgres;
                config.blobs.engine = Keeping::Postgres;
                config.keys.engine = Keeping::Postgres;
                config.postgres.url = server("LETOPIS_TEST_POSTGRES_URL").into();
                // The read models add to it; a schema has at most 32 bytes there.
                name[..20].clone_into(&mut config.postgres.schema);
                config.postgres.pool_size = 3;
                let kek = config.data_file("kek");
                std::fs::create_dir_all(&config.data_dir).unwrap();
                events::seal::embedded::KeyEncryptionKey::generate(&kek).unwrap();
                Box::new(())
            }
            Self::DoubleAndKafka => {
                let double = events::testing::eventstore::EventStoreDouble::start().await.unwrap();
                double.turn_clock(SystemClock.now() - events::testing::sample_time());
                config.log.engine = LogEngine::Eventstore;
                config.eventstore.url = double.url().into();
                Box::new(double)
            }
        }
    }
}

fn server(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `make engines`, which starts the servers"))
}

/// The settings of the engines, for commands that run beside the server.
pub(crate) fn environment(config: &Config) -> Vec<(&'static str, String)> {
    // Engines are written as the configuration has them.
    fn name(engine: &impl serde::Serialize) -> String {
        serde_json::to_value(engine).unwrap().as_str().unwrap().to_owned()
    }
    vec![
        ("LETOPIS_DATA_DIR", config.data_dir.display().to_string()),
        ("LETOPIS_LOG__ENGINE", name(&config.log.engine)),
        ("LETOPIS_FEED__ENGINE", name(&config.feed.engine)),
        ("LETOPIS_VIEWS__ENGINE", name(&config.views.engine)),
        ("LETOPIS_KEYS__ENGINE", name(&config.keys.engine)),
        ("LETOPIS_BLOBS__ENGINE", name(&config.blobs.engine)),
        ("LETOPIS_POSTGRES__URL", config.postgres.url.reveal().to_owned()),
        ("LETOPIS_POSTGRES__SCHEMA", config.postgres.schema.clone()),
        ("LETOPIS_EVENTSTORE__URL", config.eventstore.url.reveal().to_owned()),
        ("LETOPIS_KAFKA__BROKERS", config.kafka.brokers.clone()),
        ("LETOPIS_KAFKA__TOPIC_PREFIX", config.kafka.topic_prefix.clone()),
        ("LETOPIS_KAFKA__PARTITIONS", config.kafka.partitions.to_string()),
    ]
}
