//! Tests of account rows.
//!
//! **Invariant:** every test makes its own events and store.

use events::account::{
    AccountDisabled, AccountEnabled, AccountEvent, CredentialsReplaced, SecretIssued, SecretRevoked, WebhookRefused,
    WebhookRegistered,
};
use events::seal::Personal;
use events::viewer::Role;

use super::AccountView;
use crate::testing::{Story, viewer};

async fn read(story: &Story) -> AccountView {
    story.views().await.accounts(&viewer(Role::Administrator)).await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn an_account_shows_its_live_secrets_by_number_and_how_its_webhook_fares() {
    let mut story = Story::default();
    let account = story.account();
    let view = read(&story).await;
    assert_eq!((view.name.as_str(), view.enabled, view.has_credentials), ("Site", true, false));
    for number in 1..=2 {
        story.add(account, AccountEvent::from(SecretIssued { number, secret: Personal::Erased }));
    }
    story.add(account, AccountEvent::from(SecretRevoked { number: 1 }));
    story.add(account, AccountEvent::from(CredentialsReplaced { credentials: Personal::Erased }));
    let refused = WebhookRefused { url: "https://acme.example/hook".into(), reason: "no TLS".into() };
    story.add(account, AccountEvent::from(refused));
    let view = read(&story).await;
    assert_eq!(view.live_secrets.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2]);
    assert_eq!((view.has_credentials, view.webhook_refusal.as_deref()), (true, Some("no TLS")));

    let registered = WebhookRegistered { url: "https://acme.example/hook".into(), secret: 2 };
    story.add(account, AccountEvent::from(registered));
    story.add(account, AccountEvent::from(AccountDisabled { reason: "moved".into() }));
    let view = read(&story).await;
    assert_eq!((view.webhook_secret, view.webhook_refusal, view.enabled), (Some(2), None, false));
    assert_eq!(view.disabled_reason.as_deref(), Some("moved"));
    story.add(account, AccountEvent::from(AccountEnabled {}));
    let view = read(&story).await;
    assert_eq!((view.enabled, view.disabled_reason), (true, None));
}
