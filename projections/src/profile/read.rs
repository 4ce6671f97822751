//! Reads of profiles: the connected component of active links, joined when read.
//!
//! **Invariant:** any member's id gives the whole profile; its own id is the least of its members' ids, so that it is
//! the same from whichever side it is read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::ids::{ContactId, EventId, Occupancy, ProfileId};
use events::profile::{Attribute, AttributeSource};
use events::viewer::Viewer;
use uuid::Uuid;

use crate::contact::{BlockView, OCCUPANCY_COLUMNS, OccupancyView, occupancy_of};
use crate::link::{LinkView, MOST_MEMBERS, components, links_of_rows, links_query};
use crate::mask;
use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Row, Value};
use crate::views::{Views, check_ids};

/// A person, as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileView {
    /// The id of the whole: the least of `members`.
    pub profile: ProfileId,
    /// The profiles of the single occupancies that make it, least first.
    pub members: Vec<ProfileId>,
    /// When the first of them was opened.
    pub opened_at: DateTime<Utc>,
    /// The contact points.
    pub occupancies: Vec<OccupancyView>,
    /// The links that hold it together.
    pub links: Vec<LinkView>,
    /// Every value of every source; the one to be shown for an attribute comes before its others.
    pub attributes: Vec<AttributeView>,
}

impl ProfileView {
    /// The value to be shown for an attribute, if any is known.
    #[must_use]
    pub fn attribute(&self, attribute: Attribute) -> Option<&AttributeView> {
        self.attributes.iter().find(|view| view.attribute == attribute)
    }

    /// The occupancies' ids.
    pub fn occupancy_ids(&self) -> impl Iterator<Item = Occupancy> {
        self.occupancies.iter().map(|view| view.occupancy)
    }
}

/// What one source says about an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeView {
    /// The member it is recorded for.
    pub profile: ProfileId,
    /// Which attribute.
    pub attribute: Attribute,
    /// Who says so.
    pub source: AttributeSource,
    /// The value, masked for the viewer; `None` when erased.
    pub text: Option<String>,
    /// The form in which the source gave it, masked for the viewer.
    pub source_form: Option<String>,
    /// When the source said so, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// When we recorded it.
    pub recorded_at: DateTime<Utc>,
    /// The event that recorded it.
    pub event: EventId,
    /// Its place in the log.
    pub position: u64,
}

/// Trust in a source, by its kind; among equals the later value holds.
fn trust(source: &AttributeSource) -> u8 {
    match source {
        AttributeSource::Channel { .. } => 0,
        AttributeSource::Customer => 1,
        AttributeSource::Operator { .. } => 2,
    }
}

fn source_of(kind: &str, id: String) -> Result<AttributeSource, StoreError> {
    match kind {
        "channel" => id
            .parse()
            .map(|account| AttributeSource::Channel { account })
            .map_err(|_| StoreError::Corrupt("a source is not an account".to_owned())),
        "customer" => Ok(AttributeSource::Customer),
        "operator" => Ok(AttributeSource::Operator { operator: id }),
        _ => Err(StoreError::Corrupt("unknown kind of source".to_owned())),
    }
}

fn attribute_of(viewer: &Viewer, row: Row) -> Result<(Uuid, AttributeView), StoreError> {
    let mut row = Columns::from(row);
    let seed = row.id()?;
    let profile = ProfileId::new(row.id()?);
    let attribute: Attribute = row.named()?;
    let kind = row.text()?;
    let source = source_of(&kind, row.text()?)?;
    let masked = |text: String| mask::attribute(viewer, attribute, text);
    Ok((
        seed,
        AttributeView {
            profile,
            attribute,
            source,
            text: row.opt_text()?.map(masked),
            source_form: row.opt_text()?.map(masked),
            occurred_at: row.time()?,
            recorded_at: row.time()?,
            event: EventId::new(row.id()?),
            position: row.count()?,
        },
    ))
}

impl Views {
    /// The profile that this member belongs to.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn profile(&self, viewer: &Viewer, id: ProfileId) -> Result<Option<ProfileView>, StoreError> {
        Ok(self.profiles_by_ids(viewer, &[id]).await?.pop().map(|(_, profile)| profile))
    }

    /// The profile of whoever holds the contact point now, or held it last.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn profile_by_contact(
        &self,
        viewer: &Viewer,
        contact: ContactId,
    ) -> Result<Option<ProfileView>, StoreError> {
        let seeds = "SELECT * FROM (SELECT profile, contact, number FROM profile WHERE tenant = $1 AND contact = $2 \
            ORDER BY number DESC LIMIT 1) AS latest";
        let parameters = vec![Value::from(&viewer.tenant), contact.into()];
        Ok(self.profiles_of(viewer, seeds, parameters).await?.pop_first().map(|(_, profile)| profile))
    }

    /// The profiles that these members belong to, each with the id it was asked for; unknown ids are left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn profiles_by_ids(
        &self,
        viewer: &Viewer,
        ids: &[ProfileId],
    ) -> Result<Vec<(ProfileId, ProfileView)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(ids.len())?;
        let mut parameters = vec![Value::from(&viewer.tenant)];
        padded(&mut parameters, ids);
        let list = placeholders(2, ids.len());
        let seeds = format!("SELECT profile, contact, number FROM profile WHERE tenant = $1 AND profile IN {list}");
        let found = self.profiles_of(viewer, &seeds, parameters).await?;
        Ok(found.into_iter().map(|(seed, profile)| (ProfileId::new(seed), profile)).collect())
    }

    /// The profiles of these occupancies, each with the occupancy it was asked for; unknown ones are left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn profiles_by_occupancies(
        &self,
        viewer: &Viewer,
        occupancies: &[Occupancy],
    ) -> Result<Vec<(Occupancy, ProfileView)>, StoreError> {
        if occupancies.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(occupancies.len())?;
        let mut parameters = vec![Value::from(&viewer.tenant)];
        let contacts: Vec<ContactId> = occupancies.iter().map(|occupancy| occupancy.contact).collect();
        padded(&mut parameters, &contacts);
        let list = placeholders(2, occupancies.len());
        let seeds = format!("SELECT profile, contact, number FROM profile WHERE tenant = $1 AND contact IN {list}");
        let found = self.profiles_of(viewer, &seeds, parameters).await?;
        let mut answer = Vec::with_capacity(occupancies.len());
        for occupancy in occupancies {
            let profile = found.values().find(|profile| profile.occupancy_ids().any(|id| id == *occupancy));
            if let Some(profile) = profile {
                answer.push((*occupancy, profile.clone()));
            }
        }
        Ok(answer)
    }

    /// The profiles of the seeds, a query of `(profile, contact, number)`, by seed: four statements, however many.
    pub(super) async fn profiles_of(
        &self,
        viewer: &Viewer,
        seeds: &str,
        parameters: Vec<Value>,
    ) -> Result<BTreeMap<Uuid, ProfileView>, StoreError> {
        let members = components(seeds, " AND e.active = 1");
        let occupancies = format!(
            "{members}SELECT m.seed, p.profile, p.opened_at, {OCCUPANCY_COLUMNS} FROM member m \
             JOIN profile p ON p.contact = m.contact AND p.number = m.number \
             JOIN occupancy o ON o.contact = m.contact AND o.number = m.number ORDER BY m.seed, p.profile LIMIT {MOST_MEMBERS}"
        );
        let blocks = format!(
            "{members}SELECT m.seed, b.contact, b.number, b.account, b.blocked, b.since FROM member m \
             JOIN contact_block b ON b.contact = m.contact AND b.number = m.number ORDER BY b.account LIMIT {MOST_MEMBERS}"
        );
        let attributes = format!(
            "{members}SELECT m.seed, a.profile, a.attribute, a.source_kind, a.source_id, a.value, a.source_form, \
             a.occurred_at, a.recorded_at, a.event, a.position FROM member m \
             JOIN profile p ON p.contact = m.contact AND p.number = m.number \
             JOIN attribute a ON a.profile = p.profile WHERE a.retracted = 0 LIMIT {MOST_MEMBERS}"
        );
        let queries = [occupancies, blocks, attributes, links_query(&members)];
        let [occupancies, blocks, attributes, links] =
            self.snapshot(queries.map(|sql| Query::new(sql, parameters.clone()))).await?;
        let mut profiles = BTreeMap::new();
        for row in occupancies {
            add_member(viewer, &mut profiles, row.into())?;
        }
        for row in blocks {
            add_block(&mut profiles, row.into())?;
        }
        for row in attributes {
            let (seed, attribute) = attribute_of(viewer, row)?;
            if let Some(profile) = profiles.get_mut(&seed) {
                profile.attributes.push(attribute);
            }
        }
        for (seed, link) in links_of_rows(links)? {
            if let Some(profile) = profiles.get_mut(&seed) {
                profile.links.push(link);
            }
        }
        for profile in profiles.values_mut() {
            // Trusted sources first, then the later value: what is shown comes first.
            profile.attributes.sort_by(|one, other| {
                let rank = |view: &AttributeView| (trust(&view.source), view.position);
                one.attribute.cmp(&other.attribute).then_with(|| rank(other).cmp(&rank(one)))
            });
        }
        Ok(profiles)
    }
}

fn add_member(viewer: &Viewer, profiles: &mut BTreeMap<Uuid, ProfileView>, mut row: Columns) -> Result<(), StoreError> {
    let seed = row.id()?;
    let member = ProfileId::new(row.id()?);
    let opened_at = row.time()?;
    let occupancy = occupancy_of(viewer, &mut row)?;
    // Rows come least profile first: the first of a seed is the whole's id.
    let profile = profiles.entry(seed).or_insert_with(|| ProfileView {
        profile: member,
        members: Vec::new(),
        opened_at,
        occupancies: Vec::new(),
        links: Vec::new(),
        attributes: Vec::new(),
    });
    profile.opened_at = profile.opened_at.min(opened_at);
    profile.members.push(member);
    profile.occupancies.push(occupancy);
    Ok(())
}

fn add_block(profiles: &mut BTreeMap<Uuid, ProfileView>, mut row: Columns) -> Result<(), StoreError> {
    let seed = row.id()?;
    let occupancy = Occupancy { contact: ContactId::new(row.id()?), number: row.small()? };
    let account = events::ids::AccountId::new(row.id()?);
    let block = BlockView { account, blocked: row.flag()?, since: row.time()? };
    let views = profiles.get_mut(&seed).map(|profile| &mut profile.occupancies);
    if let Some(view) = views.and_then(|views| views.iter_mut().find(|view| view.occupancy == occupancy)) {
        view.blocks.push(block);
    }
    Ok(())
}
