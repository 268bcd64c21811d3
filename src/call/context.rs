//! What the human should know, as one header value.

use serde_json::{Map, Value};

/// Longest context sent with a transfer: a REFER has to fit into one datagram (RFC 3261 §18.1.1).
const CONTEXT_BYTES: usize = 400;

/// The context as one header value: `name=value;…`, percent-encoded, cut at a whole pair; in User-to-User as
/// hexadecimal digits (RFC 7433 §4.1).
pub(super) fn context_value(header: &str, context: &Map<String, Value>) -> String {
    let pairs = context_pairs(context);
    if !header.eq_ignore_ascii_case("User-to-User") {
        return pairs;
    }
    let digits: String = pairs.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{digits};encoding=hex")
}

fn context_pairs(context: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (name, value) in context {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let pair = format!("{}={}", percent(name), percent(&text));
        if out.len() + pair.len() + 1 > CONTEXT_BYTES {
            break;
        }
        if !out.is_empty() {
            out.push(';');
        }
        out.push_str(&pair);
    }
    out
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~:".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn transfer_context_is_one_safe_header_value_of_bounded_length() {
        let context = json!({"reason": "wants a human\r\nX-Evil: 1", "name": "Anna Berg", "note": "x".repeat(2_000)});
        let context = context.as_object().unwrap();
        let value = context_value("X-Context", context);
        assert_eq!(value, "reason=wants%20a%20human%0D%0AX-Evil:%201;name=Anna%20Berg");
        let value = context_value("User-to-User", json!({"a": "b"}).as_object().unwrap());
        assert_eq!(value, "613d62;encoding=hex");
    }
}
