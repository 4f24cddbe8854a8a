//! Callers who ask all the time, and what became of each of their calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::{DEADLINE, eventually};

/// One call.
#[derive(Clone, Debug)]
pub struct Shot {
    /// When it was made.
    pub start: Instant,
    /// When it was over.
    pub end: Instant,
    /// What was answered with status 200, or what came instead.
    pub answer: Result<Bytes, String>,
}

impl Shot {
    /// How long it took.
    pub fn took(&self) -> Duration {
        self.end - self.start
    }
}

/// Callers, each on a connection of its own, who make one call after another.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Vec<Shot>>>,
}

impl Load {
    /// So many callers of a URL. POST may not be made twice on the way; GET may.
    pub fn start(callers: usize, method: &Method, url: &str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let uri: Uri = url.parse().unwrap();
        let caller = |_| {
            let (method, uri, stop, answered) = (method.clone(), uri.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                let (mut connection, mut shots) = (None, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let answer = timeout(DEADLINE, shoot(&mut connection, &method, &uri)).await;
                    let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {DEADLINE:?}")));
                    if answer.is_ok() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    shots.push(Shot { start, end: Instant::now(), answer });
                }
                shots
            })
        };
        Self { stop: stop.clone(), answered: answered.clone(), callers: (0..callers).map(caller).collect() }
    }

    /// How many calls were answered well so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more were answered well.
    ///
    /// # Panics
    /// When they are not, within [`DEADLINE`].
    pub async fn answers(&self, more: usize) {
        let goal = self.answered() + more;
        let what = format!("{more} more answers");
        eventually(&what, DEADLINE, || async { (self.answered() >= goal).then_some(()) }).await;
    }

    /// Ends it, and gives all calls in the order in which they were made.
    pub async fn stop(self) -> Shots {
        self.stop.store(true, Ordering::Relaxed);
        let mut shots = Vec::new();
        for caller in self.callers {
            shots.extend(caller.await.unwrap());
        }
        shots.sort_by_key(|shot| shot.start);
        Shots(shots)
    }
}

/// Calls, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Shots(pub Vec<Shot>);

impl Shots {
    /// Those that were made from one moment to before another.
    pub fn made_between(&self, from: Instant, to: Instant) -> Self {
        Self(self.0.iter().filter(|shot| shot.start >= from && shot.start < to).cloned().collect())
    }

    /// Those that were over from one moment to before another.
    pub fn ended_between(&self, from: Instant, to: Instant) -> Self {
        Self(self.0.iter().filter(|shot| shot.end >= from && shot.end < to).cloned().collect())
    }

    /// Those that were not answered well.
    pub fn failed(&self) -> Vec<&Shot> {
        self.0.iter().filter(|shot| shot.answer.is_err()).collect()
    }

    /// Those that were answered with this text.
    pub fn answered_with(&self, text: &str) -> usize {
        self.0.iter().filter(|shot| shot.answer.as_ref().is_ok_and(|answer| answer == text)).count()
    }

    /// Calls that were answered well in a second.
    pub fn rate(&self) -> f64 {
        let (Some(first), Some(end)) = (self.0.first(), self.0.iter().map(|shot| shot.end).max()) else {
            return 0.0;
        };
        let answered = self.0.iter().filter(|shot| shot.answer.is_ok()).count();
        answered as f64 / (end - first.start).as_secs_f64()
    }

    /// The time that this part of the calls (0 to 1) took at most.
    pub fn quantile(&self, part: f64) -> Duration {
        let mut all: Vec<Duration> = self.0.iter().map(Shot::took).collect();
        all.sort();
        let place = (part * all.len() as f64) as usize;
        all.get(place.min(all.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl fmt::Display for Shots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed();
        write!(
            f,
            "{} calls, {:.0}/s, {} failed, p50 {:?}, p99 {:?}, longest {:?}",
            self.0.len(),
            self.rate(),
            failed.len(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
        )?;
        if let Some(Err(reason)) = failed.first().map(|shot| &shot.answer) {
            write!(f, "; the first failed with: {reason}")?;
        }
        Ok(())
    }
}

/// Makes one call, on the connection that is there or a new one.
async fn shoot(
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    method: &Method,
    uri: &Uri,
) -> Result<Bytes, String> {
    let authority = uri.authority().unwrap().as_str();
    let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => connect(authority).await?,
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder().method(method).uri(path).header(HOST, authority);
    let request = request.body(Full::default()).map_err(|error| error.to_string())?;
    sender.ready().await.map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| format!("{status}: {error}"))?.to_bytes();
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }
    *connection = Some(sender);
    Ok(body)
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
