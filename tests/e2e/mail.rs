//! A customer writes a mail with a file, gets an answer by mail and answers it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events::conversation::ConversationEvent;
use events::conversation::ConversationEvent::{AttachmentStored, MessageDelivered, MessageReceived};

use crate::fakes::{MailServer, header};
use crate::stage::{OTHER_TOKEN, SECRET_NOTE, Stage, TOKEN};

const FILE: &str = "Счёт № 17: 1 500 ₽";

/// A mail as an old Russian mailer writes it.
fn mail_with_file() -> Vec<u8> {
    let (subject, _, _) = encoding_rs::KOI8_R.encode("Счёт за август");
    let (text, _, _) = encoding_rs::KOI8_R.encode("Добрый день! Счёт во вложении.");
    let headers = format!(
        "From: Olga <olga@client.example>\r\nTo: support@shop.example\r\nMessage-ID: <first@client.example>\r\n\
         Date: Mon, 31 Aug 2026 18:30:05 +0300\r\nSubject: =?koi8-r?B?{}?=\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=cut\r\n\r\n--cut\r\nContent-Type: text/plain; charset=koi8-r\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--cut\r\nContent-Type: text/plain; name=bill.txt\r\n\
         Content-Disposition: attachment; filename=bill.txt\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--cut--\r\n",
        STANDARD.encode(subject),
        STANDARD.encode(text),
        STANDARD.encode(FILE),
    );
    headers.into_bytes()
}

#[actix_web::test]
async fn a_mail_with_a_file_becomes_a_conversation_and_the_file_can_be_fetched() {
    let stage = Stage::start().await;
    let server = MailServer::start().await;
    let mailbox = stage.open_mailbox(server.settings.clone()).await;
    assert_eq!(stage.post_mail(mailbox, mail_with_file()).await.status(), 200);
    let conversation = stage.conversation_with(1, |event| matches!(event, AttachmentStored(_))).await;
    let history = stage.history(conversation).await;
    let received = history.iter().find_map(|event| match event {
        MessageReceived(received) => Some(received.clone()),
        _ => None,
    });
    let received = received.unwrap();
    let content = received.content.into_value().unwrap();
    assert_eq!(content.subject.as_deref(), Some("Счёт за август"));
    assert_eq!(content.text.as_deref().map(str::trim), Some("Добрый день! Счёт во вложении."));

    stage.caught_up().await;
    let url = stage.url(&format!("/media/{conversation}/{}/0", received.message));
    let fetched = stage.client.get(&url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(fetched.status(), 200);
    let disposition = fetched.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.starts_with("attachment") && disposition.contains("bill.txt"), "{disposition}");
    assert_eq!(fetched.text().await.unwrap(), FILE);
    assert_eq!(stage.client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(stage.client.get(&url).bearer_auth(OTHER_TOKEN).send().await.unwrap().status(), 404);
    stage.app.stop().await;
}

#[actix_web::test]
async fn an_answer_by_mail_is_in_the_customers_thread_and_theirs_comes_back_to_it() {
    let stage = Stage::start().await;
    let mut server = MailServer::start().await;
    let mailbox = stage.open_mailbox(server.settings.clone()).await;
    stage.post_mail(mailbox, mail_with_file()).await;
    let conversation = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    let message = stage.write(conversation, "Оплатили, спасибо").await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    let mail = server.next().await;
    assert_eq!(header(&mail, "In-Reply-To"), "<first@client.example>");
    assert_eq!(header(&mail, "References"), "<first@client.example>");
    assert_eq!(header(&mail, "To"), "olga@client.example");
    assert!(mail.contains("Subject: Re: "), "{mail}");

    // A mailer that keeps nothing of the thread but the address to answer to.
    let reply_to = header(&mail, "Reply-To");
    let address = reply_to.rsplit_once('<').map_or(reply_to.as_str(), |(_, address)| address.trim_end_matches('>'));
    assert!(address.starts_with("support+"), "{reply_to}");
    let answer = format!(
        "From: olga@client.example\r\nTo: {address}\r\nMessage-ID: <second@client.example>\r\n\
         Date: Mon, 31 Aug 2026 19:30:05 +0300\r\nSubject: other\r\n\r\nThanks\r\n"
    );
    stage.post_mail(mailbox, answer.into_bytes()).await;
    stage.outcomes(2).await;
    let conversations: Vec<_> = stage.texts().await.into_iter().map(|(conversation, _)| conversation).collect();
    assert_eq!(conversations, [conversation, conversation]);
    // The same with References alone, to our own answer.
    let own = header(&mail, "Message-ID");
    let answer = format!(
        "From: olga@client.example\r\nTo: support@shop.example\r\nMessage-ID: <third@client.example>\r\n\
         References: <first@client.example> {own}\r\nIn-Reply-To: {own}\r\nSubject: other\r\n\r\nAgain\r\n"
    );
    stage.post_mail(mailbox, answer.into_bytes()).await;
    let received = |event: &ConversationEvent| matches!(event, MessageReceived(_));
    assert_eq!(stage.conversation_with(3, received).await, conversation);
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_note_never_goes_by_mail() {
    let stage = Stage::start().await;
    let mut server = MailServer::start().await;
    let mailbox = stage.open_mailbox(server.settings.clone()).await;
    stage.post_mail(mailbox, mail_with_file()).await;
    let conversation = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    stage.note(conversation).await;
    for text in ["first answer", "second answer"] {
        let message = stage.write(conversation, text).await;
        stage.note(conversation).await;
        assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
        let mail = server.next().await;
        assert!(readable(&mail).contains(text), "{mail}");
        assert!(!readable(&mail).contains(SECRET_NOTE), "{mail}");
    }
    stage.app.stop().await;
}

/// The mail as it reads once its parts are decoded.
fn readable(mail: &str) -> String {
    let parsed = mail_parser::MessageParser::default().parse(mail.as_bytes()).unwrap();
    (0..parsed.text_body_count()).filter_map(|part| parsed.body_text(part)).collect()
}
