//! A mail server that takes every mail and delivers none.
//!
//! **Invariant:** speaks as much of RFC 5321 as a client needs to hand in a mail; a mail counts as taken only after
//! its end.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Kept, Sent};

/// Takes connections for ever.
pub(super) async fn serve(listener: TcpListener, kept: Arc<Kept>) {
    while let Ok((stream, _)) = listener.accept().await {
        let kept = Arc::clone(&kept);
        tokio::spawn(async move {
            // A client that goes away in the middle has not handed in its mail; it will come again.
            let _ = converse(stream, &kept).await;
        });
    }
}

async fn converse(stream: TcpStream, kept: &Kept) -> std::io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut input = BufReader::new(input);
    let mut to = Vec::new();
    output.write_all(b"220 localhost demo mail server\r\n").await?;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let answer: &[u8] = match line.get(..4).unwrap_or(line).to_ascii_uppercase().as_str() {
            "EHLO" => b"250-localhost\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n",
            "MAIL" | "RSET" => {
                to.clear();
                b"250 2.0.0 Ok\r\n"
            }
            "HELO" | "NOOP" => b"250 2.0.0 Ok\r\n",
            "RCPT" => {
                to.extend(line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(to, _)| to.to_owned()));
                b"250 2.1.5 Ok\r\n"
            }
            "DATA" => {
                output.write_all(b"354 End data with <CR><LF>.<CR><LF>\r\n").await?;
                let mail = body(&mut input).await?;
                kept.add(Sent::Mail { to: std::mem::take(&mut to), mail });
                b"250 2.0.0 Ok\r\n"
            }
            "QUIT" => {
                output.write_all(b"221 2.0.0 Bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 5.5.1 Not implemented\r\n",
        };
        output.write_all(answer).await?;
    }
}

/// Everything up to the single dot, with doubled dots made single.
async fn body(input: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> std::io::Result<String> {
    let mut mail = Vec::new();
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(String::from_utf8_lossy(&mail).into_owned());
        }
        mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
