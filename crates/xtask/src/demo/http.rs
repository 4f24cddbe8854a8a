//! As much of an HTTP client as the demo needs: one GET on a connection of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks in HTTP/1.0, in which the answer's body ends with the connection.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).with_context(|| format!("{address} did not answer in HTTP: {answer:?}"))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read() {
        let answer = parse("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhello\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello\r\n\r\n"));
        assert_eq!(parse("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap().status, 503);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for answer in ["", "INFO {}\r\n\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 fine\r\n\r\n"] {
            assert!(parse(answer).is_none(), "{answer:?}");
        }
    }
}
