//! Sample events of accounts, raw deliveries, contact points, profiles and links.
//!
//! **Invariant:** as [`super::samples_saying`].

use super::{CHANNELS, account, blob, conversation_id, event, of_account, of_person, other_person, person};
use crate::DomainEvent;
use crate::account::{
    AccountDisabled, AccountEnabled, AccountEvent, AccountOpened, AccountSettings, AccountSettingsChanged, Credentials,
    CredentialsReplaced, Secret, SecretIssued, SecretRevoked, SmtpServer, SmtpTls, WebhookRefused, WebhookRegistered,
};
use crate::contact::{
    ContactAddress, ContactBlocked, ContactEvent, ContactOccupied, ContactUnblocked, ContactVacated, VacatedReason,
};
use crate::intake::{
    IntakeEvent, IntakeNormalised, IntakeParked, IntakeReceived, IntakeRedriven, IntakeUnrecognised, RawBody,
};
use crate::link::{LinkBasis, LinkEvent, OccupanciesLinked, OccupanciesUnlinked};
use crate::profile::{
    Attribute, AttributeRecorded, AttributeRetracted, AttributeSource, AttributeValue, ProfileEvent, ProfileOpened,
};
use crate::seal::{KeySubject, Personal};
use crate::values::ContactKind;

fn settings() -> Vec<AccountSettings> {
    let mut settings = vec![
        AccountSettings::Telegram { api_base: None },
        AccountSettings::Telegram { api_base: Some("https://telegram.example".into()) },
        AccountSettings::Webchat { allowed_origins: vec!["https://shop.example".into()] },
    ];
    settings.extend([SmtpTls::Implicit, SmtpTls::StartTls, SmtpTls::None].map(|tls| AccountSettings::Email {
        address: "help@shop.example".into(),
        display_name: Some("Магазин".into()),
        smtp: SmtpServer { host: "smtp.shop.example".into(), port: 465, tls },
    }));
    settings
}

pub(super) fn accounts(text: &str) -> Vec<DomainEvent> {
    let url = || "https://letopis.example/webhooks/telegram/1".to_owned();
    let mut events: Vec<AccountEvent> = Vec::new();
    events.extend(settings().into_iter().map(|settings| {
        AccountEvent::from(AccountOpened { channel: settings.channel(), name: "Магазин".into(), settings })
    }));
    events.extend(
        settings().into_iter().map(|settings| AccountSettingsChanged { name: "Лавка".into(), settings }.into()),
    );
    events.extend([
        SecretIssued { number: 1, secret: Personal::new(of_account(), Secret { value: text.into() }) }.into(),
        SecretRevoked { number: 1 }.into(),
    ]);
    events.extend(
        [
            Credentials::Telegram { bot_token: text.into() },
            Credentials::Email { username: "help".into(), password: text.into() },
        ]
        .map(|credentials| {
            AccountEvent::from(CredentialsReplaced { credentials: Personal::new(of_account(), credentials) })
        }),
    );
    events.extend([
        WebhookRegistered { url: url(), secret: 2 }.into(),
        WebhookRefused { url: url(), reason: "wrong token".into() }.into(),
        AccountDisabled { reason: "season is over".into() }.into(),
        AccountEnabled {}.into(),
    ]);
    events.into_iter().map(DomainEvent::from).collect()
}

pub(super) fn intakes(text: &str) -> Vec<DomainEvent> {
    let mut events: Vec<IntakeEvent> = Vec::new();
    events.extend(CHANNELS.map(|channel| {
        let body = RawBody(text.as_bytes().to_vec().into());
        IntakeEvent::from(IntakeReceived {
            account: account(),
            channel,
            size_bytes: 71,
            body: Personal::new(KeySubject::Own, body),
            blob: None,
        })
    }));
    events.extend([
        IntakeReceived {
            account: account(),
            channel: CHANNELS[2],
            size_bytes: 300_000,
            body: Personal::new(KeySubject::Own, RawBody(text.as_bytes().to_vec().into())),
            blob: Some(blob()),
        }
        .into(),
        IntakeNormalised {
            received: event(),
            kind: "message".into(),
            persons: vec![person(), other_person()],
            conversation: Some(conversation_id()),
        }
        .into(),
        IntakeNormalised { received: event(), kind: "poll".into(), persons: vec![], conversation: None }.into(),
        IntakeUnrecognised { received: event(), reason: "no known field".into() }.into(),
        IntakeParked { received: event(), reason: "log unavailable".into(), attempts: 8 }.into(),
        IntakeRedriven { received: event() }.into(),
    ]);
    events.into_iter().map(DomainEvent::from).collect()
}

pub(super) fn contacts(text: &str) -> Vec<DomainEvent> {
    let mut events: Vec<ContactEvent> = Vec::new();
    events.extend(ContactKind::ALL.map(|kind| {
        let address = ContactAddress { normalised: text.into(), source_form: format!(" {text} ") };
        ContactEvent::from(ContactOccupied {
            occupancy: 1,
            kind,
            account: account(),
            address: Personal::new(of_person(), address),
        })
    }));
    events.extend(
        [VacatedReason::Reassigned, VacatedReason::Erased]
            .map(|reason| ContactEvent::from(ContactVacated { occupancy: 1, reason })),
    );
    events.extend([
        ContactBlocked { occupancy: 1, account: account() }.into(),
        ContactUnblocked { occupancy: 1, account: account() }.into(),
    ]);
    events.into_iter().map(DomainEvent::from).collect()
}

pub(super) fn profiles(text: &str) -> Vec<DomainEvent> {
    let sources = [
        AttributeSource::Channel { account: account() },
        AttributeSource::Customer,
        AttributeSource::Operator { operator: "anna".into() },
    ];
    let mut events: Vec<ProfileEvent> = vec![ProfileOpened { occupancy: person() }.into()];
    events.extend(Attribute::ALL.into_iter().zip(sources.iter().cycle()).map(|(attribute, source)| {
        let value = AttributeValue { text: text.into(), source_form: Some(text.to_uppercase()) };
        ProfileEvent::from(AttributeRecorded {
            attribute,
            source: source.clone(),
            value: Personal::new(of_person(), value),
        })
    }));
    events
        .extend(sources.map(|source| ProfileEvent::from(AttributeRetracted { attribute: Attribute::Company, source })));
    events.into_iter().map(DomainEvent::from).collect()
}

pub(super) fn links() -> Vec<DomainEvent> {
    let mut events: Vec<LinkEvent> = Vec::new();
    events.extend(
        [LinkBasis::Operator, LinkBasis::SharedByCustomer, LinkBasis::SignedIdentity]
            .map(|basis| LinkEvent::from(OccupanciesLinked { one: person(), other: other_person(), basis })),
    );
    events.push(OccupanciesUnlinked { one: person(), other: other_person(), reason: "mistake".into() }.into());
    events.into_iter().map(DomainEvent::from).collect()
}
