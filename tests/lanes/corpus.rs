//! The corpus lane: real updates and mails, first through the parsers alone, then through the running server.
//!
//! **Invariant:** who a mail names is found here by looking at its header lines, not by the parser under test. No
//! fixture is copied into the repository and nothing of what they say is printed.

mod fixtures;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chrono::DateTime;
use events::envelope::{Category, Position};
use events::ids::{AccountId, EventId};
use events::log::Filter;
use events::values::EmailAddress;
use futures::StreamExt;
use letopis::app::App;
use letopis::channels::email::OwnMailbox;
use letopis::channels::{Happening, Normalised, Unrecognised, email, telegram, webchat};
use letopis::clock::SystemClock;
use letopis::http::auth::Tokens;

use crate::accounts::{Accounts, SECRET, client, config};
use crate::say;
use fixtures::{Fixture, Fixtures, names_a_sender};

/// Part of the mails that must yield a sender (of those that name one) and a text (of all). **Source:** the project's
/// goal for its corpus.
const LEAST_SHARE: f64 = 0.95;

/// How long the server may take to normalise the whole corpus.
const PATIENCE: Duration = Duration::from_secs(120);

fn received_at() -> DateTime<chrono::Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("a time within the calendar")
}

fn read_mail(body: &[u8]) -> Result<Normalised, Unrecognised> {
    let own = EmailAddress::parse("desk@lane.invalid").expect("a valid address");
    email::normalise(body, &OwnMailbox::new(own), received_at())
}

#[test]
fn every_known_kind_of_update_is_recognised() {
    let fixtures = Fixtures::read();
    let mut understood = 0;
    for update in &fixtures.telegram {
        let normalised = telegram::normalise(&update.body, received_at());
        let peeked = telegram::peek(&update.body);
        assert!(peeked.delivery_id.is_some(), "{}: no delivery id is found before the append", update.name);
        match normalised {
            Ok(_) => {
                assert!(update.known, "{}: an unknown kind was taken for a known one", update.name);
                understood += 1;
            }
            Err(Unrecognised { reason }) => assert!(!update.known, "{}: {reason}", update.name),
        }
    }
    let unknown = fixtures.telegram.iter().filter(|update| !update.known).count();
    say(format_args!("telegram: {understood} updates recognised, {unknown} of an unknown kind kept as unrecognised"));
    assert!(understood > 0 && unknown > 0, "the corpus holds updates of known and of unknown kinds");
}

#[test]
fn nearly_every_mail_yields_its_sender_and_text() {
    let fixtures = Fixtures::read();
    let (mut named, mut senders, mut texts, mut both) = (0, 0, 0, 0);
    for mail in &fixtures.mails {
        let read = read_mail(&mail.body).unwrap_or_else(|unread| panic!("{}: lost: {}", mail.name, unread.reason));
        let interaction = read.interactions.first();
        let interaction = interaction.unwrap_or_else(|| panic!("{}: nothing came of it", mail.name));
        let party = interaction.party.as_ref().unwrap_or_else(|| panic!("{}: nobody wrote it", mail.name));
        let Happening::Message { content, .. } = &interaction.what else { panic!("{}: no message", mail.name) };
        let sender = !party.address.normalised.ends_with("@unknown.invalid");
        let text = content.text.as_ref().is_some_and(|text| !text.trim().is_empty());
        texts += usize::from(text);
        senders += usize::from(sender);
        if names_a_sender(&mail.body) {
            named += 1;
            both += usize::from(sender && text);
            if !(sender && text) {
                say(format_args!("email: {}: sender found: {sender}, text found: {text}", mail.name));
            }
        } else if !text {
            say(format_args!("email: {}: names no sender, text found: {text}", mail.name));
        }
    }
    let all = fixtures.mails.len();
    say(format_args!("email: {all} mails taken in, none lost; {named} of them name a sender in any field"));
    say(format_args!("email: sender found in {senders} of {all} ({}), stand-in for the rest", percent(senders, all)));
    say(format_args!("email: text found in {texts} of {all} ({})", percent(texts, all)));
    say(format_args!("email: sender and text in {both} of {named} that name a sender ({})", percent(both, named)));
    assert!(share(both, named) >= LEAST_SHARE, "too few mails that name a sender yield sender and text");
    assert!(share(texts, all) >= LEAST_SHARE, "too few mails yield a text");
}

#[test]
fn no_body_makes_a_parser_panic() {
    let fixtures = Fixtures::read();
    let account = AccountId::new(uuid::Uuid::from_u128(1));
    let mut read = 0;
    for Fixture { name, body, .. } in fixtures.all() {
        let tried = catch_unwind(AssertUnwindSafe(|| {
            // What they answer does not matter here.
            let _ = (telegram::peek(body), email::peek(body), webchat::peek(body));
            let _ = telegram::normalise(body, received_at());
            let _ = webchat::normalise(body, account, received_at());
            let _ = read_mail(body);
            let _ = email::attachment_bytes(body, 0);
        }));
        assert!(tried.is_ok(), "{name}: a parser panicked");
        read += 1;
    }
    say(format_args!("parsers: {read} bodies of all channels read by each of them without a panic"));
}

#[actix_web::test]
async fn the_running_server_loses_none_of_them() {
    let fixtures = Fixtures::read();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the data");
    let config = config(folder.path());
    let accounts = Accounts::open(&config).await;
    let app = App::start(config, Tokens::none(std::sync::Arc::new(SystemClock))).await.expect("the server starts");

    let mut taken: HashMap<EventId, (&str, bool)> = HashMap::new();
    let http = client();
    let mut posted = 0;
    for fixture in fixtures.all() {
        let telegram = post(&http, &app, "telegram", accounts.telegram, fixture).await;
        taken.insert(telegram, (&fixture.name, telegram::normalise(&fixture.body, received_at()).is_ok()));
        let email = post(&http, &app, "email", accounts.email, fixture).await;
        taken.insert(email, (&fixture.name, read_mail(&fixture.body).is_ok()));
        posted += 2;
    }
    say(format_args!("server: {posted} deliveries posted, each answered 2xx, {} different ones", taken.len()));

    let outcomes = tokio::time::timeout(PATIENCE, outcomes(&app, taken.len())).await.expect("all are normalised");
    let mut counts = BTreeMap::new();
    for (id, (name, readable)) in &taken {
        let outcome = outcomes.get(id).unwrap_or_else(|| panic!("{name}: lost between intake and outcome"));
        *counts.entry(*outcome).or_insert(0) += 1;
        assert_eq!(*outcome, if *readable { "normalised" } else { "unrecognised" }, "{name}");
    }
    assert_eq!(outcomes.len(), taken.len(), "something has an outcome that was never acknowledged");
    say(format_args!("server: outcomes {counts:?}"));

    let head = app.log().head().await.expect("the log can be read");
    app.views().expect("it keeps them").wait_for(head, PATIENCE).await.expect("the read models keep up");
    let parked = parked_by_projections(folder.path());
    say(format_args!("server: {head} events in the log, {parked} parked by the read models"));
    assert_eq!(parked, 0, "the read models could not apply an event");
    app.stop().await;
}

async fn post(http: &reqwest::Client, app: &App, channel: &str, account: AccountId, fixture: &Fixture) -> EventId {
    let url = format!("http://{}/webhooks/{channel}/{account}", app.address());
    let request = http.post(url).header(telegram::SECRET_HEADER, SECRET).bearer_auth(SECRET).body(fixture.body.clone());
    let answer = request.send().await.unwrap_or_else(|_| panic!("{}: {channel} gave no answer", fixture.name));
    assert!(answer.status().is_success(), "{}: {channel} answered {}", fixture.name, answer.status());
    accepted(&answer.bytes().await.expect("the answer is complete"))
}

/// The event id in the answer of a webhook.
pub(crate) fn accepted(answer: &[u8]) -> EventId {
    let answer: serde_json::Value = serde_json::from_slice(answer).expect("the answer is JSON");
    answer["accepted"].as_str().and_then(|id| id.parse().ok()).expect("the answer names the event")
}

/// What became of each delivery, once that is known of so many.
async fn outcomes(app: &App, wanted: usize) -> HashMap<EventId, &'static str> {
    let mut outcomes = HashMap::new();
    let mut events = app.log().subscribe(Position::START, Filter { categories: vec![Category::Intake] });
    while outcomes.len() < wanted {
        let event = events.next().await.expect("the subscription goes on").expect("the log can be read");
        let outcome = match event.event_type.as_ref() {
            "intake.received" => continue,
            "intake.normalised" => "normalised",
            "intake.unrecognised" => "unrecognised",
            "intake.parked" => "parked",
            other => panic!("nobody asked for {other}"),
        };
        let raw = event.metadata.causation.expect("an outcome names its delivery");
        assert_eq!(outcomes.insert(raw, outcome), None, "{raw} has two outcomes");
    }
    outcomes
}

fn parked_by_projections(data: &std::path::Path) -> i64 {
    let views = rusqlite::Connection::open(data.join("views.db")).expect("the read models open");
    views.query_row("SELECT count(*) FROM parked", [], |row| row.get(0)).expect("they list what is parked")
}

fn share(part: usize, whole: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).expect("a small corpus"));
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", share(part, whole) * 100.0)
}
