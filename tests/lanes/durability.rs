//! The durability lane: a trace of system calls shows that no sender is told 2xx before the bytes are synced.
//!
//! **Invariant:** the check can fail: with a log that does not sync it must find every answer too early. It needs
//! `strace` and the right to trace a child process; without them it fails.

use std::path::Path;
use std::process::Stdio;

use events::ids::AccountId;
use futures::StreamExt;
use letopis::channels::telegram::SECRET_HEADER;
use serde_json::json;
use tokio::process::Command;

use crate::accounts::{Accounts, SECRET, client, config};
use crate::say;
use crate::server::{Server, cleaned};
use crate::trace::{Verdict, calls, judge};

/// Deliveries that are posted.
const DELIVERIES: usize = 300;
/// Deliveries that wait for an answer at the same time, so that some share a commit.
const IN_FLIGHT: usize = 8;

#[actix_web::test]
async fn no_sender_is_told_2xx_before_the_sync_and_an_unsafe_log_is_found_out() {
    let synced = run("synced").await;
    say(format_args!("durability: log synced: {synced:?}"));
    assert_eq!((synced.acknowledged, synced.too_early), (DELIVERIES, 0), "an answer went out before its sync");

    let broken = run("unsafe").await;
    say(format_args!("durability: log not synced: {broken:?}"));
    assert_eq!((broken.acknowledged, broken.too_early), (DELIVERIES, DELIVERIES), "the check does not notice");
}

/// Posts to a server with this durability of the log and judges its system calls.
async fn run(durability: &str) -> Verdict {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the data");
    let account = Accounts::open(&config(folder.path())).await.telegram;
    let mut server = Server::start(traced(folder.path(), durability));
    let address = server.address().await;
    let url = format!("http://{address}/webhooks/telegram/{account}");
    post_all(url, account).await;
    let process = std::fs::read_to_string(folder.path().join("process")).expect("the process is noted");
    let status = server.stop(process.trim().parse().ok()).await;
    assert!(status.success(), "the server stops well: {status}");
    let trace = std::fs::read_to_string(folder.path().join("trace")).expect("the trace is there");
    judge(&calls(&trace), "/log.db-wal")
}

/// The server under `strace`, which ends with it. The shell notes the server's process id.
fn traced(data: &Path, durability: &str) -> Command {
    let version = std::process::Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    assert!(version.is_ok_and(|status| status.success()), "this lane needs strace: install it");
    let mut command = Command::new("strace");
    // Strings longer than any page or answer; descriptors with their paths; every string in hex.
    command.args(["-f", "-q", "-y", "-xx", "-s", "16384", "-o"]).arg(data.join("trace"));
    command.args(["-e", "trace=fsync,fdatasync,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg"]);
    command.args(["sh", "-c", "echo $$ > process; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_letopis"), "serve"]);
    cleaned(&mut command, data);
    command.env("LETOPIS_LOG__DURABILITY", durability);
    command
}

async fn post_all(url: String, account: AccountId) {
    let http = client();
    let mut posts = futures::stream::iter(0..DELIVERIES)
        .map(|number| {
            let chat = 1_000_000 + number % 20;
            let body = json!({"update_id": number, "message": {"message_id": 1 + number, "date": 1_780_000_000,
                "chat": {"id": chat, "type": "private", "first_name": "A"},
                "from": {"id": chat, "is_bot": false, "first_name": "A"}, "text": "x".repeat(20 + number * 10)}});
            let request = http.post(&url).header(SECRET_HEADER, SECRET).body(body.to_string());
            async move { request.send().await.expect("the server answers").status() }
        })
        .buffer_unordered(IN_FLIGHT);
    while let Some(status) = posts.next().await {
        assert!(status.is_success(), "{account}: {status}");
    }
}
