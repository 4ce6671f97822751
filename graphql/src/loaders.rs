//! Loaders of one request: what many fields ask for one by one is read in batches.
//!
//! **Invariant:** made anew for every request, for one viewer, and without a cache: nothing that one viewer may see
//! reaches another, and a long subscription never shows what it read before.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::{DataLoader, Loader};
use events::envelope::RecordedEvent;
use events::ids::{
    AccountId, CalendarId, CaseId, CaseTypeId, ConversationId, EventId, Occupancy, QueueId, ServiceLevelId,
};
use events::log::{EventLog, ReadError};
use events::viewer::Viewer;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use projections::account::AccountView;
use projections::calendar::CalendarView;
use projections::case::CaseView;
use projections::case_type::CaseTypeView;
use projections::conversation::ConversationView;
use projections::profile::ProfileView;
use projections::queue::{QueueLoad, QueueView};
use projections::service_level::ServiceLevelView;
use projections::store::StoreError;
use projections::timeline::TimelineEntry;
use projections::views::Views;

/// Events that are read from the log at a time.
const EVENTS_AT_A_TIME: usize = 16;

/// Reads for one viewer.
pub(crate) struct Loaders {
    viewer: Viewer,
    views: Views,
    log: Arc<dyn EventLog>,
}

impl Loaders {
    /// The loaders of a request.
    pub(crate) fn of(viewer: Viewer, views: Views, log: Arc<dyn EventLog>) -> DataLoader<Self> {
        DataLoader::new(Self { viewer, views, log }, |load| tokio::spawn(once_all_have_asked(load)))
    }
}

/// Turns that a load lets others have before it starts. The items of a list ask 32 at a time and then give way once,
/// so that a page of 100 with lists inside has asked for everything by then.
const TURNS: u32 = 16;

async fn once_all_have_asked(load: BoxFuture<'static, ()>) {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    load.await;
}

/// Asks for the last message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LatestOf(pub(crate) ConversationId);

/// Asks for the cases that a conversation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CasesOf(pub(crate) ConversationId);

/// Asks for what waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LoadOf(pub(crate) QueueId);

impl Loader<Occupancy> for Loaders {
    type Value = ProfileView;
    type Error = StoreError;

    async fn load(&self, keys: &[Occupancy]) -> Result<HashMap<Occupancy, ProfileView>, StoreError> {
        Ok(self.views.profiles_by_occupancies(&self.viewer, keys).await?.into_iter().collect())
    }
}

impl Loader<AccountId> for Loaders {
    type Value = AccountView;
    type Error = StoreError;

    async fn load(&self, keys: &[AccountId]) -> Result<HashMap<AccountId, AccountView>, StoreError> {
        let found = self.views.accounts_by_ids(&self.viewer, keys).await?;
        Ok(found.into_iter().map(|view| (view.account, view)).collect())
    }
}

impl Loader<CalendarId> for Loaders {
    type Value = CalendarView;
    type Error = StoreError;

    async fn load(&self, keys: &[CalendarId]) -> Result<HashMap<CalendarId, CalendarView>, StoreError> {
        let found = self.views.calendars_by_ids(&self.viewer, keys).await?;
        Ok(found.into_iter().map(|view| (view.calendar, view)).collect())
    }
}

impl Loader<CaseId> for Loaders {
    type Value = CaseView;
    type Error = StoreError;

    async fn load(&self, keys: &[CaseId]) -> Result<HashMap<CaseId, CaseView>, StoreError> {
        let found = self.views.cases_by_ids(&self.viewer, keys).await?;
        Ok(found.into_iter().map(|view| (view.case, view)).collect())
    }
}

impl Loader<CaseTypeId> for Loaders {
    type Value = CaseTypeView;
    type Error = StoreError;

    async fn load(&self, keys: &[CaseTypeId]) -> Result<HashMap<CaseTypeId, CaseTypeView>, StoreError> {
        let found = self.views.case_types_by_ids(&self.viewer, keys).await?;
        Ok(found.into_iter().map(|view| (view.case_type, view)).collect())
    }
}

impl Loader<ServiceLevelId> for Loaders {
    type Value = ServiceLevelView;
    type Error = StoreError;

    async fn load(&self, keys: &[ServiceLevelId]) -> Result<HashMap<ServiceLevelId, ServiceLevelView>, StoreError> {
        let found = self.views.service_levels_by_ids(&self.viewer, keys).await?;
        Ok(found.into_iter().map(|view| (view.service_level, view)).collect())
    }
}

impl Loader<CasesOf> for Loaders {
    type Value = Vec<CaseId>;
    type Error = StoreError;

    async fn load(&self, keys: &[CasesOf]) -> Result<HashMap<CasesOf, Vec<CaseId>>, StoreError> {
        let ids: Vec<ConversationId> = keys.iter().map(|key| key.0).collect();
        let found = self.views.cases_of_conversations(&self.viewer, &ids).await?;
        Ok(found.into_iter().map(|(conversation, cases)| (CasesOf(conversation), cases)).collect())
    }
}

impl Loader<QueueId> for Loaders {
    type Value = QueueView;
    type Error = StoreError;

    async fn load(&self, keys: &[QueueId]) -> Result<HashMap<QueueId, QueueView>, StoreError> {
        let found = self.views.queues_by_ids(&self.viewer, keys).await?;
        Ok(found.into_iter().map(|view| (view.queue, view)).collect())
    }
}

impl Loader<LoadOf> for Loaders {
    type Value = QueueLoad;
    type Error = StoreError;

    async fn load(&self, keys: &[LoadOf]) -> Result<HashMap<LoadOf, QueueLoad>, StoreError> {
        let ids: Vec<QueueId> = keys.iter().map(|key| key.0).collect();
        let found = self.views.queue_loads(&self.viewer, &ids).await?;
        Ok(found.into_iter().map(|(queue, load)| (LoadOf(queue), load)).collect())
    }
}

impl Loader<ConversationId> for Loaders {
    type Value = ConversationView;
    type Error = StoreError;

    async fn load(&self, keys: &[ConversationId]) -> Result<HashMap<ConversationId, ConversationView>, StoreError> {
        let found = self.views.conversations_by_ids(&self.viewer, keys).await?;
        Ok(found.into_iter().map(|view| (view.conversation, view)).collect())
    }
}

impl Loader<LatestOf> for Loaders {
    type Value = TimelineEntry;
    type Error = StoreError;

    async fn load(&self, keys: &[LatestOf]) -> Result<HashMap<LatestOf, TimelineEntry>, StoreError> {
        let ids: Vec<ConversationId> = keys.iter().map(|key| key.0).collect();
        let found = self.views.latest_messages(&self.viewer, &ids).await?;
        Ok(found.into_iter().map(|entry| (LatestOf(entry.conversation), entry)).collect())
    }
}

/// Events of the viewer's tenant only.
impl Loader<EventId> for Loaders {
    type Value = RecordedEvent;
    type Error = ReadError;

    async fn load(&self, keys: &[EventId]) -> Result<HashMap<EventId, RecordedEvent>, ReadError> {
        let (log, ids) = (Arc::clone(&self.log), keys.to_vec());
        let reads = futures::stream::iter(ids).map(move |id| {
            let log = Arc::clone(&log);
            async move { log.find(id).await }
        });
        let found: Vec<_> = reads.buffer_unordered(EVENTS_AT_A_TIME).try_collect().await?;
        let own = found.into_iter().flatten().filter(|event| *event.tenant() == self.viewer.tenant);
        Ok(own.map(|event| (event.id, event)).collect())
    }
}
