//! Service messages.

use super::*;

fn check(field: &str, value: Value, about: Option<&str>, data: Option<&str>) {
    let happened = only(&group_message(json!({ field: value })));
    let Happening::Activity { activity, activity_id, about: found, detail } = happened.what else {
        panic!("{field} is no activity")
    };
    assert_eq!(activity, field);
    assert_eq!(activity_id, format!("{field}/12"));
    assert_eq!((found.as_deref(), detail.data.as_deref()), (about, data), "{field}");
}

#[test]
fn service_messages_are_activities() {
    let pinned = json!({"message_id": 5, "date": 1_779_000_000, "chat": group_chat(), "text": "важно"});
    check("pinned_message", pinned.clone(), Some("5"), None);
    check("new_chat_title", json!("Новый клуб"), None, Some("Новый клуб"));
    check("new_chat_photo", json!([]), None, None);
    check("delete_chat_photo", json!(true), None, None);
    check("group_chat_created", json!(true), None, None);
    check("message_auto_delete_timer_changed", json!({"message_auto_delete_time": 86400}), None, None);
    check("connected_website", json!("example.org"), None, Some("example.org"));
    check("write_access_allowed", json!({"web_app_name": "shop"}), None, Some("shop"));
    check("boost_added", json!({"boost_count": 1}), None, None);
    check("forum_topic_created", json!({"name": "Доставка", "icon_color": 1}), None, Some("Доставка"));
    check("forum_topic_closed", json!({}), None, None);
    check("general_forum_topic_hidden", json!({}), None, None);
    check("video_chat_started", json!({}), None, None);
    check("video_chat_ended", json!({"duration": 60}), None, None);
    check("video_chat_participants_invited", json!({"users": [anna()]}), None, Some("Анна Орлова"));
    check("giveaway_created", json!({}), None, None);
    check("giveaway_completed", json!({"winner_count": 1, "giveaway_message": pinned}), Some("5"), None);
    check("refunded_payment", json!({"currency": "XTR", "total_amount": 5}), None, Some("5 stars"));
    check("gift", json!({"gift": {"id": "g"}, "text": "С праздником"}), None, Some("С праздником"));
    let task = json!({"checklist_message": {"message_id": 8, "date": 0, "chat": group_chat()}, "marked_as_done_task_ids": [1]});
    check("checklist_tasks_done", task, Some("8"), None);
}

#[test]
fn each_new_member_joins_and_bots_do_not() {
    let other = json!({"id": 5, "is_bot": false, "first_name": "Олег"});
    let bot = json!({"id": 9, "is_bot": true, "first_name": "Бот"});
    let happened = read(&group_message(json!({"new_chat_members": [anna(), other, bot]}))).interactions;
    let who: Vec<_> = happened.iter().map(|one| one.party.clone().unwrap().address.normalised).collect();
    assert_eq!(who, ["7100200300", "5", "7100200300"]);
    assert_eq!((&happened[0].what, &happened[1].what), (&Happening::Joined, &Happening::Joined));
    assert!(matches!(&happened[2].what, Happening::Activity { activity, .. } if activity == "bot_joined"));
}

#[test]
fn who_is_removed_has_left_and_not_who_removed_them() {
    let happened = only(&group_message(json!({"left_chat_member": {"id": 5, "is_bot": false, "first_name": "Олег"}})));
    assert_eq!((happened.party.unwrap().address.normalised.as_str(), happened.what), ("5", Happening::Left));
}

#[test]
fn a_group_that_moves_moves_once() {
    let moved = only(&update(
        "message",
        json!({"message_id": 16, "from": anna(), "date": 1_780_000_000, "chat": {"id": -555, "type": "group", "title": "Клуб"}}),
        json!({"migrate_to_chat_id": -1_002_000_000_042_i64}),
    ));
    assert_eq!(moved.thread.unwrap().key, "-555");
    let Happening::Migrated { to } = moved.what else { panic!("a migration") };
    assert_eq!((to.key.as_str(), to.outside.key.as_str()), ("-1002000000042", "-1002000000042"));
    assert_eq!(to.outside.title.as_deref(), Some("Клуб"));
    assert_eq!(read(&group_message(json!({"migrate_from_chat_id": -555}))).interactions, []);
}

#[test]
fn a_service_message_that_is_edited_is_another_activity() {
    let base = json!({"message_id": 12, "from": anna(), "chat": group_chat(), "date": 1_780_000_000});
    let edited = json!({"edit_date": 1_780_000_060, "new_chat_title": "Клуб"});
    let Happening::Activity { activity_id, .. } = only(&update("edited_message", base, edited)).what else { panic!() };
    assert_eq!(activity_id, "new_chat_title/12/1780000060");
}
