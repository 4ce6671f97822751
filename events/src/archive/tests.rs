//! A move between data folders, and the archives that are refused.
//!
//! **Invariant:** whatever is refused leaves the target as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::*;
use crate::blobs::Blobs;
use crate::blobs::folder::FolderBlobs;
use crate::checkpoints::CheckpointStore;
use crate::checkpoints::folder::FolderCheckpoints;
use crate::clock::FixedClock;
use crate::envelope::{NewEvent, RecordedEvent, StreamName};
use crate::ids::{AccountId, ConversationId};
use crate::log::embedded::{EmbeddedLog, EmbeddedLogConfig};
use crate::log::{AppendError, EventLog, ExpectedRevision, Filter};
use crate::seal::embedded::EmbeddedKeyStore;
use crate::seal::{DataKey, KeyEncryptionKey, KeyStore, KeyStoreError, KeySubject, PoolConfig, StoredKey};
use crate::testing::{fresh_stream, fresh_tenant, fresh_uuid, sample_events, sample_time};

const POOL: PoolConfig = PoolConfig { low_water_keys: 16, batch_pages: 1 };

fn kek(byte: u8) -> KeyEncryptionKey {
    KeyEncryptionKey::parse(&STANDARD.encode([byte; 32])).unwrap()
}

fn places(folder: PathBuf) -> Places {
    let embedded = Place::Embedded;
    Places { log: embedded.clone(), keys: embedded.clone(), blobs: embedded.clone(), checkpoints: embedded, folder }
}

fn quiet(_: Progress) {}

fn open_log(places: &Places) -> EmbeddedLog {
    let config = EmbeddedLogConfig::new(places.folder.join("log.db"));
    EmbeddedLog::open(config, Arc::new(FixedClock::new(sample_time()))).unwrap()
}

async fn open_keys(places: &Places) -> EmbeddedKeyStore {
    EmbeddedKeyStore::open(places.folder.join("keys.db"), kek(1), POOL).await.unwrap()
}

async fn everything(log: &EmbeddedLog) -> Vec<RecordedEvent> {
    log.read_all(Position::START, &Filter::default(), 1_000_000).await.unwrap().0
}

/// An installation with a bit of everything.
struct Installation {
    _folder: tempfile::TempDir,
    places: Places,
    archive: PathBuf,
    events: Vec<RecordedEvent>,
    appended: (StreamName, NewEvent),
    keys: Vec<DataKey>,
    destroyed: Vec<DataKey>,
    destroyed_subject: KeySubject,
    id_secret: [u8; 32],
    blobs: BTreeMap<String, (TenantId, Bytes)>,
}

impl Installation {
    async fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path().join("old"));
        fs::create_dir(&places.folder).unwrap();
        let (log, keys) = (open_log(&places), open_keys(&places).await);
        let tenant = fresh_tenant();
        let streams: Vec<_> = (0..7).map(|_| fresh_stream(&tenant)).collect();
        for number in 0..60 {
            let events = sample_events(&format!("{number}"), 1 + number % 30);
            log.append(&streams[number % 7], ExpectedRevision::Any, events).await.unwrap();
        }
        let appended = (streams[3].clone(), sample_events("the last", 1).remove(0));
        log.append(&appended.0, ExpectedRevision::Any, vec![appended.1.clone()]).await.unwrap();
        let destroyed_subject = KeySubject::Conversation(ConversationId::new(fresh_uuid()));
        let mut made = Vec::new();
        for _ in 0..300 {
            made.push(keys.key_for(KeySubject::Own).await.unwrap());
            made.push(keys.key_for(KeySubject::Account(AccountId::new(fresh_uuid()))).await.unwrap());
        }
        let destroyed = vec![made.swap_remove(2), made.swap_remove(6), keys.key_for(destroyed_subject).await.unwrap()];
        for key in &destroyed {
            keys.destroy(key.id).await.unwrap();
        }
        let store = FolderBlobs::open(places.folder.join("blobs")).await.unwrap();
        let mut blobs = BTreeMap::new();
        for number in 0..300_u32 {
            let (tenant, sealed) = (fresh_tenant(), Bytes::from(number.to_string()));
            blobs.insert(store.put(&tenant, sealed.clone()).await.unwrap(), (tenant, sealed));
        }
        let head = log.head().await.unwrap();
        let checkpoints = FolderCheckpoints::open(places.folder.join("checkpoints")).unwrap();
        checkpoints.store("inbound", &Checkpoints::of_position(Position(head.0 - 5))).await.unwrap();
        checkpoints.store("outbound", &Checkpoints::of_position(head)).await.unwrap();
        let (events, id_secret) = (everything(&log).await, *keys.id_secret().await.unwrap());
        log.close().await;
        let archive = folder.path().join("archive");
        Self {
            _folder: folder,
            places,
            archive,
            events,
            appended,
            keys: made,
            destroyed,
            destroyed_subject,
            id_secret,
            blobs,
        }
    }

    fn target(&self) -> Places {
        places(self.places.folder.with_file_name("new"))
    }

    async fn export(&self) -> Contents {
        export(&self.places, &self.archive, &quiet).await.unwrap().0
    }

    async fn import(&self) -> Result<Contents, ArchiveError> {
        import(&self.archive, &self.target(), &kek(1), &quiet).await
    }
}

/// What is left of an import that was refused.
fn data_in(places: &Places) -> Vec<String> {
    let Ok(entries) = fs::read_dir(&places.folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "log.db.lock").collect()
}

#[tokio::test]
async fn an_installation_that_moved_is_the_same_and_goes_on() {
    let old = Installation::fresh().await;
    let exported = old.export().await;
    assert_eq!((exported.events, exported.blobs, exported.checkpoints), (old.events.len() as u64, 300, 2));
    assert_eq!(old.import().await.unwrap(), exported);

    let new = old.target();
    let log = open_log(&new);
    assert_eq!(everything(&log).await, old.events);
    for event in old.events.iter().step_by(17) {
        assert_eq!(log.find(event.id).await, Ok(Some(event.clone())));
    }
    // Its digest moved along: the same event again is known, another one under its id is refused.
    let last = old.events.last().unwrap();
    let (stream, event) = old.appended.clone();
    let again = log.append(&stream, ExpectedRevision::Any, vec![event.clone()]).await.unwrap();
    assert_eq!((again.repeated, again.position), (true, last.position));
    let other = NewEvent { digest: [9; 16], ..event.clone() };
    let refused = log.append(&stream, ExpectedRevision::Any, vec![other]).await;
    assert_eq!(refused, Err(AppendError::IdTaken(event.id)));
    let next = log.append(&stream, ExpectedRevision::Exact(last.revision), sample_events("next", 1)).await.unwrap();
    assert_eq!(next.position, Position(last.position.0 + 1));

    let keys = open_keys(&new).await;
    assert_eq!(*keys.id_secret().await.unwrap(), old.id_secret);
    for key in &old.keys {
        assert_eq!(keys.key(key.id).await, Ok(StoredKey::Present(key.clone())));
    }
    for key in &old.destroyed {
        assert_eq!(keys.key(key.id).await, Ok(StoredKey::Destroyed));
    }
    assert_eq!(keys.key_for(old.destroyed_subject).await, Err(KeyStoreError::Destroyed));
    let fresh = keys.key_for(KeySubject::Own).await.unwrap();
    assert!(old.keys.iter().chain(&old.destroyed).all(|key| key.id != fresh.id), "a key of the pool is given out once");

    let blobs = FolderBlobs::open(new.folder.join("blobs")).await.unwrap();
    for (hash, (tenant, sealed)) in &old.blobs {
        assert_eq!(blobs.get(tenant, hash).await.as_ref(), Ok(sealed));
    }
    let checkpoints = FolderCheckpoints::open(new.folder.join("checkpoints")).unwrap();
    for (consumer, position) in [("inbound", exported.position.0 - 5), ("outbound", exported.position.0)] {
        assert_eq!(checkpoints.load(consumer).await, Ok(Checkpoints::of_position(Position(position))));
    }
}

#[tokio::test]
async fn an_archive_of_an_archive_is_the_same() {
    let old = Installation::fresh().await;
    old.export().await;
    old.import().await.unwrap();
    let second = old.archive.with_extension("second");
    export(&old.target(), &second, &quiet).await.unwrap();
    assert_eq!(fs::read(&old.archive).unwrap(), fs::read(second).unwrap());
}

#[tokio::test]
async fn what_happens_beside_an_export_is_not_in_it_and_checkpoints_are_cut_to_it() {
    let old = Installation::fresh().await;
    let log = open_log(&old.places);
    let checkpoints = FolderCheckpoints::open(old.places.folder.join("checkpoints")).unwrap();
    let appended = std::sync::atomic::AtomicBool::new(false);
    let append = |_: Progress| {
        if !appended.swap(true, std::sync::atomic::Ordering::Relaxed) {
            futures::executor::block_on(async {
                let stream = fresh_stream(&fresh_tenant());
                log.append(&stream, ExpectedRevision::Any, sample_events("later", 3)).await.unwrap();
            });
        }
    };
    checkpoints.store("outbound", &Checkpoints::of_position(Position(u64::from(u32::MAX)))).await.unwrap();
    let (contents, head) = export(&old.places, &old.archive, &append).await.unwrap();
    assert_eq!(contents.events, old.events.len() as u64);
    assert_eq!(head.0, contents.position.0 + 3);
    old.import().await.unwrap();
    assert_eq!(everything(&open_log(&old.target())).await, old.events);
    let moved = FolderCheckpoints::open(old.target().folder.join("checkpoints")).unwrap();
    assert_eq!(moved.load("outbound").await, Ok(Checkpoints::of_position(contents.position)));
}

#[tokio::test]
async fn an_archive_that_was_cut_off_or_changed_is_refused_and_leaves_nothing() {
    let old = Installation::fresh().await;
    old.export().await;
    let whole = fs::read(&old.archive).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in [0, 10, header, header + 5, whole.len() / 2, whole.len() - 33, whole.len() - 1] {
        fs::write(&old.archive, &whole[..length]).unwrap();
        let refused = old.import().await;
        assert!(matches!(refused, Err(ArchiveError::Damaged(_))), "{length}: {refused:?}");
    }
    for at in (0..whole.len()).step_by(whole.len() / 50) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&old.archive, changed).unwrap();
        let refused = old.import().await;
        assert!(matches!(refused, Err(ArchiveError::Damaged(_) | ArchiveError::Version(_))), "{at}: {refused:?}");
    }
    fs::write(&old.archive, [whole.as_slice(), b"\n"].concat()).unwrap();
    assert!(matches!(old.import().await, Err(ArchiveError::Damaged(_))));
    assert_eq!(data_in(&old.target()), Vec::<String>::new());
    fs::write(&old.archive, whole).unwrap();
    old.import().await.unwrap();
}

#[tokio::test]
async fn another_key_encryption_key_is_refused_and_leaves_nothing() {
    let old = Installation::fresh().await;
    old.export().await;
    let refused = import(&old.archive, &old.target(), &kek(2), &quiet).await;
    assert!(matches!(refused, Err(ArchiveError::WrongKey)), "{refused:?}");
    assert_eq!(data_in(&old.target()), Vec::<String>::new());
}

#[tokio::test]
async fn a_place_with_data_is_refused_and_left_as_it_is() {
    let old = Installation::fresh().await;
    old.export().await;
    old.import().await.unwrap();
    let refused = old.import().await;
    assert!(matches!(refused, Err(ArchiveError::NotEmpty { .. })), "{refused:?}");
    assert_eq!(everything(&open_log(&old.target())).await, old.events);
    for name in ["keys.db", "views.db", "blobs/acme", "checkpoints/inbound"] {
        let other = places(old.places.folder.with_file_name("other"));
        let path = other.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        let refused = import(&old.archive, &other, &kek(1), &quiet).await;
        assert!(matches!(refused, Err(ArchiveError::NotEmpty { .. })), "{name}: {refused:?}");
        assert_eq!(fs::read_to_string(path).unwrap(), "mine");
        fs::remove_dir_all(other.folder).unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_a_server_uses_is_refused() {
    let old = Installation::fresh().await;
    old.export().await;
    let _serving = open_log(&old.places);
    let refused = import(&old.archive, &old.places, &kek(1), &quiet).await;
    assert!(matches!(refused, Err(ArchiveError::EmbeddedLog(_))), "{refused:?}");
}

#[tokio::test]
async fn an_archive_takes_no_other_files_place_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let old = Installation::fresh().await;
    old.export().await;
    assert_eq!(fs::metadata(&old.archive).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(export(&old.places, &old.archive, &quiet).await, Err(ArchiveError::File { .. })));
    let whole = fs::read(&old.archive).unwrap();
    for key in old.keys.iter().take(20) {
        assert!(!whole.windows(32).any(|window| window == key.bytes.as_slice()), "no key stands in it in clear");
    }
}

#[tokio::test]
async fn events_that_no_log_could_have_written_are_refused_and_leave_nothing() {
    let old = Installation::fresh().await;
    let log = EmbeddedLog::open_read_only(EmbeddedLogConfig::new(old.places.folder.join("log.db"))).unwrap();
    let events = log.read_with_digests(Position::START, Position(3)).await.unwrap();
    let secrets = crate::seal::embedded::moving::WrappedKeys::open(&old.places.folder.join("keys.db")).unwrap();
    type Change = fn(&mut Vec<Imported>);
    let changes: [Change; 5] = [
        |events| events[1].event.position = Position(1),
        |events| events[2].event.position = Position(4),
        |events| events[1].event.revision.0 += 1,
        |events| events[1].event.recorded_at -= chrono::Duration::seconds(1),
        |events| events[1].digest = None,
    ];
    for change in changes {
        let mut events = events.clone();
        change(&mut events);
        let mut archive = write::ArchiveWriter::create(&old.archive, Position(4)).unwrap();
        for secret in secrets.secrets().unwrap() {
            archive.add(&Record::Secret(secret)).unwrap();
        }
        for event in events {
            archive.add(&Record::Event(Box::new(event))).unwrap();
        }
        archive.finish().unwrap();
        let refused = old.import().await;
        assert!(matches!(refused, Err(ArchiveError::EmbeddedLog(_))), "{refused:?}");
        assert_eq!(data_in(&old.target()), Vec::<String>::new());
        fs::remove_file(&old.archive).unwrap();
    }
}

#[tokio::test]
async fn an_archive_that_holds_less_than_it_says_is_refused_and_leaves_nothing() {
    let old = Installation::fresh().await;
    let secrets = crate::seal::embedded::moving::WrappedKeys::open(&old.places.folder.join("keys.db")).unwrap();
    let mut archive = write::ArchiveWriter::create(&old.archive, Position(0)).unwrap();
    for secret in secrets.secrets().unwrap() {
        archive.add(&Record::Secret(secret)).unwrap();
    }
    // An end among the records, and then one that counts something else.
    archive.add(&Record::End(Contents { events: 1, ..Contents::default() })).unwrap();
    archive.finish().unwrap();
    assert!(matches!(old.import().await, Err(ArchiveError::Damaged(_))));
    assert_eq!(data_in(&old.target()), Vec::<String>::new());
}

#[test]
fn the_format_is_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let mut archive = write::ArchiveWriter::create(&path, Position(42)).unwrap();
    archive
        .add(&Record::SubjectKey(WrappedSubjectKey { id: crate::seal::KeyId(uuid::Uuid::nil()), wrapped: None }))
        .unwrap();
    archive.finish().unwrap();
    let written = fs::read(&path).unwrap();
    let header = "{\"format\":\"letopis archive\",\"version\":1,\"position\":42}\n";
    let key = "k\0\0\0\u{3e}\0\0\0\0{\"id\":\"00000000-0000-0000-0000-000000000000\",\"destroyed\":true}";
    let end = "z\0\0\0\u{39}\0\0\0\u{20}{\"events\":0,\"keys\":1,\"pages\":0,\"blobs\":0,\"checkpoints\":0}";
    let text = [header, key, end].concat();
    assert_eq!(String::from_utf8_lossy(&written[..written.len() - 32]), text);
    assert_eq!(written[written.len() - 32..], *blake3::hash(text.as_bytes()).as_bytes());
}

#[test]
fn an_event_is_written_as_it_ever_was() {
    let metadata = crate::testing::rich_metadata();
    let event = RecordedEvent {
        id: crate::ids::EventId::new(uuid::Uuid::from_u128(1)),
        stream: StreamName::new(crate::envelope::Category::Contact, "acme".parse().unwrap(), uuid::Uuid::from_u128(2)),
        revision: crate::envelope::Revision(3),
        position: Position(4),
        event_type: "contact.seen".into(),
        version: 5,
        metadata: metadata.clone(),
        recorded_at: chrono::DateTime::from_timestamp_micros(6).unwrap(),
        payload: Bytes::from_static(b"{}"),
    };
    let record = Record::Event(Box::new(Imported { event, digest: Some([7; 16]) }));
    let (kind, head, body) = records::encode(&record).unwrap();
    let metadata = serde_json::to_string(&metadata).unwrap();
    let written = format!(
        "{{\"position\":4,\"stream\":\"contact-acme:00000000-0000-0000-0000-000000000002\",\"revision\":3,\
         \"id\":\"00000000-0000-0000-0000-000000000001\",\"type\":\"contact.seen\",\"version\":5,\"recorded_at\":6,\
         \"digest\":\"07070707070707070707070707070707\",\"metadata\":{metadata}}}"
    );
    assert_eq!((kind, head.as_str(), &body[..]), (b'e', written.as_str(), &b"{}"[..]));
    assert_eq!(records::decode(kind, head.as_bytes(), body, Position(4)).unwrap(), record);
}
