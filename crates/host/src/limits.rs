//! The limits of one component: the host's, unless its start command says otherwise.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use wattle_runtime::ComponentLimits;

use crate::error::StartError;
use crate::settings::Limits;

/// Reads `max_memory_limit` (bytes), `max_execution_time` (seconds) and `max_instance_reuse` (calls that one instance
/// answers, one after another; 1 unless told) of a command. No command lifts the host's own bounds.
pub(crate) fn component_limits(
    host: &Limits,
    count: u32,
    asked: Option<&BTreeMap<String, String>>,
) -> Result<ComponentLimits, StartError> {
    let memory = number(asked, "max_memory_limit")?.unwrap_or(u64::MAX);
    let seconds = number(asked, "max_execution_time")?.map_or(Duration::MAX, Duration::from_secs);
    Ok(ComponentLimits {
        max_memory_bytes: memory.min(host.max_memory_bytes),
        max_execution_time: seconds.min(host.max_execution_time),
        max_concurrent_calls: count,
        max_queued_calls: host.max_queued_calls,
        max_instance_reuse: number(asked, "max_instance_reuse")?.unwrap_or(1),
    })
}

fn number<N: FromStr + PartialOrd + Default>(
    asked: Option<&BTreeMap<String, String>>,
    name: &str,
) -> Result<Option<N>, StartError> {
    let Some(value) = asked.and_then(|limits| limits.get(name)) else { return Ok(None) };
    match value.parse::<N>() {
        Ok(number) if number > N::default() => Ok(Some(number)),
        _ => Err(StartError::Limit { name: name.to_owned(), value: value.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_lower_limits_but_not_lift_them() {
        let host = Limits::default();
        let asked = |memory: &str, seconds: &str| {
            BTreeMap::from([
                ("max_memory_limit".to_owned(), memory.to_owned()),
                ("max_execution_time".to_owned(), seconds.to_owned()),
            ])
        };
        let lower = component_limits(&host, 7, Some(&asked("1048576", "2"))).unwrap();
        assert_eq!(lower.max_memory_bytes, 1 << 20);
        assert_eq!(lower.max_execution_time, Duration::from_secs(2));
        assert_eq!(lower.max_concurrent_calls, 7);
        let higher = component_limits(&host, 7, Some(&asked("999999999999", "999999"))).unwrap();
        assert_eq!(higher.max_memory_bytes, host.max_memory_bytes);
        assert_eq!(higher.max_execution_time, host.max_execution_time);
        for bad in ["", "0", "-1", "1 MiB"] {
            assert!(component_limits(&host, 7, Some(&asked(bad, "2"))).is_err(), "{bad}");
        }
    }
}
