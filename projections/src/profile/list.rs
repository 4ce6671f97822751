//! Lists of profiles.
//!
//! **Invariant:** a person stands in a list once, under the least id of its members.

use chrono::{DateTime, Utc};
use events::ids::ProfileId;
use events::values::ContactKind;
use events::viewer::Viewer;

use super::ProfileView;
use crate::link::components;
use crate::store::{Query, StoreError};
use crate::value::Value;
use crate::views::{Cursor, Page, PageRequest, Views};

/// Which profiles are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileFilter {
    /// Only those with a contact point of this kind of their own (under the listed member).
    pub kind: Option<ContactKind>,
    /// Only those opened at or after this time.
    pub opened_from: Option<DateTime<Utc>>,
    /// Only those opened before this time.
    pub opened_before: Option<DateTime<Utc>>,
}

/// By what profiles are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProfileSort {
    /// When the listed member was opened.
    #[default]
    OpenedAt,
}

impl Views {
    /// A page of the tenant's profiles.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn profiles(
        &self,
        viewer: &Viewer,
        filter: &ProfileFilter,
        sort: ProfileSort,
        page: &PageRequest,
    ) -> Result<Page<ProfileView>, StoreError> {
        let ProfileSort::OpenedAt = sort;
        let mut parameters = vec![Value::from(&viewer.tenant)];
        let walk = components("SELECT f.profile, f.contact, f.number", " AND e.active = 1");
        let mut sql = format!(
            "SELECT f.profile, f.opened_at FROM profile f WHERE f.tenant = $1 AND NOT EXISTS ({walk}\
             SELECT 1 FROM member m JOIN profile p ON p.contact = m.contact AND p.number = m.number \
             WHERE p.profile < f.profile)"
        );
        if let Some(kind) = filter.kind {
            parameters.push(kind.as_str().into());
            sql.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM occupancy o WHERE o.contact = f.contact AND o.number = f.number \
                 AND o.kind = ${})",
                parameters.len()
            ));
        }
        for (bound, condition) in [(filter.opened_from, ">="), (filter.opened_before, "<")] {
            if let Some(bound) = bound {
                parameters.push(bound.into());
                sql.push_str(&format!(" AND f.opened_at {condition} ${}", parameters.len()));
            }
        }
        page.finish(&mut sql, &mut parameters, "f.opened_at", "f.profile");
        let found = self
            .rows(Query::new(sql, parameters), |mut row| {
                Ok((ProfileId::new(row.id()?), row.time()?.timestamp_micros()))
            })
            .await?;
        let cursor = |(profile, opened_at): &(ProfileId, i64)| Cursor { value: *opened_at, id: profile.uuid() };
        let listed = Page::of(found, page, cursor);
        let ids: Vec<ProfileId> = listed.items.iter().map(|(profile, _)| *profile).collect();
        let mut profiles = self.profiles_by_ids(viewer, &ids).await?;
        let mut items = Vec::with_capacity(ids.len());
        let mut cursors = Vec::with_capacity(ids.len());
        for (id, cursor) in ids.iter().zip(listed.cursors) {
            // One that was opened before its contact point is known is not whole yet and waits for it.
            if let Some(index) = profiles.iter().position(|(asked, _)| asked == id) {
                items.push(profiles.swap_remove(index).1);
                cursors.push(cursor);
            }
        }
        Ok(Page { items, cursors, more: listed.more })
    }
}
