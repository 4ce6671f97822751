//! Tests of rows of service levels.
//!
//! **Invariant:** every test makes its own events and store.

use events::ids::ServiceLevelId;
use events::service_level::{
    ServiceLevelChanged, ServiceLevelClosed, ServiceLevelEvent, ServiceLevelOpened, ServiceLevelRules, ServiceTarget,
};
use events::viewer::Role;

use crate::testing::{Story, id, viewer};

#[tokio::test]
async fn a_level_shows_its_latest_name_and_rules_and_whether_it_is_closed() {
    let mut story = Story::default();
    let opened = |name: &str| ServiceLevelOpened { name: name.into(), rules: ServiceLevelRules::default() };
    story.add(id(520), ServiceLevelEvent::from(opened("Золотой")));
    story.add(id(521), ServiceLevelEvent::from(opened("Серебряный")));
    let target = ServiceTarget { first_response_s: Some(60), ..ServiceTarget::default() };
    let rules = ServiceLevelRules { targets: vec![target], ..ServiceLevelRules::default() };
    let changed = ServiceLevelChanged { name: "Платиновый".into(), rules };
    story.add(id(520), ServiceLevelEvent::from(changed));
    story.add(id(521), ServiceLevelEvent::from(ServiceLevelClosed {}));
    let (views, viewer) = (story.views().await, viewer(Role::Operator));
    let shown = views.service_levels(&viewer).await.unwrap();
    let seen: Vec<_> = shown.iter().map(|view| (view.name.as_str(), view.rules.targets.len(), view.closed)).collect();
    assert_eq!(seen, [("Платиновый", 1, false), ("Серебряный", 0, true)]);
    let ids = [ServiceLevelId::new(id(521)), ServiceLevelId::new(id(9))];
    assert_eq!(views.service_levels_by_ids(&viewer, &ids).await.unwrap(), shown[1..]);
}
