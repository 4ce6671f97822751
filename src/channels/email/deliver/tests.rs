//! Sending to a server that does what the test tells it.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::channels::email::reply::{OutgoingMail, compose};
use crate::channels::email::tests::own;

/// What the server does at one stage.
#[derive(Debug, Clone, Copy)]
enum Act {
    Say(&'static str),
    HangUp,
    Stall,
}

/// What the server does at each stage; what it got is the result of its task.
#[derive(Debug, Clone, Copy)]
struct Script {
    greeting: Act,
    login: Act,
    sender: Act,
    recipient: Act,
    data: Act,
    body: Act,
}

const WELL: Script = Script {
    greeting: Act::Say("220 ready"),
    login: Act::Say("235 2.7.0 welcome"),
    sender: Act::Say("250 2.1.0 ok"),
    recipient: Act::Say("250 2.1.5 ok"),
    data: Act::Say("354 go on"),
    body: Act::Say("250 2.0.0 queued for olga@client.example"),
};

async fn start(script: Script) -> (SmtpServer, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut seen = Vec::new();
        if !act(&mut stream, script.greeting).await {
            return seen;
        }
        let mut in_body = false;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return seen;
            }
            let line = line.trim_end().to_owned();
            seen.push(line.clone());
            let word = line.split(' ').next().unwrap_or_default().to_owned();
            let next = match word.as_str() {
                _ if in_body && line == "." => {
                    in_body = false;
                    script.body
                }
                _ if in_body => continue,
                "EHLO" => Act::Say("250-fake\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME"),
                "AUTH" => script.login,
                "MAIL" => script.sender,
                "RCPT" => script.recipient,
                "DATA" => {
                    in_body = matches!(script.data, Act::Say(answer) if answer.starts_with('3'));
                    script.data
                }
                _ => Act::Say("221 bye"),
            };
            if !act(&mut stream, next).await {
                return seen;
            }
        }
    });
    (SmtpServer { host: "127.0.0.1".to_owned(), port, tls: SmtpTls::None }, task)
}

/// Does one thing; false when the connection is over.
async fn act(stream: &mut BufReader<tokio::net::TcpStream>, act: Act) -> bool {
    match act {
        Act::Say(answer) => stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_ok(),
        Act::HangUp => false,
        Act::Stall => {
            let mut rest = String::new();
            while stream.read_line(&mut rest).await.unwrap_or(0) > 0 {}
            false
        }
    }
}

fn login() -> Credentials {
    Credentials::Email { username: "support".to_owned(), password: "secret".to_owned() }
}

fn composed() -> ComposedMail {
    let mail: OutgoingMail = crate::channels::email::reply::tests::outgoing();
    compose(&own(), None, &mail).unwrap()
}

async fn outcome(script: Script) -> Result<(), DeliveryError> {
    let (server, _task) = start(script).await;
    let patience = SmtpPatience { before_body: Duration::from_secs(20), body: Duration::from_secs(20) };
    send(&server, Some(&login()), &composed(), patience).await
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_composed() {
    let (server, task) = start(WELL).await;
    send(&server, Some(&login()), &composed(), SmtpPatience::default()).await.unwrap();
    let seen = task.await.unwrap();
    assert_eq!(seen[0], "EHLO shop.example");
    assert!(seen.contains(&"MAIL FROM:<support@shop.example>".to_owned()), "{seen:?}");
    assert!(seen.contains(&"RCPT TO:<Olga@client.example>".to_owned()));
    assert!(seen.contains(&"Message-ID: <00000000-0000-0000-0000-000000000007@shop.example>".to_owned()));
    assert_eq!(seen.last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn without_credentials_there_is_no_login() {
    let (server, task) = start(Script { login: Act::HangUp, ..WELL }).await;
    send(&server, None, &composed(), SmtpPatience::default()).await.unwrap();
    assert!(!task.await.unwrap().iter().any(|line| line.starts_with("AUTH")));
}

#[tokio::test]
async fn a_4xx_anywhere_means_try_again_and_a_5xx_means_never() {
    let temporary = Act::Say("451 4.7.1 olga@client.example: greylisted");
    let permanent = Act::Say("550 5.1.1 olga@client.example: unknown");
    let cases = [
        (Script { sender: temporary, ..WELL }, Some("sender: 451 4.7.1"), None),
        (Script { recipient: temporary, ..WELL }, Some("recipient: 451 4.7.1"), None),
        (Script { data: temporary, ..WELL }, Some("data: 451 4.7.1"), None),
        (Script { body: temporary, ..WELL }, Some("body: 451 4.7.1"), None),
        (Script { greeting: Act::Say("421 busy"), ..WELL }, Some("connection: 421"), None),
        (Script { greeting: Act::Say("554 go away"), ..WELL }, Some("connection: 554"), None),
        (Script { login: Act::Say("535 5.7.8 no"), ..WELL }, Some("login: 535 5.7.8"), None),
        (Script { sender: permanent, ..WELL }, None, Some("sender: 550 5.1.1")),
        (Script { recipient: permanent, ..WELL }, None, Some("recipient: 550 5.1.1")),
        (Script { data: permanent, ..WELL }, None, Some("data: 550 5.1.1")),
        (Script { body: permanent, ..WELL }, None, Some("body: 550 5.1.1")),
    ];
    for (script, retried, refused) in cases {
        match outcome(script).await.unwrap_err() {
            DeliveryError::Retry { after, reason } => {
                assert_eq!(Some(reason.as_str()), retried, "{script:?}");
                assert!(after >= Duration::from_secs(60));
            }
            DeliveryError::Refused { reason } => assert_eq!(Some(reason.as_str()), refused, "{script:?}"),
            DeliveryError::Unknown { reason } => panic!("{script:?}: {reason}"),
        }
    }
}

#[tokio::test]
async fn a_connection_lost_before_the_body_leaves_the_mail_unsent() {
    for script in [
        Script { greeting: Act::HangUp, ..WELL },
        Script { login: Act::HangUp, ..WELL },
        Script { sender: Act::HangUp, ..WELL },
        Script { recipient: Act::HangUp, ..WELL },
        Script { data: Act::HangUp, ..WELL },
    ] {
        assert!(matches!(outcome(script).await, Err(DeliveryError::Retry { .. })), "{script:?}");
    }
}

#[tokio::test]
async fn a_connection_lost_after_the_body_leaves_it_unknown() {
    for body in [Act::HangUp, Act::Say("nonsense")] {
        let error = outcome(Script { body, ..WELL }).await.unwrap_err();
        assert!(matches!(error, DeliveryError::Unknown { .. }), "{body:?}: {error}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_the_stage_decides() {
    let patience = SmtpPatience { before_body: Duration::from_millis(300), body: Duration::from_millis(300) };
    let (server, _task) = start(Script { recipient: Act::Stall, ..WELL }).await;
    let before = send(&server, None, &composed(), patience).await;
    assert!(matches!(before, Err(DeliveryError::Retry { .. })), "{before:?}");
    let (server, _task) = start(Script { body: Act::Stall, ..WELL }).await;
    let patience = SmtpPatience { before_body: Duration::from_secs(20), ..patience };
    let after = send(&server, None, &composed(), patience).await;
    assert!(matches!(after, Err(DeliveryError::Unknown { .. })), "{after:?}");
}

#[tokio::test]
async fn nobody_listening_and_missing_tls_are_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let nobody = SmtpServer { host: "127.0.0.1".to_owned(), port, tls: SmtpTls::None };
    let error = send(&nobody, None, &composed(), SmtpPatience::default()).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Retry { .. }), "{error}");
    let (server, task) = start(WELL).await;
    let server = SmtpServer { tls: SmtpTls::StartTls, ..server };
    let error = send(&server, Some(&login()), &composed(), SmtpPatience::default()).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Retry { .. }), "{error}");
    assert!(!task.await.unwrap().iter().any(|line| line.starts_with("AUTH")), "no password without TLS");
}

#[tokio::test]
async fn no_error_names_an_address() {
    let act = Act::Say("550 olga@client.example <olga@client.example> is unknown here");
    for script in [Script { recipient: act, ..WELL }, Script { body: act, ..WELL }, Script { greeting: act, ..WELL }] {
        let error = outcome(script).await.unwrap_err();
        assert!(!error.to_string().contains('@') && !format!("{error:?}").contains('@'), "{error}");
    }
    assert!(!format!("{:?}", composed()).contains("lga@"));
}
