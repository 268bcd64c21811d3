//! Pieces of JSON and closes that the vendors have in common.

use crate::base::Pii;
use crate::base::chat::{Message, ToolCall};
use crate::providers::error::{in_short, is_unpaid};
use crate::providers::wire::{Closed, Frame};
use crate::providers::{ProviderError, ProviderName};
use serde_json::{Map, Value};

/// The JSON of a message; `None` for octets that are none.
pub(super) fn of_frame(frame: &Frame) -> Option<Value> {
    match frame {
        Frame::Text(text) => serde_json::from_str(text).ok(),
        Frame::Binary(octets) => serde_json::from_slice(octets).ok(),
    }
}

/// A text inside; empty when it is not there.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number inside; zero when it is not there.
pub(super) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// Arguments of a call, which vendors give as an object or as its text. What is neither is no arguments.
pub(super) fn arguments(value: &Value) -> Pii<Map<String, Value>> {
    Pii::new(match value {
        Value::Object(map) => map.clone(),
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        _ => Map::new(),
    })
}

pub(super) fn call(id: &str, name: &str, given: &Value) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments(given), opaque: None }
}

/// What was said so far in words, for a vendor that takes no messages.
pub(super) fn transcript(messages: &[Message]) -> String {
    let line = |message: &Message| match message {
        Message::Caller(text) => Some(format!("Caller: {}", text.expose())),
        Message::Agent { text, .. } if text.expose().is_empty() => None,
        Message::Agent { text, .. } => Some(format!("You: {}", text.expose())),
        Message::ToolResult { tool, content, .. } => Some(format!("The tool {tool} answered: {}", content.expose())),
    };
    messages.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// The last words of the caller, taken off the messages, where they are the last message.
pub(super) fn take_unanswered(messages: &mut Vec<Message>) -> Option<String> {
    let last = messages.pop_if(|message| matches!(message, Message::Caller(_)))?;
    match last {
        Message::Caller(text) => Some(text.into_exposed()),
        _ => None,
    }
}

/// What a vendor's close means by its code (RFC 6455 section 7.4.1), where the vendor has no meaning of its own.
pub(super) fn closed(provider: &ProviderName, closed: &Closed) -> ProviderError {
    let provider = provider.clone();
    let reason = match closed.code {
        Some(code) => format!("closed with {code}: {}", in_short(&closed.reason)),
        None => in_short(&closed.reason),
    };
    let says = closed.reason.to_ascii_lowercase();
    match closed.code {
        // With whatever code: it is no use to try again.
        Some(_) if is_unpaid(&says) || says.contains("quota") => ProviderError::Quota { provider, reason },
        Some(1002 | 1003 | 1007 | 1009 | 1010) => ProviderError::Protocol { provider, reason },
        Some(1008) => ProviderError::BadRequest { provider, reason },
        Some(3000 | 4001) => ProviderError::Authentication { provider, reason },
        _ => ProviderError::Transient { provider, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_says_whose_fault_it_is_and_one_for_want_of_money_says_that_whatever_its_code() {
        let kind = |code, reason: &str| closed(&"v".into(), &Closed { code, reason: reason.into() }).kind();
        assert_eq!(kind(Some(1008), "override is not allowed"), "bad_request");
        assert_eq!(kind(Some(1002), "This request exceeds your quota limit."), "quota");
        assert_eq!(kind(Some(1008), "insufficient_quota"), "quota");
        assert_eq!(kind(Some(3000), "no"), "authentication");
        assert_eq!(kind(Some(1011), ""), "transient");
        assert_eq!(kind(None, "it ended"), "transient");
    }
}
