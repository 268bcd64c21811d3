//! Vendors' messages as JSON of which nothing is taken for granted.

use super::protocol::Span;
use crate::base::Pii;
use crate::providers::error::in_short;
use crate::providers::wire::{Closed, Frame};
use crate::providers::{ProviderError, ProviderName};
use serde_json::Value;
use std::time::Duration;

/// The message as a JSON object.
pub(super) fn object(provider: &ProviderName, frame: &Frame) -> Result<Value, ProviderError> {
    let parsed: Option<Value> = match frame {
        Frame::Text(text) => serde_json::from_str(text).ok(),
        Frame::Binary(octets) => serde_json::from_slice(octets).ok(),
    };
    parsed.filter(Value::is_object).ok_or_else(|| protocol(provider, "a message is no JSON object"))
}

/// A text; empty when it is not there.
pub(super) fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// Words; empty when they are not there.
pub(super) fn words(value: &Value, at: &str) -> Pii<String> {
    Pii::new(text(value, at).trim().to_owned())
}

/// A number; `None` when it is not there.
pub(super) fn number(value: &Value, at: &str) -> Option<f64> {
    value.pointer(at).and_then(Value::as_f64)
}

/// A truth; false when it is not there.
pub(super) fn truth(value: &Value, at: &str) -> bool {
    value.pointer(at).and_then(Value::as_bool).unwrap_or_default()
}

/// A time that no vendor's number can make panic.
pub(super) fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time < Duration::from_secs(1_000_000))
}

/// From the first word's start to the last one's end, in a list whose items carry `start` and `end` in units of so many
/// seconds.
pub(super) fn span_of_words(list: Option<&Value>, unit: f64) -> Option<Span> {
    let list = list?.as_array()?;
    let start = list.first()?.get("start")?.as_f64()? * unit;
    let end = list.last()?.get("end")?.as_f64()? * unit;
    Some((seconds(start)?, seconds(end)?))
}

/// The mean of a number in each item of a list.
pub(super) fn mean(list: Option<&Value>, field: &str) -> Option<f32> {
    let numbers: Vec<f64> = list?.as_array()?.iter().filter_map(|item| item.get(field)?.as_f64()).collect();
    (!numbers.is_empty()).then(|| (numbers.iter().sum::<f64>() / numbers.len() as f64) as f32)
}

/// The vendor broke its protocol.
pub(super) fn protocol(provider: &ProviderName, reason: &str) -> ProviderError {
    ProviderError::Protocol { provider: provider.clone(), reason: in_short(reason) }
}

/// The vendor failed, or the way to it; another connection may work.
pub(super) fn transient(provider: &ProviderName, reason: &str) -> ProviderError {
    ProviderError::Transient { provider: provider.clone(), reason: in_short(reason) }
}

/// A setting is wrong.
pub(super) fn refused(provider: &ProviderName, reason: &str) -> ProviderError {
    ProviderError::BadRequest { provider: provider.clone(), reason: in_short(reason) }
}

/// The key is.
pub(super) fn unauthorized(provider: &ProviderName, reason: &str) -> ProviderError {
    ProviderError::Authentication { provider: provider.clone(), reason: in_short(reason) }
}

/// The money is used up.
pub(super) fn unpaid(provider: &ProviderName, reason: &str) -> ProviderError {
    ProviderError::Quota { provider: provider.clone(), reason: in_short(reason) }
}

/// Too many streams or requests.
pub(super) fn limited(provider: &ProviderName) -> ProviderError {
    ProviderError::RateLimited { provider: provider.clone(), retry_after: None }
}

/// How a connection ended, in words.
pub(super) fn ending(closed: &Closed) -> String {
    match (closed.code, closed.reason.as_str()) {
        (Some(code), "") => format!("closed with {code}"),
        (Some(code), reason) => format!("closed with {code}: {reason}"),
        (None, reason) => format!("connection lost: {reason}"),
    }
}
