//! The providers' side: a Bot API and a mail submission server that do what a story tells them.

use std::sync::Arc;

use events::account::{SmtpServer, SmtpTls};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// What the Bot API answers next, first come first.
#[derive(Default)]
struct Script {
    answers: Vec<ResponseTemplate>,
    sent: i64,
}

/// A Bot API: `sendMessage` is answered by what was put up, else well; all texts are kept.
pub(crate) struct TelegramApi {
    server: MockServer,
    script: Arc<Mutex<Script>>,
}

struct SendMessage(Arc<Mutex<Script>>);

impl Respond for SendMessage {
    fn respond(&self, _request: &Request) -> ResponseTemplate {
        let mut script = self.0.lock();
        if script.answers.is_empty() {
            script.sent += 1;
            let message_id = 500 + script.sent;
            ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": {"message_id": message_id}}))
        } else {
            script.answers.remove(0)
        }
    }
}

impl TelegramApi {
    pub(crate) async fn start() -> Self {
        let server = MockServer::start().await;
        let script = Arc::<Mutex<Script>>::default();
        let send = Mock::given(wiremock::matchers::path_regex("/sendMessage$"));
        send.respond_with(SendMessage(Arc::clone(&script))).mount(&server).await;
        Self { server, script }
    }

    pub(crate) fn uri(&self) -> String {
        self.server.uri()
    }

    /// The next call of `sendMessage` that nothing was put up for gets this.
    pub(crate) fn answer(&self, answer: ResponseTemplate) {
        self.script.lock().answers.push(answer);
    }

    /// An answer as Telegram words refusals.
    pub(crate) fn refusal(status: u16, description: &str, parameters: Value) -> ResponseTemplate {
        let mut body = json!({"ok": false, "error_code": status, "description": description});
        if parameters.is_object() {
            body["parameters"] = parameters;
        }
        ResponseTemplate::new(status).set_body_json(body)
    }

    /// A file that can be fetched.
    pub(crate) async fn has_file(&self, file_id: &str, path: &str, bytes: &[u8]) {
        let found = json!({"ok": true, "result": {"file_id": file_id, "file_path": path, "file_size": bytes.len()}});
        Mock::given(wiremock::matchers::path_regex("/getFile$"))
            .and(wiremock::matchers::body_partial_json(json!({"file_id": file_id})))
            .respond_with(ResponseTemplate::new(200).set_body_json(found))
            .mount(&self.server)
            .await;
        Mock::given(wiremock::matchers::path_regex(format!("^/file/bot.*/{path}$")))
            .respond_with(ResponseTemplate::new(200).set_body_bytes(bytes))
            .mount(&self.server)
            .await;
    }

    /// Bodies of all calls of `sendMessage`, in order.
    pub(crate) async fn sent(&self) -> Vec<Value> {
        let requests = self.server.received_requests().await.unwrap();
        let sent = requests.iter().filter(|request| request.url.path().ends_with("/sendMessage"));
        sent.map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// Texts of all calls of `sendMessage`, in order.
    pub(crate) async fn texts(&self) -> Vec<String> {
        self.sent().await.iter().map(|body| body["text"].as_str().unwrap().to_owned()).collect()
    }
}

/// A mail server that takes every mail.
pub(crate) struct MailServer {
    pub(crate) settings: SmtpServer,
    mails: mpsc::UnboundedReceiver<String>,
}

impl MailServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, mails) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken = taken.clone();
                tokio::spawn(async move { serve(BufReader::new(stream), taken).await });
            }
        });
        let settings = SmtpServer { host: "127.0.0.1".to_owned(), port, tls: SmtpTls::None };
        Self { settings, mails }
    }

    /// The next mail that it took.
    pub(crate) async fn next(&mut self) -> String {
        crate::stage::in_time(self.mails.recv()).await.unwrap()
    }
}

async fn serve(mut stream: BufReader<tokio::net::TcpStream>, taken: mpsc::UnboundedSender<String>) -> Option<()> {
    stream.write_all(b"220 ready\r\n").await.ok()?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let answer = match line.split([' ', '\r']).next().unwrap_or_default() {
            "EHLO" => "250-fake\r\n250 8BITMIME\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut mail).await.ok()? == 0 {
                        return None;
                    }
                }
                taken.send(mail).ok()?;
                "250 queued\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// A header of a mail, unfolded.
pub(crate) fn header(mail: &str, name: &str) -> String {
    let unfolded = mail.replace("\r\n ", " ").replace("\r\n\t", " ");
    let prefix = format!("{name}: ");
    let line = unfolded.lines().take_while(|line| !line.is_empty()).find(|line| line.starts_with(&prefix));
    line.unwrap_or_else(|| panic!("no {name}"))[prefix.len()..].to_owned()
}
