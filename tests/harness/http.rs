//! An HTTP/1.1 client: whole requests, and such that stream both ways or break off.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::DEADLINE;

/// A whole response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A GET on a connection of its own.
///
/// # Errors
/// When there is no whole response within [`DEADLINE`].
pub async fn http(url: &str) -> Result<Answer> {
    fetch(Request::get(url).body(Bytes::new())?).await
}

/// A POST on a connection of its own.
///
/// # Errors
/// When there is no whole response within [`DEADLINE`].
pub async fn http_post(url: &str, body: impl Into<Bytes>) -> Result<Answer> {
    fetch(Request::post(url).body(body.into())?).await
}

/// Any request on a connection of its own. The URI is absolute.
///
/// # Errors
/// When there is no whole response within [`DEADLINE`].
pub async fn fetch(request: Request<Bytes>) -> Result<Answer> {
    let url = request.uri().clone();
    let exchange = async {
        let (mut sender, _connection) = connect(&url).await?;
        let response = sender.send_request(relative(request.map(Full::new))?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.with_context(|| format!("the body of {} broke off", head.status))?;
        anyhow::Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    };
    let outcome = timeout(DEADLINE, exchange).await;
    outcome
        .with_context(|| format!("no whole response within {DEADLINE:?}"))?
        .with_context(|| url.to_string())
}

/// A request whose body is sent piece by piece, and whose response is read piece by piece. Dropping it closes the
/// connection at once, wherever it is: so does a client that goes away.
#[derive(Debug)]
pub struct Exchange {
    to: Option<Sender<Bytes>>,
    response: Option<JoinHandle<hyper::Result<http::Response<Incoming>>>>,
    body: Option<Incoming>,
    _connection: Connection,
}

impl Exchange {
    /// Connects and sends the head of the request; the body follows in chunks.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn open(method: Method, url: &str) -> Result<Self> {
        let uri: Uri = url.parse()?;
        let (mut sender, connection) = connect(&uri).await?;
        let (to, body) = Channel::new(1);
        let request = relative(Request::builder().method(method).uri(uri).body(body)?)?;
        let response = tokio::spawn(async move { sender.send_request(request).await });
        Ok(Self { to: Some(to), response: Some(response), body: None, _connection: connection })
    }

    /// Sends a piece of the body.
    ///
    /// # Errors
    /// When the body was ended, or the server takes no more of it within [`DEADLINE`].
    pub async fn send(&mut self, piece: impl Into<Bytes>) -> Result<()> {
        send(self.to.as_mut().context("the body was ended")?, piece.into()).await
    }

    /// Hands out the sending end, so that a task of its own can send while this one reads. Dropping it ends the body.
    ///
    /// # Panics
    /// When the body was ended, or handed out before.
    pub fn upload(&mut self) -> Upload {
        Upload(self.to.take().expect("the body was not ended"))
    }

    /// Ends the body.
    pub fn finish(&mut self) {
        self.to = None;
    }

    /// Waits for the head of the response. To be called once.
    ///
    /// # Errors
    /// When it does not come within [`DEADLINE`], or was read before.
    pub async fn head(&mut self) -> Result<http::response::Parts> {
        let response = self.response.take().context("the head was read before")?;
        let response = timeout(DEADLINE, response).await.context("no response")???;
        let (head, body) = response.into_parts();
        self.body = Some(body);
        Ok(head)
    }

    /// Waits for a piece of the response's body; `None` at its end. To be called after [`Exchange::head`].
    ///
    /// # Errors
    /// When the body breaks off, or nothing comes within [`DEADLINE`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        let body = self.body.as_mut().context("the head was not read yet")?;
        while let Some(frame) = timeout(DEADLINE, body.frame()).await.context("the body does not go on")? {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// The sending end of an [`Exchange`]. Dropping it ends the body.
#[derive(Debug)]
pub struct Upload(Sender<Bytes>);

impl Upload {
    /// Sends a piece of the body.
    ///
    /// # Errors
    /// When the server takes no more of it within [`DEADLINE`].
    pub async fn send(&mut self, piece: impl Into<Bytes>) -> Result<()> {
        send(&mut self.0, piece.into()).await
    }
}

async fn send(to: &mut Sender<Bytes>, piece: Bytes) -> Result<()> {
    timeout(DEADLINE, to.send_data(piece)).await.context("the server does not read on")??;
    Ok(())
}

/// Drives a connection until it is dropped, which closes it.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect<B>(uri: &Uri) -> Result<(SendRequest<B>, Connection)>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let authority = uri.authority().context("the URL has no host")?.as_str();
    let stream = timeout(DEADLINE, TcpStream::connect(authority)).await.context("no connection")?;
    let stream = stream.with_context(|| format!("cannot connect to {authority}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok((sender, Connection(driver)))
}

/// A server is asked for the path alone; the rest of the URI is the header `Host`.
fn relative<B>(mut request: Request<B>) -> Result<Request<B>> {
    let uri = request.uri().clone();
    let authority = uri.authority().context("the URL has no host")?.as_str();
    if !request.headers().contains_key(HOST) {
        request.headers_mut().insert(HOST, authority.parse()?);
    }
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    Ok(request)
}
