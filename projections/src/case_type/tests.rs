//! Tests of rows of types of cases.
//!
//! **Invariant:** every test makes its own events and store.

use events::case_type::{
    CaseTypeChanged, CaseTypeClosed, CaseTypeEvent, CaseTypeOpened, CaseTypeRules, FieldKind, FieldRule,
};
use events::ids::CaseTypeId;
use events::viewer::Role;

use crate::testing::{Story, id, viewer};

#[tokio::test]
async fn a_type_shows_its_latest_name_and_rules_and_whether_it_is_closed() {
    let mut story = Story::default();
    let opened = |name: &str| CaseTypeOpened { name: name.into(), rules: CaseTypeRules::default() };
    story.add(id(510), CaseTypeEvent::from(opened("Возврат")));
    story.add(id(511), CaseTypeEvent::from(opened("Обмен")));
    let field = FieldRule { key: "order".into(), name: "Заказ".into(), kind: FieldKind::Flag, required: true };
    let rules = CaseTypeRules { priority: 3, fields: vec![field] };
    story.add(id(510), CaseTypeEvent::from(CaseTypeChanged { name: "Возврат товара".into(), rules }));
    story.add(id(511), CaseTypeEvent::from(CaseTypeClosed {}));
    let (views, viewer) = (story.views().await, viewer(Role::Operator));
    let shown = views.case_types(&viewer).await.unwrap();
    let seen: Vec<_> = shown.iter().map(|view| (view.name.as_str(), view.rules.fields.len(), view.closed)).collect();
    assert_eq!(seen, [("Возврат товара", 1, false), ("Обмен", 0, true)]);
    let ids = [CaseTypeId::new(id(511)), CaseTypeId::new(id(9))];
    assert_eq!(views.case_types_by_ids(&viewer, &ids).await.unwrap(), shown[1..]);
}
