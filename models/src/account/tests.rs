//! What an account answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here at least once, where it can.

use events::account::{SmtpServer, SmtpTls};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::given;

use AccountCommand as C;

fn account() -> AccountId {
    AccountId::new(Uuid::from_u128(1))
}

fn telegram() -> AccountSettings {
    AccountSettings::Telegram { api_base: None }
}

fn email() -> AccountSettings {
    AccountSettings::Email {
        address: "help@example.org".into(),
        display_name: None,
        smtp: SmtpServer { host: "mx.example.org".into(), port: 465, tls: SmtpTls::Implicit },
    }
}

fn open() -> C {
    C::Open { name: "Bot".into(), settings: telegram() }
}

fn secret(fill: char) -> Secret {
    Secret { value: fill.to_string().repeat(MIN_SECRET_CHARS) }
}

fn issue(fill: char) -> C {
    C::IssueSecret { account: account(), secret: secret(fill) }
}

fn issued(number: u32, fill: char) -> AccountEvent {
    SecretIssued { number, secret: Personal::new(KeySubject::Account(account()), secret(fill)) }.into()
}

fn opened() -> AccountEvent {
    AccountOpened { channel: Channel::Telegram, name: "Bot".into(), settings: telegram() }.into()
}

fn nothing() -> [AccountEvent; 0] {
    []
}

fn replace(credentials: Credentials) -> C {
    C::ReplaceCredentials { account: account(), credentials }
}

#[test]
fn an_account_opens_on_the_channel_of_its_settings() {
    given::<AccountDecider>(nothing()).when(open()).then([opened()]);
}

#[test]
fn opening_an_account_again_in_the_same_way_does_nothing() {
    given::<AccountDecider>([opened()]).when(open()).then_nothing();
}

#[test]
fn opening_an_account_again_in_another_way_is_refused() {
    let other = C::Open { name: "Mail".into(), settings: email() };
    given::<AccountDecider>([opened()]).when(other).then_rejected(&AccountRejection::AlreadyOpen);
}

#[test]
fn an_account_needs_a_name_of_reasonable_length() {
    for name in ["", "  ", &"x".repeat(MAX_NAME_CHARS + 1)] {
        let open = C::Open { name: name.into(), settings: telegram() };
        given::<AccountDecider>(nothing()).when(open).then_rejected(&AccountRejection::BadName);
        let change = C::ChangeSettings { name: name.into(), settings: telegram() };
        given::<AccountDecider>([opened()]).when(change).then_rejected(&AccountRejection::BadName);
    }
    let longest = C::Open { name: "ж".repeat(MAX_NAME_CHARS), settings: telegram() };
    given::<AccountDecider>(nothing()).when(longest).then_types(&["account.opened"]);
}

#[test]
fn nothing_can_be_done_to_an_account_that_does_not_exist() {
    for command in [
        C::ChangeSettings { name: "Bot".into(), settings: telegram() },
        issue('a'),
        C::RevokeSecret { number: 1 },
        replace(Credentials::Telegram { bot_token: "1:a".into() }),
        C::RecordWebhook { url: "https://x".into(), secret: 1 },
        C::RecordRefusal { url: "https://x".into(), reason: "no".into() },
        C::Disable { reason: "off".into() },
        C::Enable,
    ] {
        given::<AccountDecider>(nothing()).when(command).then_rejected(&AccountRejection::NotOpen);
    }
}

#[test]
fn settings_change_within_the_channel_only() {
    let settings = AccountSettings::Telegram { api_base: Some("http://localhost:1".into()) };
    let change = C::ChangeSettings { name: "Bot".into(), settings: settings.clone() };
    let changed = AccountSettingsChanged { name: "Bot".into(), settings }.into();
    given::<AccountDecider>([opened()]).when(change.clone()).then([changed]);
    given::<AccountDecider>([opened()]).and(change.clone()).when(change).then_nothing();
    let other = C::ChangeSettings { name: "Bot".into(), settings: email() };
    given::<AccountDecider>([opened()]).when(other).then_rejected(&AccountRejection::OtherChannel);
}

#[test]
fn a_secret_is_sealed_for_the_account_and_numbered() {
    given::<AccountDecider>([opened()]).when(issue('a')).then([issued(1, 'a')]);
    given::<AccountDecider>([opened(), issued(1, 'a')]).when(issue('b')).then([issued(2, 'b')]);
}

#[test]
fn a_third_live_secret_is_refused() {
    let given = given::<AccountDecider>([opened(), issued(1, 'a'), issued(2, 'b')]);
    given.when(issue('c')).then_rejected(&AccountRejection::TooManySecrets);
}

#[test]
fn a_secret_that_a_header_cannot_carry_is_refused() {
    let long = "x".repeat(MAX_SECRET_CHARS + 1);
    for value in ["short", &"ж".repeat(40), &"a b".repeat(20), &long] {
        let issue = C::IssueSecret { account: account(), secret: Secret { value: value.into() } };
        given::<AccountDecider>([opened()]).when(issue).then_rejected(&AccountRejection::BadSecret);
    }
}

#[test]
fn a_number_of_a_revoked_secret_is_not_used_again() {
    let given = given::<AccountDecider>([opened(), issued(1, 'a'), issued(2, 'b')]);
    given.and(C::RevokeSecret { number: 2 }).when(issue('c')).then([issued(3, 'c')]);
}

#[test]
fn one_of_two_secrets_can_be_revoked_and_the_last_cannot() {
    let one = || given::<AccountDecider>([opened(), issued(1, 'a')]);
    one().when(C::RevokeSecret { number: 1 }).then_rejected(&AccountRejection::LastSecret);
    one().when(C::RevokeSecret { number: 2 }).then_rejected(&AccountRejection::NoSuchSecret);
    one().when(C::RevokeSecret { number: 0 }).then_rejected(&AccountRejection::NoSuchSecret);
    let two = || one().and(issue('b'));
    two().when(C::RevokeSecret { number: 1 }).then([SecretRevoked { number: 1 }.into()]);
    two().and(C::RevokeSecret { number: 1 }).when(C::RevokeSecret { number: 1 }).then_nothing();
}

#[test]
fn credentials_are_sealed_for_the_account_and_fit_its_channel() {
    let credentials = Credentials::Telegram { bot_token: "1:a".into() };
    let sealed = Personal::new(KeySubject::Account(account()), credentials.clone());
    let replaced = CredentialsReplaced { credentials: sealed }.into();
    given::<AccountDecider>([opened()]).when(replace(credentials)).then([replaced]);
    let mail = replace(Credentials::Email { username: "u".into(), password: "p".into() });
    given::<AccountDecider>([opened()]).when(mail).then_rejected(&AccountRejection::OtherChannel);
}

#[test]
fn the_providers_answer_to_a_webhook_is_recorded() {
    let taken = C::RecordWebhook { url: "https://x".into(), secret: 1 };
    let registered = WebhookRegistered { url: "https://x".into(), secret: 1 }.into();
    given::<AccountDecider>([opened()]).when(taken).then([registered]);
    let refused = C::RecordRefusal { url: "https://x".into(), reason: "ж".repeat(MAX_REASON_CHARS + 1) };
    let cut = WebhookRefused { url: "https://x".into(), reason: "ж".repeat(MAX_REASON_CHARS) }.into();
    given::<AccountDecider>([opened()]).when(refused).then([cut]);
}

#[test]
fn an_account_is_disabled_and_enabled_once() {
    let disable = || C::Disable { reason: "moved".into() };
    let on = || given::<AccountDecider>([opened()]);
    on().when(disable()).then([AccountDisabled { reason: "moved".into() }.into()]);
    on().and(disable()).when(disable()).then_nothing();
    on().when(C::Enable).then_nothing();
    on().and(disable()).when(C::Enable).then([AccountEnabled {}.into()]);
    let long = C::Disable { reason: "x".repeat(MAX_REASON_CHARS + 1) };
    on().when(long).then_rejected(&AccountRejection::BadReason);
}

#[test]
fn what_an_account_says_of_itself_follows_its_settings() {
    let given = given::<AccountDecider>([opened(), issued(1, 'a')]);
    assert_eq!(given.state().channel(), Some(Channel::Telegram));
    assert_eq!(given.state().settings(), Some(&telegram()));
    assert_eq!(given.state().last_secret(), 1);
}

fn any_command() -> impl Strategy<Value = C> {
    prop_oneof![
        2 => Just(open()),
        1 => Just(C::ChangeSettings { name: "Other".into(), settings: telegram() }),
        4 => Just(issue('a')),
        4 => (0_u32..8).prop_map(|number| C::RevokeSecret { number }),
        1 => Just(C::Disable { reason: "off".into() }),
        1 => Just(C::Enable),
        1 => Just(replace(Credentials::Telegram { bot_token: "1:a".into() })),
    ]
}

proptest! {
    #[test]
    fn no_history_leaves_more_than_two_live_secrets_or_none_after_the_first(
        commands in prop::collection::vec(any_command(), 0..60),
    ) {
        let mut state = Account::default();
        let (mut revision, mut last, mut live) = (0, 0, BTreeSet::new());
        for command in commands {
            for event in AccountDecider::decide(&state, command).unwrap_or_default() {
                match &event {
                    AccountEvent::SecretIssued(issued) => {
                        prop_assert!(issued.number > last);
                        last = issued.number;
                        prop_assert!(live.insert(issued.number));
                    }
                    AccountEvent::SecretRevoked(revoked) => prop_assert!(live.remove(&revoked.number)),
                    AccountEvent::Opened(_)
                    | AccountEvent::SettingsChanged(_)
                    | AccountEvent::CredentialsReplaced(_)
                    | AccountEvent::WebhookRegistered(_)
                    | AccountEvent::WebhookRefused(_)
                    | AccountEvent::Disabled(_)
                    | AccountEvent::Enabled(_) => {}
                }
                prop_assert!(live.len() <= MAX_LIVE_SECRETS && (last == 0 || !live.is_empty()));
                AccountDecider::evolve(&mut state, &event, Revision(revision));
                revision += 1;
            }
        }
    }
}
