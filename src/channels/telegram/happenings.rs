//! Service messages: what Telegram tells in the form of a message though nobody wrote it.
//!
//! **Invariant:** a message with one of these fields is an activity (or somebody who joined or left, or a chat that got
//! another id), never a message of a customer.
//!
//! **Source:** Bot API 10.3, object `Message`.

use events::conversation::content::ActivityDetail;

use super::thread;
use crate::channels::json::Object;

/// The fields that make a message a service message, besides those of joining, leaving and migrating.
const SERVICE_FIELDS: [&str; 50] = [
    "new_chat_title",
    "new_chat_photo",
    "delete_chat_photo",
    "group_chat_created",
    "supergroup_chat_created",
    "channel_chat_created",
    "message_auto_delete_timer_changed",
    "pinned_message",
    "connected_website",
    "write_access_allowed",
    "proximity_alert_triggered",
    "boost_added",
    "chat_background_set",
    "checklist_tasks_done",
    "checklist_tasks_added",
    "direct_message_price_changed",
    "paid_message_price_changed",
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_closed",
    "forum_topic_reopened",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "giveaway_created",
    "giveaway_completed",
    "gift",
    "unique_gift",
    "gift_upgrade_sent",
    "refunded_payment",
    "suggested_post_approved",
    "suggested_post_approval_failed",
    "suggested_post_declined",
    "suggested_post_paid",
    "suggested_post_refunded",
    "video_chat_scheduled",
    "video_chat_started",
    "video_chat_ended",
    "video_chat_participants_invited",
    "voice_chat_scheduled",
    "voice_chat_started",
    "voice_chat_ended",
    "voice_chat_participants_invited",
    "chat_owner_left",
    "chat_owner_changed",
    "managed_bot_created",
    "poll_option_added",
    "poll_option_deleted",
    "community_chat_added",
    "community_chat_removed",
    "community_chat_joined",
];

/// An activity that a service message tells of.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) about: Option<String>,
    pub(super) detail: ActivityDetail,
}

/// The activity in a message, if it is a service message.
pub(super) fn find(message: Object<'_>) -> Option<Service> {
    let name = SERVICE_FIELDS.into_iter().find(|name| message.has(name))?;
    let body = message.object(name);
    let about = match name {
        "pinned_message" => body,
        "checklist_tasks_done" | "checklist_tasks_added" => body.and_then(|body| body.object("checklist_message")),
        "giveaway_completed" => body.and_then(|body| body.object("giveaway_message")),
        "poll_option_added" | "poll_option_deleted" => body.and_then(|body| body.object("poll_message")),
        _ => body.and_then(|body| body.object("suggested_post_message")),
    };
    let about = about.and_then(|about| about.int("message_id")).map(|id| id.to_string());
    let data = match name {
        "video_chat_participants_invited" | "voice_chat_participants_invited" => {
            let names: Vec<_> = body.into_iter().flat_map(|body| body.objects("users")).collect();
            Some(names.into_iter().filter_map(thread::display_name).collect::<Vec<_>>().join(", "))
        }
        "refunded_payment" => body.and_then(super::content::amount),
        // What is pinned is a message of its own.
        "pinned_message" => None,
        _ => message.owned(name).or_else(|| {
            let body = body?;
            ["name", "text", "option_text", "comment", "web_app_name", "reason"]
                .into_iter()
                .find_map(|key| body.owned(key))
        }),
    };
    Some(Service {
        name,
        about,
        detail: ActivityDetail { data: data.filter(|data| !data.is_empty()), answer_id: None },
    })
}
