//! Tests of profiles.
//!
//! **Invariant:** every test makes its own events and store.

use events::contact::{ContactBlocked, ContactEvent, ContactVacated, VacatedReason};
use events::ids::{AccountId, ContactId, LinkId, ProfileId};
use events::link::{LinkBasis, LinkEvent, OccupanciesLinked, OccupanciesUnlinked};
use events::profile::{Attribute, AttributeRetracted, AttributeSource, ProfileEvent};
use events::values::ContactKind;
use events::viewer::Role;

use super::{ProfileFilter, ProfileSort};
use crate::testing::{Story, id, person, viewer};
use crate::views::{Order, PageRequest};

fn operator(name: &str) -> AttributeSource {
    AttributeSource::Operator { operator: name.to_owned() }
}

fn channel() -> AttributeSource {
    AttributeSource::Channel { account: AccountId::new(id(0xA)) }
}

fn link(story: &mut Story, number: u128, one: u128, other: u128) {
    let linked = OccupanciesLinked { one: person(one), other: person(other), basis: LinkBasis::Operator };
    story.add(id(number), LinkEvent::from(linked));
}

fn unlink(story: &mut Story, number: u128, one: u128, other: u128) {
    let unlinked = OccupanciesUnlinked { one: person(one), other: person(other), reason: "mistake".into() };
    story.add(id(number), LinkEvent::from(unlinked));
}

#[tokio::test]
async fn the_more_trusted_source_is_shown_and_the_others_are_kept() {
    let mut story = Story::default();
    let profile = story.customer(1, ContactKind::Email, "vera@example.org");
    story.attribute(profile, Attribute::DisplayName, operator("olga"), "Vera Petrova");
    story.attribute(profile, Attribute::DisplayName, AttributeSource::Customer, "Vera");
    story.attribute(profile, Attribute::DisplayName, channel(), "vp");
    let view = story.views().await.profile(&viewer(Role::Operator), profile).await.unwrap().unwrap();
    let shown: Vec<_> = view.attributes.iter().map(|value| value.text.clone().unwrap()).collect();
    assert_eq!(shown, ["Vera Petrova", "Vera", "vp"]);
    assert_eq!(view.attribute(Attribute::DisplayName).unwrap().source, operator("olga"));

    let retracted = AttributeRetracted { attribute: Attribute::DisplayName, source: operator("olga") };
    story.add(profile.uuid(), ProfileEvent::from(retracted));
    let view = story.views().await.profile(&viewer(Role::Operator), profile).await.unwrap().unwrap();
    assert_eq!(view.attribute(Attribute::DisplayName).unwrap().text.as_deref(), Some("Vera"));
}

#[tokio::test]
async fn any_member_of_a_ring_of_links_gives_the_whole_profile_under_the_least_id() {
    let mut story = Story::default();
    let members: Vec<ProfileId> =
        (1..=4).map(|number| story.customer(number, ContactKind::Email, &format!("{number}@example.org"))).collect();
    for (number, (one, other)) in [(1, 2), (2, 3), (3, 4), (1, 4)].into_iter().enumerate() {
        link(&mut story, 900 + number as u128, one, other);
    }
    story.attribute(members[2], Attribute::Company, AttributeSource::Customer, "Acme");
    let views = story.views().await;
    for member in &members {
        let view = views.profile(&viewer(Role::Operator), *member).await.unwrap().unwrap();
        assert_eq!(view.profile, members[0]);
        assert_eq!(view.members, members);
        assert_eq!(view.occupancies.len(), 4);
        assert_eq!(view.links.len(), 4);
        assert_eq!(view.attribute(Attribute::Company).unwrap().profile, members[2]);
    }
    let page = PageRequest::first(10, Order::Ascending);
    let listed =
        views.profiles(&viewer(Role::Operator), &ProfileFilter::default(), ProfileSort::OpenedAt, &page).await.unwrap();
    assert_eq!(listed.items.len(), 1, "linked profiles are one person");
}

#[tokio::test]
async fn unlinking_gives_both_people_back_and_linking_again_joins_them() {
    let mut story = Story::default();
    let one = story.customer(1, ContactKind::Email, "1@example.org");
    let other = story.customer(2, ContactKind::Phone, "+79991234567");
    link(&mut story, 900, 1, 2);
    unlink(&mut story, 900, 1, 2);
    let views = story.views().await;
    for member in [one, other] {
        let view = views.profile(&viewer(Role::Operator), member).await.unwrap().unwrap();
        assert_eq!(view.members, [member]);
    }
    let phones = ProfileFilter { kind: Some(ContactKind::Phone), ..ProfileFilter::default() };
    let page = PageRequest::first(10, Order::Descending);
    let listed = views.profiles(&viewer(Role::Operator), &phones, ProfileSort::OpenedAt, &page).await.unwrap();
    assert_eq!(listed.items.iter().map(|view| view.profile).collect::<Vec<_>>(), [other]);

    link(&mut story, 900, 1, 2);
    let view = story.views().await.profile(&viewer(Role::Operator), other).await.unwrap().unwrap();
    assert_eq!(view.members, [one, other]);
    assert_eq!(view.links[0].link, LinkId::new(id(900)));
}

#[tokio::test]
async fn a_contact_point_that_passed_on_gives_the_profile_of_its_present_holder() {
    let mut story = Story::default();
    let first = story.customer(1, ContactKind::Phone, "+79991234567");
    let vacated = ContactVacated { occupancy: 1, reason: VacatedReason::Reassigned };
    story.add(id(1), ContactEvent::from(vacated));
    let occupied = events::contact::ContactOccupied {
        occupancy: 2,
        kind: ContactKind::Phone,
        account: AccountId::new(id(0xA)),
        address: events::seal::Personal::Erased,
    };
    story.add(id(1), ContactEvent::from(occupied));
    let second = events::ids::Occupancy { contact: ContactId::new(id(1)), number: 2 };
    story.add(id(0x60), ProfileEvent::from(events::profile::ProfileOpened { occupancy: second }));
    story.add(id(1), ContactEvent::from(ContactBlocked { occupancy: 2, account: AccountId::new(id(0xA)) }));

    let views = story.views().await;
    let view = views.profile_by_contact(&viewer(Role::Operator), ContactId::new(id(1))).await.unwrap().unwrap();
    assert_eq!(view.profile, ProfileId::new(id(0x60)));
    assert_eq!(view.occupancies[0].normalised, None, "an erased address is shown as erased");
    assert!(view.occupancies[0].blocks[0].blocked);
    let before = views.profile(&viewer(Role::Operator), first).await.unwrap().unwrap();
    assert_eq!(before.occupancies[0].vacated_reason, Some(VacatedReason::Reassigned));
    assert_eq!(before.occupancies[0].blocks, []);
}
