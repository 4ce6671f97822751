//! Reads of cases by id and number, in batches.
//!
//! **Invariant:** a batch of cases costs the same number of statements as one. A case shows the conversations of its
//! duplicates with its own, however they were merged one into the other.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use events::case::{CaseRelation, CaseStatus, FieldValue};
use events::ids::{CaseId, CaseTypeId, ContactId, ConversationId, Occupancy};
use events::viewer::Viewer;
use uuid::Uuid;

use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Value, values};
use crate::views::{Cursor, Page, PageRequest, Views, check_ids, place};

/// Duplicates of duplicates are followed so far.
const DEPTH: u32 = 32;

/// A case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseView {
    /// Its id.
    pub case: CaseId,
    /// Its number, for people.
    pub number: u64,
    /// Its type.
    pub case_type: CaseTypeId,
    /// Whom it is about; `None` when it was opened from a group.
    pub customer: Option<Occupancy>,
    /// Its title; `None` when erased.
    pub title: Option<String>,
    /// What is to be done about it.
    pub status: CaseStatus,
    /// Why it has this status, as a short code.
    pub status_reason: Option<String>,
    /// Since when.
    pub status_since: DateTime<Utc>,
    /// 0 to 9.
    pub priority: u32,
    /// Until when the customer was promised that it is resolved.
    pub promised_until: Option<DateTime<Utc>>,
    /// Whose work it is.
    pub assignee: Option<String>,
    /// The case that stands for it.
    pub merged_into: Option<CaseId>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When anything of it last changed.
    pub changed_at: DateTime<Utc>,
    /// The last revision that changed what is shown here.
    pub revision: u64,
    /// Values by the keys of their fields; `None` for one that was erased.
    pub fields: BTreeMap<String, Option<FieldValue>>,
    /// The conversations about it, its duplicates' included, oldest first.
    pub conversations: Vec<ConversationId>,
    /// Cases that it has to do with, from whichever side it was noted.
    pub links: Vec<LinkedCase>,
    /// The cases that it stands for, by number.
    pub duplicates: Vec<CaseId>,
}

/// What a case has to do with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkedCase {
    /// The other.
    pub other: CaseId,
    /// What one has to do with the other.
    pub relation: CaseRelation,
    /// True when it was noted at this case: this one is a part of, or blocked by, the other.
    pub from_here: bool,
}

/// A note of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseNoteView {
    /// Its id.
    pub note: Uuid,
    /// Its place in the case.
    pub revision: u64,
    /// What it says; `None` when erased.
    pub text: Option<String>,
    /// What kind of actor wrote it.
    pub actor_kind: String,
    /// Which one.
    pub actor: String,
    /// When.
    pub recorded_at: DateTime<Utc>,
}

const COLUMNS: &str = "c.case_id, c.number, c.case_type, c.contact, c.contact_number, c.title, c.status, \
    c.status_reason, c.status_since, c.priority, c.promised_until, c.assignee, c.merged_into, c.opened_at, \
    c.changed_at, c.revision";

fn case_of(mut row: Columns) -> Result<CaseView, StoreError> {
    Ok(CaseView {
        case: CaseId::new(row.id()?),
        number: row.count()?,
        case_type: CaseTypeId::new(row.id()?),
        customer: {
            let (contact, number) = (row.opt_id()?, row.opt_small()?);
            contact.zip(number).map(|(contact, number)| Occupancy { contact: ContactId::new(contact), number })
        },
        title: row.opt_text()?,
        status: row.named()?,
        status_reason: row.opt_text()?,
        status_since: row.time()?,
        priority: row.small()?,
        promised_until: row.opt_time()?,
        assignee: row.opt_text()?,
        merged_into: row.opt_id()?.map(CaseId::new),
        opened_at: row.time()?,
        changed_at: row.time()?,
        revision: row.count()?,
        fields: BTreeMap::new(),
        conversations: Vec::new(),
        links: Vec::new(),
        duplicates: Vec::new(),
    })
}

impl Views {
    /// One case.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn case(&self, viewer: &Viewer, id: CaseId) -> Result<Option<CaseView>, StoreError> {
        Ok(self.cases_by_ids(viewer, &[id]).await?.pop())
    }

    /// The case with this number.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn case_by_number(&self, viewer: &Viewer, number: u64) -> Result<Option<CaseView>, StoreError> {
        let sql = "SELECT case_id FROM cases WHERE tenant = $1 AND number = $2 ORDER BY case_id LIMIT 1";
        let found = self.rows(Query::new(sql, values![&viewer.tenant, number]), |mut row| Ok(CaseId::new(row.id()?)));
        match found.await?.first() {
            Some(id) => self.case(viewer, *id).await,
            None => Ok(None),
        }
    }

    /// The cases that these conversations are about, by conversation.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn cases_of_conversations(
        &self,
        viewer: &Viewer,
        conversations: &[ConversationId],
    ) -> Result<HashMap<ConversationId, Vec<CaseId>>, StoreError> {
        if conversations.is_empty() {
            return Ok(HashMap::new());
        }
        check_ids(conversations.len())?;
        let mut parameters: Vec<Value> = values![&viewer.tenant].into();
        padded(&mut parameters, conversations);
        let list = placeholders(2, conversations.len());
        let sql = format!(
            "SELECT conversation, case_id FROM case_conversation WHERE tenant = $1 AND conversation IN {list} \
             AND active = 1 ORDER BY conversation, since, case_id"
        );
        let read = |mut row: Columns| Ok((ConversationId::new(row.id()?), CaseId::new(row.id()?)));
        let mut found: HashMap<ConversationId, Vec<CaseId>> = HashMap::new();
        for (conversation, case) in self.rows(Query::new(sql, parameters), read).await? {
            found.entry(conversation).or_default().push(case);
        }
        Ok(found)
    }

    /// Cases by id, in the order asked for; unknown ones are left out. Five statements.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn cases_by_ids(&self, viewer: &Viewer, ids: &[CaseId]) -> Result<Vec<CaseView>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(ids.len())?;
        let mut parameters: Vec<Value> = values![&viewer.tenant].into();
        padded(&mut parameters, ids);
        let list = placeholders(2, ids.len());
        // Whom a case stands for, itself included.
        let whole = format!(
            "WITH RECURSIVE whole (root, case_id, depth) AS (SELECT case_id, case_id, 0 FROM cases \
             WHERE tenant = $1 AND case_id IN {list} UNION ALL SELECT w.root, d.case_id, w.depth + 1 FROM whole w \
             JOIN cases d ON d.merged_into = w.case_id WHERE w.depth < {DEPTH})"
        );
        let cases = format!("SELECT {COLUMNS} FROM cases c WHERE c.tenant = $1 AND c.case_id IN {list}");
        let fields = format!(
            "SELECT case_id, field, value FROM case_field WHERE tenant = $1 AND case_id IN {list} AND active = 1 \
             ORDER BY case_id, field"
        );
        let conversations = format!(
            "{whole} SELECT w.root, l.conversation, min(l.since) AS first FROM whole w \
             JOIN case_conversation l ON l.case_id = w.case_id AND l.active = 1 GROUP BY w.root, l.conversation \
             ORDER BY w.root, first, l.conversation"
        );
        let duplicates = format!(
            "{whole} SELECT DISTINCT w.root, c.number, c.case_id FROM whole w JOIN cases c ON c.case_id = w.case_id \
             WHERE w.depth > 0 AND w.case_id <> w.root ORDER BY w.root, c.number, c.case_id"
        );
        let links = format!(
            "SELECT case_id, other, relation, 1 FROM case_link WHERE tenant = $1 AND case_id IN {list} AND active = 1 \
             UNION ALL SELECT other, case_id, relation, 0 FROM case_link WHERE tenant = $1 AND other IN {list} \
             AND active = 1 ORDER BY 1, 4 DESC, 2, 3"
        );
        let queries = [cases, fields, conversations, duplicates, links];
        let [cases, fields, conversations, duplicates, links] =
            self.snapshot(queries.map(|sql| Query::new(sql, parameters.clone()))).await?;
        let mut found = HashMap::with_capacity(cases.len());
        for row in cases {
            let view = case_of(row.into())?;
            found.insert(view.case.uuid(), view);
        }
        for row in fields {
            let mut row = Columns::from(row);
            if let Some(view) = found.get_mut(&row.id()?) {
                view.fields.insert(row.text()?, row.opt_json()?);
            }
        }
        for row in conversations {
            let mut row = Columns::from(row);
            if let Some(view) = found.get_mut(&row.id()?) {
                view.conversations.push(ConversationId::new(row.id()?));
            }
        }
        for row in duplicates {
            let mut row = Columns::from(row);
            if let Some(view) = found.get_mut(&row.id()?) {
                row.count()?;
                view.duplicates.push(CaseId::new(row.id()?));
            }
        }
        for row in links {
            let mut row = Columns::from(row);
            if let Some(view) = found.get_mut(&row.id()?) {
                let (other, relation) = (CaseId::new(row.id()?), row.named()?);
                view.links.push(LinkedCase { other, relation, from_here: row.flag()? });
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(&id.uuid())).collect())
    }

    /// The notes of a case, its duplicates' not included.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn case_notes(
        &self,
        viewer: &Viewer,
        case: CaseId,
        page: &PageRequest,
    ) -> Result<Page<CaseNoteView>, StoreError> {
        let mut sql = "SELECT note, revision, text, actor_kind, actor, recorded_at FROM case_note \
            WHERE tenant = $1 AND case_id = $2"
            .to_owned();
        let mut parameters: Vec<Value> = values![&viewer.tenant, case].into();
        page.finish(&mut sql, &mut parameters, "revision", "");
        let read = |mut row: Columns| {
            Ok(CaseNoteView {
                note: row.id()?,
                revision: row.count()?,
                text: row.opt_text()?,
                actor_kind: row.text()?,
                actor: row.text()?,
                recorded_at: row.time()?,
            })
        };
        let items = self.rows(Query::new(sql, parameters), read).await?;
        Ok(Page::of(items, page, |item| Cursor { value: place(item.revision), id: Uuid::nil() }))
    }
}
