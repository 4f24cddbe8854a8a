//! A NATS client that says what a client library would not.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use wattle_tests::{Nats, within};

/// The line that a server puts before a message to say that nobody listens on a subject.
const NO_RESPONDERS: &[u8] = b"NATS/1.0 503\r\n\r\n";

/// A connection on which lines are written by hand.
pub(crate) struct RawNats {
    stream: BufReader<TcpStream>,
}

impl RawNats {
    /// Connects as any client does.
    pub(crate) async fn connect(nats: &Nats) -> Self {
        let stream = within("a raw connection", TcpStream::connect(nats.address())).await.unwrap();
        let mut raw = Self { stream: BufReader::new(stream) };
        let info = raw.line().await;
        assert!(info.starts_with("INFO "), "{info}");
        let options = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"raw","version":"1"}"#;
        raw.write(format!("CONNECT {options}\r\n").as_bytes()).await;
        raw.flush().await;
        raw
    }

    /// Sends, as if it were the server, that nobody listens where the reader of this subject sent something.
    pub(crate) async fn no_responders(&mut self, subject: &str) {
        let length = NO_RESPONDERS.len();
        self.write(format!("HPUB {subject} {length} {length}\r\n").as_bytes()).await;
        self.write(NO_RESPONDERS).await;
        self.write(b"\r\n").await;
        self.flush().await;
    }

    /// Waits until the server has taken everything.
    async fn flush(&mut self) {
        self.write(b"PING\r\n").await;
        loop {
            let line = self.line().await;
            match line.trim_end() {
                "PONG" => return,
                "PING" => self.write(b"PONG\r\n").await,
                other => assert!(other.starts_with("INFO "), "the server says {other}"),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        within("a line of the server", self.stream.read_line(&mut line)).await.unwrap();
        assert!(!line.is_empty(), "the server closed the connection");
        line
    }
}
