//! The few JetStream operations that the state needs, with errors that say what is wrong.

use std::{error::Error as _, time::Duration};

use async_nats::{
    HeaderMap, Request,
    jetstream::message::StreamMessage,
    jetstream::{
        self, Context, ErrorCode,
        consumer::{DeliverPolicy, ReplayPolicy, push},
        context::ContextBuilder,
        publish::PublishAck,
        response::Response,
        stream::{Config, ConsumerErrorKind, DiscardPolicy, Info, RawMessage, StorageType},
    },
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use wattle_protocol::{state::bucket_stream, subject};

use crate::{
    Error,
    connection::{Connection, RequestFailure},
};

/// How long JetStream has for an operation. In a cluster, creating a stream takes a while.
const TIMEOUT: Duration = Duration::from_secs(5);

/// JetStream, of the connected account or of a domain.
#[derive(Debug, Clone)]
pub(super) struct JetStream {
    connection: Connection,
    domain: Option<String>,
    api: String,
    context: Context,
}

/// The last value of a key.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    /// `None` when it was deleted.
    pub(super) value: Option<Bytes>,
}

/// Why a write was not done.
#[derive(Debug)]
pub(super) enum WriteFailure {
    /// The key has another revision than was expected.
    Outdated,
    Other(Error),
}

#[derive(Deserialize)]
struct LastMessage {
    message: RawMessage,
}

/// What a request to JetStream failed with: an error of this crate, or one that JetStream answered and that may have
/// a meaning of its own.
enum Failure {
    Answered(jetstream::Error),
    Other(Error),
}

impl JetStream {
    pub(super) fn new(connection: &Connection, domain: Option<&str>) -> Self {
        let api = subject::jetstream_api(domain);
        let context =
            ContextBuilder::new().timeout(TIMEOUT).api_prefix(&api).build(connection.client().clone());
        Self { connection: connection.clone(), domain: domain.map(str::to_owned), api, context }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The bucket's stream; created with the defaults of NATS clients when it is not there.
    pub(super) async fn open(&self, bucket: &str) -> Result<Info, Error> {
        match self.info(bucket).await? {
            Some(info) => Ok(info),
            None => self.create(bucket).await,
        }
    }

    /// The bucket's stream, or `None` when it does not exist.
    pub(super) async fn info(&self, bucket: &str) -> Result<Option<Info>, Error> {
        let what = || format!("open bucket `{bucket}`");
        match self.call(&format!("STREAM.INFO.{}", bucket_stream(bucket)), &json!({}), &what).await {
            Ok(info) => Ok(Some(info)),
            Err(Failure::Answered(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            Err(failure) => Err(self.explain(failure, what())),
        }
    }

    async fn create(&self, bucket: &str) -> Result<Info, Error> {
        let what = || format!("create bucket `{bucket}`");
        let stream = bucket_stream(bucket);
        let config = Config {
            name: stream.clone(),
            subjects: vec![subject::key(bucket, ">")],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: 1,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Config::default()
        };
        match self.call(&format!("STREAM.CREATE.{stream}"), &config, &what).await {
            Ok(info) => {
                tracing::info!(bucket, "created the bucket");
                Ok(info)
            }
            // Another member was faster, with settings of its own.
            Err(Failure::Answered(error)) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                let gone = || Error::JetStream { what: what(), reason: error.to_string() };
                self.info(bucket).await?.ok_or_else(gone)
            }
            Err(failure) => Err(self.explain(failure, what())),
        }
    }

    /// Follows a bucket; also tells how many entries are to come before it is caught up.
    pub(super) async fn follow(
        &self,
        bucket: &str,
        from: DeliverPolicy,
    ) -> Result<(push::Ordered, u64), Error> {
        let what = || format!("watch bucket `{bucket}`");
        let config = push::OrderedConfig {
            deliver_subject: self.connection.client().new_inbox(),
            filter_subject: subject::key(bucket, ">"),
            replay_policy: ReplayPolicy::Instant,
            deliver_policy: from,
            ..push::OrderedConfig::default()
        };
        let created = self.context.create_consumer_on_stream(config, bucket_stream(bucket)).await;
        let consumer = created.map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(answer) => self.explain(Failure::Answered(answer), what()),
            ConsumerErrorKind::TimedOut => {
                let subject = format!("{}.CONSUMER.CREATE.{}", self.api, bucket_stream(bucket));
                match self.connection.refusal(TIMEOUT, &subject) {
                    Some(reason) => Error::Permission { what: what(), reason },
                    None => Error::Timeout { what: what(), after: TIMEOUT },
                }
            }
            _ => {
                let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                Error::JetStream { what: what(), reason }
            }
        })?;
        let pending = consumer.cached_info().num_pending;
        let messages = consumer.messages().await;
        let messages =
            messages.map_err(|error| Error::JetStream { what: what(), reason: error.to_string() })?;
        Ok((messages, pending))
    }

    /// The last value of a key, as the stream's leader has it.
    pub(super) async fn last(&self, bucket: &str, key: &str) -> Result<Option<Stored>, Error> {
        let what = || format!("read `{key}` of bucket `{bucket}`");
        let body = json!({ "last_by_subj": subject::key(bucket, key) });
        let operation = format!("STREAM.MSG.GET.{}", bucket_stream(bucket));
        let raw = match self.call::<LastMessage>(&operation, &body, &what).await {
            Ok(answer) => answer.message,
            Err(Failure::Answered(error)) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                return Ok(None);
            }
            Err(failure) => return Err(self.explain(failure, what())),
        };
        let message = StreamMessage::try_from(raw);
        let message =
            message.map_err(|error| Error::JetStream { what: what(), reason: error.to_string() })?;
        let value = (!is_deletion(Some(&message.headers))).then_some(message.payload);
        Ok(Some(Stored { sequence: message.sequence, value }))
    }

    /// Writes a key and waits until it is stored. With an expected revision (0: the key must not exist), only if the
    /// key still has it.
    pub(super) async fn write(
        &self,
        bucket: &str,
        key: &str,
        value: Bytes,
        expected: Option<u64>,
    ) -> Result<u64, WriteFailure> {
        let mut headers = HeaderMap::new();
        if let Some(sequence) = expected {
            headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
        }
        self.publish(bucket, key, headers, value).await
    }

    /// Deletes a key together with its history.
    pub(super) async fn purge(&self, bucket: &str, key: &str) -> Result<u64, WriteFailure> {
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "PURGE");
        headers.insert(async_nats::header::NATS_ROLLUP, "sub");
        self.publish(bucket, key, headers, Bytes::new()).await
    }

    async fn publish(
        &self,
        bucket: &str,
        key: &str,
        headers: HeaderMap,
        value: Bytes,
    ) -> Result<u64, WriteFailure> {
        let what = || format!("write `{key}` of bucket `{bucket}`");
        let place = subject::key_write(self.domain.as_deref(), bucket, key);
        let request = Request::new().headers(headers).payload(value);
        let reply = self.connection.request(&place, request, TIMEOUT).await.map_err(|failure| {
            WriteFailure::Other(match failure {
                RequestFailure::NoResponders => {
                    Error::BucketMissing { bucket: bucket.to_owned(), key: key.to_owned() }
                }
                other => other.into_error(what(), TIMEOUT),
            })
        })?;
        match serde_json::from_slice::<Response<PublishAck>>(&reply.payload) {
            Ok(Response::Ok(ack)) => Ok(ack.sequence),
            Ok(Response::Err { error }) => Err(match error.error_code() {
                ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
                    WriteFailure::Outdated
                }
                _ => WriteFailure::Other(self.explain(Failure::Answered(error), what())),
            }),
            Err(error) => {
                Err(WriteFailure::Other(Error::JetStream { what: what(), reason: error.to_string() }))
            }
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        body: &impl Serialize,
        what: &impl Fn() -> String,
    ) -> Result<T, Failure> {
        let unreadable = |error: serde_json::Error| {
            Failure::Other(Error::JetStream { what: what(), reason: error.to_string() })
        };
        let body = serde_json::to_vec(body).map_err(unreadable)?;
        let place = format!("{}.{operation}", self.api);
        let reply = self.connection.request(&place, Request::new().payload(body.into()), TIMEOUT).await;
        let reply = reply.map_err(|failure| {
            Failure::Other(match failure {
                RequestFailure::NoResponders => self.absent(),
                other => other.into_error(what(), TIMEOUT),
            })
        })?;
        match serde_json::from_slice(&reply.payload).map_err(unreadable)? {
            Response::Ok(answer) => Ok(answer),
            Response::Err { error } => Err(Failure::Answered(error)),
        }
    }

    /// Nobody listens on the JetStream API.
    fn absent(&self) -> Error {
        let url = self.connection.url();
        match &self.domain {
            Some(domain) => Error::DomainNotFound { domain: domain.clone(), url },
            None => Error::JetStreamNotEnabled { url },
        }
    }

    fn explain(&self, failure: Failure, what: String) -> Error {
        let error = match failure {
            Failure::Answered(error) => error,
            Failure::Other(error) => return error,
        };
        let reason = error.to_string();
        match error.error_code() {
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => self.absent(),
            ErrorCode::STREAM_MAX_BYTES_REQUIRED
            | ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED
            | ErrorCode::STREAM_STORE_FAILED
            | ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
            | ErrorCode::STREAM_LIMITS
            | ErrorCode::MAXIMUM_STREAMS_LIMIT
            | ErrorCode::MAXIMUM_CONSUMERS_LIMIT
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES => Error::StreamLimit { what, reason },
            _ => Error::JetStream { what, reason },
        }
    }
}

/// Whether a message of a bucket says that its key was deleted: by a client, or by the server when it expired.
pub(super) fn is_deletion(headers: Option<&HeaderMap>) -> bool {
    let Some(headers) = headers else { return false };
    let deleted = |operation: &async_nats::HeaderValue| matches!(operation.as_str(), "DEL" | "PURGE");
    headers.get("KV-Operation").is_some_and(deleted)
        || headers.get(async_nats::header::NATS_MARKER_REASON).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_told_from_values() {
        assert!(!is_deletion(None));
        for (name, value, expected) in [
            ("KV-Operation", "DEL", true),
            ("KV-Operation", "PURGE", true),
            ("KV-Operation", "PUT", false),
            ("Nats-Marker-Reason", "MaxAge", true),
            ("Other", "DEL", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            assert_eq!(is_deletion(Some(&headers)), expected, "{name}: {value}");
        }
    }
}
