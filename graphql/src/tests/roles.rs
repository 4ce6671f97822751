//! Role refusals.
//!
//! **Invariant:** each guarded field is refused to the role below the one it needs, before anything is read.

use events::viewer::Role;

use super::stack::{Stack, caller};

#[tokio::test]
async fn what_needs_a_higher_role_is_refused() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let id = conversation.to_string();
    let none = "00000000-0000-0000-0000-000000000000";
    let fields = [
        (Role::Operator, "{ events { nodes { id } } }".to_owned()),
        (Role::Operator, "{ intake { nodes { event } } }".to_owned()),
        (Role::Operator, "{ deadLetters { nodes { message } } }".to_owned()),
        (Role::Operator, "{ parkedEvents { nodes { event } } }".to_owned()),
        (Role::Operator, format!("{{ node(id: \"event-{none}\") {{ id }} }}")),
        (Role::Supervisor, format!("{{ node(id: \"account-{none}\") {{ id }} }}")),
        (Role::Supervisor, "{ accounts { id } }".to_owned()),
        (Role::Agent, mutation("assignConversation", &format!("conversation: \"{id}\", operator: \"olga\""))),
        (Role::Agent, mutation("markRead", &format!("conversation: \"{id}\", upTo: 0"))),
        (Role::Agent, "{ operators { id } }".to_owned()),
        (Role::Agent, "{ calendars { id } }".to_owned()),
        (Role::Agent, "{ serviceLevels { id } }".to_owned()),
        (Role::Supervisor, mutation("closeServiceLevel", &format!("serviceLevel: \"servicelevel-{none}\""))),
        (Role::Agent, format!("{{ node(id: \"operator-{none}\") {{ id }} }}")),
        (Role::Agent, mutation("setPresence", "presence: BUSY")),
        (Role::Supervisor, mutation("openQueue", "name: \"x\", rules: {}")),
        (Role::Supervisor, mutation("closeQueue", &format!("queue: \"queue-{none}\""))),
        (Role::Supervisor, mutation("changeQueue", &format!("queue: \"queue-{none}\", name: \"x\", rules: {{}}"))),
        (
            Role::Supervisor,
            mutation(
                "registerOperator",
                "operator: \"x\", name: \"x\", abilities: {languages: [], skills: [], room: 1, roomOfChannel: []}",
            ),
        ),
        (Role::Supervisor, mutation("openCaseType", "name: \"x\", rules: {fields: []}")),
        (Role::Supervisor, mutation("closeCaseType", &format!("caseType: \"casetype-{none}\""))),
        (Role::Agent, mutation("assignCase", &format!("case: \"case-{none}\""))),
        (Role::Agent, mutation("mergeCase", &format!("case: \"case-{none}\", into: \"case-{none}\""))),
        (Role::Agent, mutation("unmergeCase", &format!("case: \"case-{none}\""))),
        (Role::Agent, mutation("reopenConversation", &format!("conversation: \"{id}\""))),
        (Role::Agent, mutation("vacateContact", &format!("contact: \"contact-{none}\", occupancy: 1"))),
        (
            Role::Agent,
            mutation("recordAttribute", &format!("profile: \"profile-{none}\", attribute: PLACE, value: \"x\"")),
        ),
        (Role::Operator, mutation("redriveMessage", &format!("conversation: \"{id}\", message: \"message-{none}\""))),
        (Role::Operator, mutation("redriveIntake", &format!("stream: \"intake-{none}\", event: \"event-{none}\""))),
        (Role::Supervisor, mutation("openAccount", "name: \"x\", settings: {telegram: {}}")),
        (Role::Supervisor, mutation("registerWebhook", &format!("account: \"account-{none}\""))),
        (Role::Supervisor, mutation("enableAccount", &format!("account: \"account-{none}\""))),
    ];
    for (role, query) in fields {
        assert_eq!(stack.code(&caller(role), &query).await, "FORBIDDEN", "{role}: {query}");
    }
}

fn mutation(name: &str, input: &str) -> String {
    format!("mutation {{ {name}(input: {{{input}, idempotencyKey: \"k\"}}) {{ token }} }}")
}

#[tokio::test]
async fn without_a_caller_everything_is_refused() {
    let stack = Stack::start().await;
    let loaders = crate::loaders::Loaders::of(
        caller(Role::Operator).viewer,
        stack.deps.views.clone(),
        stack.handler.log().clone(),
    );
    let request = async_graphql::Request::new("{ viewer { id } conversations { nodes { id } } }")
        .data(loaders)
        .data(std::sync::Arc::new(crate::context::ReadMark::default()));
    let answer = serde_json::to_value(stack.schema.execute(request).await).unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn an_agent_may_not_take_a_conversation_from_a_person() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let send = |text: &str| mutation_with("sendMessage", conversation, &format!("text: \"{text}\""));
    let hand = |to: &str| mutation_with("handOver", conversation, &format!("to: {{{to}}}"));
    let operator = caller(Role::Operator);
    assert_eq!(stack.ask(&operator, &send("hi")).await["m"]["userErrors"], serde_json::json!([]));
    for attempt in [send("me too"), hand("kind: AGENT, id: \"agent\""), hand("kind: NOBODY")] {
        let data = stack.ask(&caller(Role::Agent), &attempt).await;
        assert_eq!(data["m"]["userErrors"][0]["code"], "HELD_BY_OTHER", "{attempt}");
    }
}

fn mutation_with(name: &str, conversation: events::ids::ConversationId, input: &str) -> String {
    let key = input.replace('"', "'");
    format!(
        "mutation {{ m: {name}(input: {{conversation: \"{conversation}\", {input}, idempotencyKey: \"{key}\"}}) \
         {{ token userErrors {{ code }} }} }}"
    )
}
