//! An HTTP/1.1 client that costs next to nothing: one kept-alive connection, one request at a time.
//!
//! **Invariant:** no pipelining; an answer is read to its end before the next request is written.

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a server.
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// What requests to one address have in common, written out once.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where to connect to, as `host:port`.
    pub(crate) address: String,
    /// Request line and headers but `Content-Length`, with the last line break.
    pub(crate) head: String,
}

impl Target {
    /// Posts to `path` with further `headers`, each ending with a line break.
    pub(crate) fn post(address: &str, path: &str, headers: &str) -> Self {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{headers}");
        Self { address: address.to_owned(), head }
    }
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request: Vec::with_capacity(4096), answer: Vec::with_capacity(4096) })
    }

    /// Posts a body and gives the status of the answer.
    pub(crate) async fn post(&mut self, target: &Target, body: &[u8]) -> anyhow::Result<u16> {
        self.send(target, body).await?;
        Ok(self.read_answer().await?.0)
    }

    /// Posts a body and gives status and text of the answer.
    pub(crate) async fn ask(&mut self, target: &Target, body: &[u8]) -> anyhow::Result<(u16, String)> {
        self.send(target, body).await?;
        let (status, text) = self.read_answer().await?;
        Ok((status, String::from_utf8_lossy(&self.answer[text]).into_owned()))
    }

    async fn send(&mut self, target: &Target, body: &[u8]) -> anyhow::Result<()> {
        self.request.clear();
        self.request.extend_from_slice(target.head.as_bytes());
        self.request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        self.request.extend_from_slice(body);
        Ok(self.stream.write_all(&self.request).await?)
    }

    /// Gets a page.
    pub(crate) async fn get(address: &str, path: &str) -> anyhow::Result<String> {
        let mut connection = Self::open(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        connection.stream.write_all(request.as_bytes()).await?;
        let (_, body) = connection.read_answer().await?;
        Ok(String::from_utf8(connection.answer[body].to_vec())?)
    }

    /// Reads one answer; gives its status and where its body is in `self.answer`.
    async fn read_answer(&mut self) -> anyhow::Result<(u16, std::ops::Range<usize>)> {
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the server closed the connection");
            }
            let Some(end) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.answer[..end])?;
            let status = head.get(9..12).and_then(|code| code.parse().ok()).context("no status in the answer")?;
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let body = end + 4..end + 4 + length.context("an answer without a length")?;
            while self.answer.len() < body.end {
                if self.stream.read_buf(&mut self.answer).await? == 0 {
                    bail!("the server closed the connection");
                }
            }
            return Ok((status, body));
        }
    }
}
