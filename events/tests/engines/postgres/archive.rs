//! An installation that moves from a data folder to PostgreSQL, and back into an archive.
//!
//! **Invariant:** what is compared was read through the adapters that a server uses.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use events::archive::{ArchiveError, Contents, Place, Places, Progress, export, import};
use events::blobs::Blobs;
use events::blobs::folder::FolderBlobs;
use events::blobs::postgres::PostgresBlobs;
use events::checkpoints::CheckpointStore;
use events::checkpoints::folder::FolderCheckpoints;
use events::checkpoints::postgres::PostgresCheckpoints;
use events::clock::FixedClock;
use events::envelope::{NewEvent, Position, RecordedEvent, StreamName};
use events::feed::Checkpoints;
use events::ids::{ConversationId, TenantId};
use events::log::embedded::{EmbeddedLog, EmbeddedLogConfig};
use events::log::postgres::{PostgresLog, PostgresLogConfig};
use events::log::{AppendError, EventLog, ExpectedRevision, Filter};
use events::seal::embedded::EmbeddedKeyStore;
use events::seal::postgres::PostgresKeyStore;
use events::seal::{DataKey, KeyEncryptionKey, KeyStore, KeyStoreError, KeySubject, PoolConfig, StoredKey};
use events::testing::{fresh_stream, fresh_tenant, fresh_uuid, sample_events, sample_time};

use super::Schema;

const POOL: PoolConfig = PoolConfig { low_water_keys: 16, batch_pages: 1 };

fn kek(byte: u8) -> KeyEncryptionKey {
    KeyEncryptionKey::parse(&STANDARD.encode([byte; 32])).unwrap()
}

fn in_folder(folder: &Path) -> Places {
    let [log, keys, blobs, checkpoints] = [const { Place::Embedded }; 4];
    Places { log, keys, blobs, checkpoints, folder: folder.to_owned() }
}

fn in_schema(schema: &Schema, folder: &Path) -> Places {
    let place = || Place::Postgres(schema.another());
    Places { log: place(), keys: place(), blobs: place(), checkpoints: place(), folder: folder.to_owned() }
}

fn quiet(_: Progress) {}

async fn everything(log: &dyn EventLog) -> Vec<RecordedEvent> {
    log.read_all(Position::START, &Filter::default(), 1_000_000).await.unwrap().0
}

/// What was in the data folder.
struct Old {
    events: Vec<RecordedEvent>,
    appended: (StreamName, NewEvent),
    kept: DataKey,
    own: DataKey,
    destroyed: DataKey,
    destroyed_subject: KeySubject,
    id_secret: [u8; 32],
    blobs: Vec<(TenantId, String, Bytes)>,
}

async fn fill(folder: &Path) -> Old {
    let clock = Arc::new(FixedClock::new(sample_time()));
    let log = EmbeddedLog::open(EmbeddedLogConfig::new(folder.join("log.db")), clock.clone()).unwrap();
    let tenant = fresh_tenant();
    let streams: Vec<_> = (0..7).map(|_| fresh_stream(&tenant)).collect();
    for number in 0..90 {
        clock.advance(chrono::Duration::seconds(1));
        let events = sample_events(&format!("{number}"), 1 + number % 30);
        log.append(&streams[number % 7], ExpectedRevision::Any, events).await.unwrap();
    }
    let appended = (streams[3].clone(), sample_events("the last", 1).remove(0));
    log.append(&appended.0, ExpectedRevision::Any, vec![appended.1.clone()]).await.unwrap();
    let keys = EmbeddedKeyStore::open(folder.join("keys.db"), kek(1), POOL).await.unwrap();
    let subject = || KeySubject::Conversation(ConversationId::new(fresh_uuid()));
    let destroyed_subject = subject();
    let (kept, own) = (keys.key_for(subject()).await.unwrap(), keys.key_for(KeySubject::Own).await.unwrap());
    let destroyed = keys.key_for(destroyed_subject).await.unwrap();
    for _ in 0..600 {
        keys.key_for(subject()).await.unwrap();
        keys.key_for(KeySubject::Own).await.unwrap();
    }
    keys.destroy(destroyed.id).await.unwrap();
    let store = FolderBlobs::open(folder.join("blobs")).await.unwrap();
    let mut blobs = Vec::new();
    for number in 0..600_u32 {
        let (tenant, sealed) = (fresh_tenant(), Bytes::from(number.to_string()));
        blobs.push((tenant.clone(), store.put(&tenant, sealed.clone()).await.unwrap(), sealed));
    }
    let checkpoints = FolderCheckpoints::open(folder.join("checkpoints")).unwrap();
    checkpoints.store("inbound", &Checkpoints::of_position(Position(41))).await.unwrap();
    let (events, id_secret) = (everything(&log).await, *keys.id_secret().await.unwrap());
    log.close().await;
    Old { events, appended, kept, own, destroyed, destroyed_subject, id_secret, blobs }
}

async fn moved(schema: &Schema, folder: &Path) -> (Old, Contents) {
    let old = fill(folder).await;
    let archive = folder.join("archive");
    let (exported, _) = export(&in_folder(folder), &archive, &quiet).await.unwrap();
    let imported = import(&archive, &in_schema(schema, folder), &kek(1), &quiet).await.unwrap();
    assert_eq!(imported, exported);
    (old, exported)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_moved_to_a_server_is_the_same_and_goes_on() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::fresh());
    let (old, exported) = moved(&schema, folder.path()).await;
    assert_eq!(exported.events, old.events.len() as u64);

    let clock = Arc::new(FixedClock::new(sample_time()));
    let log = PostgresLog::open(schema.another(), PostgresLogConfig::default(), clock).await.unwrap();
    assert_eq!(everything(&log).await, old.events);
    // Its digest moved along: the same event again is known, another one under its id is refused.
    let last = old.events.last().unwrap();
    let (stream, event) = old.appended;
    let again = log.append(&stream, ExpectedRevision::Any, vec![event.clone()]).await.unwrap();
    assert_eq!((again.repeated, again.position), (true, last.position));
    let other = NewEvent { digest: [9; 16], ..event.clone() };
    let refused = log.append(&stream, ExpectedRevision::Any, vec![other]).await;
    assert_eq!(refused, Err(AppendError::IdTaken(event.id)));
    let next = log.append(&stream, ExpectedRevision::Exact(last.revision), sample_events("next", 1)).await.unwrap();
    assert_eq!(next.position, Position(last.position.0 + 1));

    let keys = PostgresKeyStore::open(schema.another(), kek(1), POOL).await.unwrap();
    assert_eq!(*keys.id_secret().await.unwrap(), old.id_secret);
    assert_eq!(
        keys.keys(&[old.kept.id, old.own.id, old.destroyed.id]).await,
        [Ok(StoredKey::Present(old.kept)), Ok(StoredKey::Present(old.own)), Ok(StoredKey::Destroyed)]
    );
    assert_eq!(keys.key_for(old.destroyed_subject).await, Err(KeyStoreError::Destroyed));
    let blobs = PostgresBlobs::open(schema.another()).await.unwrap();
    for (tenant, hash, sealed) in &old.blobs {
        assert_eq!(blobs.get(tenant, hash).await.as_ref(), Ok(sealed));
    }
    let checkpoints = PostgresCheckpoints::open(schema.another()).await.unwrap();
    assert_eq!(checkpoints.load("inbound").await, Ok(Checkpoints::of_position(Position(41))));
}

#[tokio::test]
async fn an_archive_of_the_server_is_that_of_the_folder() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::fresh());
    moved(&schema, folder.path()).await;
    let second = folder.path().join("second");
    export(&in_schema(&schema, folder.path()), &second, &quiet).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("archive")).unwrap(), std::fs::read(&second).unwrap());
    let back = folder.path().join("back");
    import(&second, &in_folder(&back), &kek(1), &quiet).await.unwrap();
}

#[tokio::test]
async fn an_import_that_is_refused_leaves_nothing_and_one_with_data_is_refused() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::fresh());
    fill(folder.path()).await;
    let archive = folder.path().join("archive");
    export(&in_folder(folder.path()), &archive, &quiet).await.unwrap();
    let target = in_schema(&schema, folder.path());
    let refused = import(&archive, &target, &kek(2), &quiet).await;
    assert!(matches!(refused, Err(ArchiveError::WrongKey)), "{refused:?}");
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &whole[..whole.len() - 1]).unwrap();
    let refused = import(&archive, &target, &kek(1), &quiet).await;
    assert!(matches!(refused, Err(ArchiveError::Damaged(_))), "{refused:?}");
    std::fs::write(&archive, whole).unwrap();

    // A failure at the very end of the transaction.
    let blobs = PostgresBlobs::open(schema.another()).await.unwrap();
    let stranger = schema.stranger().await;
    stranger.client.batch_execute("ALTER TABLE blobs ADD CHECK (octet_length(sealed) < 3)").await.unwrap();
    let refused = import(&archive, &target, &kek(1), &quiet).await;
    assert!(matches!(refused, Err(ArchiveError::Postgres(_))), "{refused:?}");
    stranger.client.batch_execute("ALTER TABLE blobs DROP CONSTRAINT blobs_sealed_check").await.unwrap();
    for table in ["events", "secret", "subject_key", "pool_page", "blobs", "reactor_checkpoint"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(stranger.client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 0, "{table}");
    }

    // As whoever began to use the place by mistake leaves it.
    let tenant = fresh_tenant();
    let hash = blobs.put(&tenant, Bytes::from_static(b"mine")).await.unwrap();
    let refused = import(&archive, &target, &kek(1), &quiet).await;
    assert!(matches!(refused, Err(ArchiveError::NotEmpty { .. })), "{refused:?}");
    blobs.remove(&tenant, &hash).await.unwrap();
    import(&archive, &target, &kek(1), &quiet).await.unwrap();
    let refused = import(&archive, &target, &kek(1), &quiet).await;
    assert!(matches!(refused, Err(ArchiveError::NotEmpty { .. })), "{refused:?}");
}
