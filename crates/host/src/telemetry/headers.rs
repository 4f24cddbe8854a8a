//! W3C trace context in the headers of an HTTP request.

use http::{HeaderMap, HeaderValue};
use wattle_runtime::TraceContext;

/// The header that says in which trace, and within which span, a request is made.
pub(super) const TRACE_PARENT: &str = "traceparent";
/// The header for what tracing systems add to that.
pub(super) const TRACE_STATE: &str = "tracestate";

/// Longest `traceparent` and `tracestate` that go along with calls, as sealed messages have room for them.
const MAX_TRACE_PARENT: usize = 128;
const MAX_TRACE_STATE: usize = 512;

/// The trace that a request belongs to by its headers: empty where there is none, or none that is well formed.
pub(crate) fn trace_of(headers: &HeaderMap) -> TraceContext {
    let Some(parent) = parent_of(headers) else { return TraceContext::default() };
    TraceContext { parent: parent.to_owned(), state: state_of(headers) }
}

fn parent_of(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACE_PARENT).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok().filter(|value| is_trace_parent(value))
}

/// Several headers are one list. A list that is too long is left out as a whole, which the specification allows.
fn state_of(headers: &HeaderMap) -> String {
    let mut state = String::new();
    for value in headers.get_all(TRACE_STATE) {
        let Ok(value) = value.to_str() else { return String::new() };
        if state.len() + 1 + value.len() > MAX_TRACE_STATE {
            return String::new();
        }
        if !state.is_empty() && !value.is_empty() {
            state.push(',');
        }
        state.push_str(value);
    }
    state
}

/// `version-trace-span-flags` in lower-case hexadecimal digits; versions after 00 may say more.
fn is_trace_parent(value: &str) -> bool {
    let mut parts = value.split('-');
    let mut hex = |length| {
        let digits = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(|part| part.len() == length).filter(digits)
    };
    let (Some(version), Some(trace), Some(span), Some(_flags)) = (hex(2), hex(32), hex(16), hex(2)) else {
        return false;
    };
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    let more = parts.next().is_some();
    version != "ff"
        && (version != "00" || !more)
        && !is_zero(trace)
        && !is_zero(span)
        && value.len() <= MAX_TRACE_PARENT
}

/// Tells the receiver of a request the trace that it is called within. Headers that say the same stay as they are.
pub(super) fn hand_on(trace: &TraceContext, headers: &mut HeaderMap) {
    let known = headers.get(TRACE_PARENT).is_some_and(|parent| parent == trace.parent.as_str());
    if known || trace.parent.is_empty() {
        return;
    }
    let Ok(parent) = HeaderValue::from_str(&trace.parent) else { return };
    headers.insert(TRACE_PARENT, parent);
    match HeaderValue::from_str(&trace.state) {
        Ok(state) if !state.is_empty() => drop(headers.insert(TRACE_STATE, state)),
        _ => drop(headers.remove(TRACE_STATE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn trace(parent: &str, state: &str) -> TraceContext {
        TraceContext { parent: parent.to_owned(), state: state.to_owned() }
    }

    #[test]
    fn only_what_is_well_formed_is_a_trace_parent() {
        assert!(is_trace_parent(PARENT));
        assert!(is_trace_parent(
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be"
        ));
        for malformed in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1g",
        ] {
            assert!(!is_trace_parent(malformed), "{malformed}");
        }
        assert!(!is_trace_parent(&format!("cc{}-{}", &PARENT[2..], "x".repeat(MAX_TRACE_PARENT))));
    }

    #[test]
    fn a_request_without_a_trace_has_an_empty_one() {
        assert_eq!(trace_of(&HeaderMap::new()), TraceContext::default());
        assert_eq!(trace_of(&headers(&[(TRACE_STATE, "a=1")])), TraceContext::default());
        assert_eq!(
            trace_of(&headers(&[(TRACE_PARENT, PARENT), (TRACE_PARENT, PARENT)])),
            TraceContext::default()
        );
    }

    #[test]
    fn several_states_are_one_list_and_a_long_one_is_left_out() {
        let several = headers(&[(TRACE_PARENT, PARENT), (TRACE_STATE, "a=1,b=2"), (TRACE_STATE, "c=3")]);
        assert_eq!(trace_of(&several), trace(PARENT, "a=1,b=2,c=3"));
        let long = "x".repeat(MAX_TRACE_STATE);
        assert_eq!(trace_of(&headers(&[(TRACE_PARENT, PARENT), (TRACE_STATE, &long)])), trace(PARENT, ""));
    }

    #[test]
    fn the_senders_headers_stay_unless_a_span_came_between() {
        let state = "x".repeat(MAX_TRACE_STATE + 1);
        let sent = headers(&[(TRACE_PARENT, PARENT), (TRACE_STATE, &state)]);
        let mut unchanged = sent.clone();
        hand_on(&trace_of(&sent), &mut unchanged);
        assert_eq!(unchanged, sent);
        let own = trace("00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01", "");
        let mut replaced = sent;
        hand_on(&own, &mut replaced);
        assert_eq!(trace_of(&replaced), own);
        assert!(!replaced.contains_key(TRACE_STATE), "it belonged to the other span");
        let mut none = HeaderMap::new();
        hand_on(&own, &mut none);
        assert_eq!(trace_of(&none), own, "a call within a trace stays in it");
        hand_on(&TraceContext::default(), &mut none);
        assert_eq!(trace_of(&none), own);
    }
}
