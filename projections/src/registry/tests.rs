//! Tests of the registry of tables and erasure.
//!
//! **Invariant:** every test makes its own events and store.

use events::case::{CaseChanged, CaseContent, CaseEvent, CaseNoteAdded, CaseOpened, FieldValue};
use events::codec::{Decoded, DomainEvent};
use events::contact::ContactEvent;
use events::conversation::ConversationEvent;
use events::ids::CaseTypeId;
use events::profile::{Attribute, AttributeSource, ProfileEvent};
use events::seal::Personal;
use events::values::ContactKind;

use super::{PROJECTIONS, erasures, tables};
use crate::projection::{Changes, Erasure, PersonalColumns, RowOrder};
use crate::store::{Query, ReadStore};
use crate::testing::{Story, commit, conversation_id, deliver, hash, id, person, queued, received};
use crate::value::{Value, values};

/// Tables of the store itself: no row of theirs is about a person.
const OWN: [&str; 3] = ["checkpoint", "projection", "parked"];

async fn names(store: &dyn ReadStore, sql: String) -> Vec<String> {
    let [rows] = store.read(vec![Query::new(sql, [])]).await.unwrap().try_into().unwrap();
    rows.into_iter().map(|row| crate::value::Columns::from(row).text().unwrap()).collect()
}

#[tokio::test]
async fn every_table_of_the_schema_is_registered_with_its_key_and_its_personal_columns() {
    let store = Story::default().store().await;
    let registered: Vec<&str> = tables().map(|table| table.name).collect();
    for name in names(&*store, "SELECT name FROM sqlite_master WHERE type = 'table'".into()).await {
        assert!(registered.contains(&name.as_str()) || OWN.contains(&name.as_str()), "{name} is not registered");
    }
    for table in tables() {
        let columns = names(&*store, format!("SELECT name FROM pragma_table_info('{}')", table.name)).await;
        let key = match table.order {
            RowOrder::Key => format!("SELECT name FROM pragma_table_info('{}') WHERE pk > 0 ORDER BY pk", table.name),
            RowOrder::Arrival => format!(
                "SELECT i.name FROM pragma_index_list('{0}') l, pragma_index_info(l.name) i \
                    WHERE l.name = '{0}_key' AND l.\"unique\" = 1 ORDER BY i.seqno",
                table.name
            ),
        };
        assert_eq!(names(&*store, key).await, table.key, "key of {}", table.name);
        if let PersonalColumns::Columns { columns: personal, erased, .. } = &table.personal {
            assert!(personal.iter().all(|column| columns.iter().any(|known| known == column)), "{}", table.name);
            assert!(!erased.is_empty(), "{} cannot be erased", table.name);
            for erasure in *erased {
                let (Erasure::OfOccupancy(sql) | Erasure::OfConversation(sql)) = erasure;
                for column in *personal {
                    assert!(sql.contains(&format!("{column} = NULL")), "{column} of {} stays", table.name);
                }
            }
        }
    }
}

#[test]
fn names_of_projections_and_tables_are_used_once() {
    let mut names: Vec<&str> = PROJECTIONS.iter().map(|projection| projection.name()).collect();
    let mut table_names: Vec<&str> = tables().map(|table| table.name).collect();
    for list in [&mut names, &mut table_names] {
        let before = list.len();
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), before);
    }
}

/// The story of one customer with everything that is personal.
fn story() -> Story {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    let other = story.conversation(101, 2);
    let profile = story.customer(3, ContactKind::Phone, "+79991234567");
    story.attribute(profile, Attribute::DisplayName, AttributeSource::Customer, "stays");
    story.attribute(
        events::ids::ProfileId::new(id(0x50_0001)),
        Attribute::DisplayName,
        AttributeSource::Customer,
        "goes",
    );
    story.add(conversation, received(200, 1, "goes"));
    story.add(conversation, queued(201, 1, "goes"));
    let content = Personal::Opened(events::conversation::content::NoteContent { text: "goes".into() });
    let note = events::conversation::NoteAdded { note: id(300), mentions: vec![], content };
    story.add(conversation, ConversationEvent::from(note));
    story.add(other, received(202, 2, "stays"));
    for (number, text) in [(1, "goes"), (2, "stays")] {
        let fields = || [("order".to_owned(), FieldValue::Text(text.into()))].into();
        let opened = CaseOpened {
            number: 1,
            case_type: CaseTypeId::new(id(510)),
            customer: Some(person(number)),
            conversation: conversation_id(99 + number),
            priority: 0,
            set: vec!["order".into()],
            content: Personal::Opened(CaseContent { title: Some(text.into()), fields: fields() }),
        };
        story.add(id(500 + number), CaseEvent::from(opened));
        let content = Personal::Opened(CaseContent { title: Some(text.into()), fields: fields() });
        let changed = CaseChanged { set: vec!["order".into()], cleared: vec![], content };
        story.add(id(500 + number), CaseEvent::from(changed));
        let content = Personal::Opened(events::conversation::content::NoteContent { text: text.into() });
        story.add(id(500 + number), CaseEvent::from(CaseNoteAdded { note: id(600 + number), content }));
    }
    story
}

/// The event as it opens once the key of the first customer is destroyed.
fn erased(decoded: &Decoded) -> Decoded {
    let stream = decoded.recorded.stream.id;
    let event = match decoded.event.clone() {
        DomainEvent::Contact(ContactEvent::Occupied(mut event)) if stream == id(1) => {
            event.address = Personal::Erased;
            ContactEvent::Occupied(event).into()
        }
        DomainEvent::Profile(ProfileEvent::AttributeRecorded(mut event)) if stream == id(0x50_0001) => {
            event.value = Personal::Erased;
            ProfileEvent::AttributeRecorded(event).into()
        }
        DomainEvent::Conversation(event) if stream == id(100) => match event {
            ConversationEvent::Opened(mut event) => {
                event.thread = Personal::Erased;
                ConversationEvent::Opened(event).into()
            }
            ConversationEvent::MessageReceived(mut event) => {
                event.content = Personal::Erased;
                ConversationEvent::MessageReceived(event).into()
            }
            ConversationEvent::MessageQueued(mut event) => {
                event.content = Personal::Erased;
                ConversationEvent::MessageQueued(event).into()
            }
            ConversationEvent::NoteAdded(mut event) => {
                event.content = Personal::Erased;
                ConversationEvent::NoteAdded(event).into()
            }
            other => other.into(),
        },
        DomainEvent::Case(event) if stream == id(501) => match event {
            CaseEvent::Opened(mut event) => {
                event.content = Personal::Erased;
                CaseEvent::Opened(event).into()
            }
            CaseEvent::Changed(mut event) => {
                event.content = Personal::Erased;
                CaseEvent::Changed(event).into()
            }
            CaseEvent::NoteAdded(mut event) => {
                event.content = Personal::Erased;
                CaseEvent::NoteAdded(event).into()
            }
            other => other.into(),
        },
        other => other,
    };
    Decoded { recorded: decoded.recorded.clone(), event }
}

#[tokio::test]
async fn erasing_the_rows_of_a_person_gives_what_a_rebuild_without_their_key_gives() {
    let story = story();
    let live = story.store().await;
    let before = hash(&*live).await;
    let mut changes = Changes::default();
    for (_, erasure) in erasures() {
        if let Erasure::OfOccupancy(sql) = erasure {
            changes.push_sql(sql, values![person(1).contact, person(1).number]);
        }
    }
    live.commit(commit(changes, events::envelope::Position(99))).await.unwrap();
    let rebuilt = Story::default().store().await;
    let without_key: Vec<Decoded> = story.events.iter().map(erased).collect();
    deliver(&*rebuilt, &without_key).await;
    assert_eq!(hash(&*live).await, hash(&*rebuilt).await);
    assert_ne!(hash(&*live).await, before);
}

#[tokio::test]
async fn no_personal_column_holds_anything_of_an_erased_person_and_those_of_others_stay() {
    let story = story();
    let live = story.store().await;
    let mut changes = Changes::default();
    for (_, erasure) in erasures() {
        match erasure {
            Erasure::OfOccupancy(sql) => changes.push_sql(sql, values![person(1).contact, person(1).number]),
            Erasure::OfConversation(sql) => changes.push_sql(sql, values![id(100)]),
        }
    }
    live.commit(commit(changes, events::envelope::Position(99))).await.unwrap();
    let mut left = Vec::new();
    for table in tables() {
        let [rows] =
            live.read(vec![Query::new(format!("SELECT * FROM {}", table.name), [])]).await.unwrap().try_into().unwrap();
        left.extend(rows.into_iter().flatten().filter_map(|value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        }));
    }
    assert!(left.iter().all(|text| !text.contains("goes") && !text.contains("someone1@")));
    assert_eq!(left.iter().filter(|text| text.contains("stays")).count(), 5);
}
