//! Hands composed mails to the tenant's SMTP server.
//!
//! SMTP has no idempotency key: when the connection breaks after the body has begun to go out, nobody can tell whether
//! the server took the mail. lettre does not tell the last byte of the body from the dot that ends it, so everything
//! from the first byte of the body to the server's answer is one stretch of uncertainty, reported as
//! [`DeliveryError::Unknown`]; before it every failure leaves the mail unsent.
//!
//! **Invariant:** no mail is reported as unsent that the server may have taken, and no error names an address: of a
//! server's answer only the numbers are kept.

use std::error::Error as _;
use std::time::Duration;

use events::account::{Credentials, SmtpServer, SmtpTls};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials as Login, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tokio::time::timeout;

use super::reply::ComposedMail;

/// How long to wait before the next attempt when the server could not be reached.
const AFTER_NO_CONNECTION: Duration = Duration::from_secs(60);
/// How long to wait after a temporary refusal. **Source:** greylisting servers want at least 5 minutes (RFC 6647,
/// section 4.1, recommends that clients' retries fall between 1 minute and 24 hours).
const AFTER_TEMPORARY_REFUSAL: Duration = Duration::from_secs(300);
/// How long to wait when the set-up of the account is at fault: TLS, login, missing extensions.
const AFTER_SETUP_FAULT: Duration = Duration::from_secs(900);

/// How long the server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmtpPatience {
    /// For everything before the body, together.
    pub before_body: Duration,
    /// For the body and the answer to it.
    pub body: Duration,
}

impl Default for SmtpPatience {
    /// **Source:** RFC 5321, section 4.5.3.2: 5 minutes a command, 10 minutes after the final dot. Shorter before the
    /// body, where trying again costs nothing.
    fn default() -> Self {
        Self { before_body: Duration::from_secs(60), body: Duration::from_secs(600) }
    }
}

/// Why a mail was not, or not surely, delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The mail is not sent; try again, not before this time has passed.
    #[error("not sent for now: {reason}")]
    Retry {
        /// How long to wait at least.
        after: Duration,
        /// What happened.
        reason: String,
    },
    /// The server will never take this mail.
    #[error("refused: {reason}")]
    Refused {
        /// What happened.
        reason: String,
    },
    /// The server may have taken the mail: it must not be sent again without a person's word.
    #[error("unknown whether sent: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// Sends one mail over a connection of its own.
///
/// # Errors
/// See [`DeliveryError`].
pub async fn send(
    server: &SmtpServer,
    credentials: Option<&Credentials>,
    mail: &ComposedMail,
    patience: SmtpPatience,
) -> Result<(), DeliveryError> {
    let opening = Box::pin(timeout(patience.before_body, open(server, credentials, mail, patience))).await;
    let Ok(opened) = opening else {
        return Err(retry(AFTER_NO_CONNECTION, "no answer in time before the body"));
    };
    let mut connection = opened?;
    let outcome = Box::pin(timeout(patience.body, connection.message(&mail.bytes))).await;
    match outcome {
        Ok(Ok(_)) => {
            // The mail is taken; how the server says goodbye changes nothing.
            let _ = Box::pin(timeout(Duration::from_secs(5), connection.quit())).await;
            Ok(())
        }
        Ok(Err(error)) if error.status().is_some() => Err(answered("body", &error)),
        Ok(Err(_)) => Err(DeliveryError::Unknown { reason: "connection lost after the body began".to_owned() }),
        Err(_) => Err(DeliveryError::Unknown { reason: "no answer in time to the body".to_owned() }),
    }
}

/// Goes as far as the server's word to send the body.
async fn open(
    server: &SmtpServer,
    credentials: Option<&Credentials>,
    mail: &ComposedMail,
    patience: SmtpPatience,
) -> Result<AsyncSmtpConnection, DeliveryError> {
    let mut connection = connect(server, mail, patience).await?;
    if let Some(Credentials::Email { username, password }) = credentials {
        let login = Login::new(username.clone(), password.clone());
        if let Err(error) = connection.auth(DEFAULT_MECHANISMS, &login).await {
            return Err(match (error.status(), answered("login", &error)) {
                (Some(_), DeliveryError::Refused { reason }) => retry(AFTER_SETUP_FAULT, &reason),
                (Some(_), other) => other,
                (None, _) => not_sent("login", &error),
            });
        }
    }
    let options = mail_options(&connection, mail)?;
    let sender = Mail::new(mail.envelope.from().cloned(), options);
    connection.command(sender).await.map_err(|error| stopped("sender", &error))?;
    for to in mail.envelope.to() {
        let recipient = Rcpt::new(to.clone(), Vec::new());
        connection.command(recipient).await.map_err(|error| stopped("recipient", &error))?;
    }
    connection.command(Data).await.map_err(|error| stopped("data", &error))?;
    Ok(connection)
}

async fn connect(
    server: &SmtpServer,
    mail: &ComposedMail,
    patience: SmtpPatience,
) -> Result<AsyncSmtpConnection, DeliveryError> {
    let hello = mail.envelope.from().map_or_else(ClientId::default, |own| ClientId::Domain(own.domain().to_owned()));
    let tls = || {
        TlsParameters::new(server.host.clone())
            .map_err(|_| retry(AFTER_SETUP_FAULT, "TLS cannot be set up for the server's name"))
    };
    let implicit = if server.tls == SmtpTls::Implicit { Some(tls()?) } else { None };
    let address = (server.host.as_str(), server.port);
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(address, Some(patience.before_body), &hello, implicit, None)
            .await
            .map_err(|error| stopped("connection", &error))?;
    if server.tls == SmtpTls::StartTls {
        connection.starttls(tls()?, &hello).await.map_err(|error| stopped("STARTTLS", &error))?;
    }
    Ok(connection)
}

fn mail_options(connection: &AsyncSmtpConnection, mail: &ComposedMail) -> Result<Vec<MailParameter>, DeliveryError> {
    let mut options = Vec::new();
    let addresses = mail.envelope.to().iter().chain(mail.envelope.from());
    if !addresses.map(AsRef::<str>::as_ref).all(str::is_ascii) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(DeliveryError::Refused { reason: "the server takes no address in other letters".to_owned() });
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !mail.bytes.is_ascii() {
        if !connection.server_info().supports_feature(Extension::EightBitMime) {
            return Err(DeliveryError::Refused { reason: "the server takes no 8-bit mail".to_owned() });
        }
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(options)
}

fn retry(after: Duration, reason: &str) -> DeliveryError {
    DeliveryError::Retry { after, reason: reason.to_owned() }
}

/// A failure before the body: the server's answer, or none.
fn stopped(stage: &str, error: &SmtpError) -> DeliveryError {
    if error.status().is_some() { answered(stage, error) } else { not_sent(stage, error) }
}

/// What a refusing answer means: 4xx is for now, 5xx for ever. **Source:** RFC 5321, section 4.2.1. The end of a
/// greeting with 5xx (554, section 3.1) concerns the connection, not the mail.
fn answered(stage: &str, error: &SmtpError) -> DeliveryError {
    let code = error.status().map(|code| code.to_string()).unwrap_or_default();
    let reason = match enhanced_status(error) {
        Some(status) => format!("{stage}: {code} {status}"),
        None => format!("{stage}: {code}"),
    };
    if error.is_permanent() {
        if matches!(stage, "connection" | "STARTTLS") {
            return retry(AFTER_SETUP_FAULT, &reason);
        }
        return DeliveryError::Refused { reason };
    }
    retry(AFTER_TEMPORARY_REFUSAL, &reason)
}

/// A failure without an answer before the body.
fn not_sent(stage: &str, error: &SmtpError) -> DeliveryError {
    if error.is_tls() || error.is_client() {
        return retry(AFTER_SETUP_FAULT, &format!("{stage}: TLS, login or extension not possible"));
    }
    retry(AFTER_NO_CONNECTION, &format!("{stage}: connection lost"))
}

/// The status code at the start of an answer's text (RFC 2034), which names no one.
fn enhanced_status(error: &SmtpError) -> Option<String> {
    let text = error.source()?.to_string();
    let word = text.split_whitespace().next()?;
    let numbers: Vec<&str> = word.split('.').collect();
    let plain = numbers.len() == 3
        && numbers.iter().all(|number| (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()));
    plain.then(|| word.to_owned())
}

#[cfg(test)]
mod tests;
