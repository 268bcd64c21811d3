//! Errors of language models, sorted by what the vendors' own words say.

use crate::providers::error::NO_CREDIT;
use crate::providers::exchange::{Refusal, wait_in_words};
use crate::providers::{ProviderError, ProviderName};
use serde_json::{Map, Value};

/// Codes of what the vendor will not talk about.
pub(super) const FILTERED: &[&str] =
    &["content_filter", "bio_policy", "misalignment_policy_violation", "content_policy_violation"];

/// The answer broke off.
pub(super) fn ended_early(provider: &ProviderName) -> ProviderError {
    ProviderError::Transient { provider: provider.clone(), reason: "the answer ended too early".into() }
}

/// An event that is none of the vendor's. What it was is not told: it may quote the conversation.
pub(super) fn no_object(provider: &ProviderName) -> ProviderError {
    ProviderError::Protocol { provider: provider.clone(), reason: "an event that is no JSON object".into() }
}

/// The data of an event.
pub(super) fn object(provider: &ProviderName, data: &str) -> Result<Map<String, Value>, ProviderError> {
    serde_json::from_str(data).map_err(|_| no_object(provider))
}

/// A text within an object, or within one of its objects.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str()
}

/// A refused request in the shape of OpenAI, `{"error":{"message","type","code"}}`, and of the servers that follow it.
pub(super) fn refused(provider: &ProviderName, refusal: Refusal) -> ProviderError {
    let body: Value = serde_json::from_str(&refusal.body).unwrap_or_default();
    let says = |word: &str| text(&body, "/error/code") == Some(word) || text(&body, "/error/type") == Some(word);
    let reason = refusal.message();
    let provider = provider.clone();
    if NO_CREDIT.iter().any(|code| says(code)) {
        return ProviderError::Quota { provider, reason };
    }
    // Groq: the model wrote a tool call that is none. It may do better when asked again.
    if says("tool_use_failed") {
        return ProviderError::Failed { provider, reason: "the model wrote a broken tool call".into() };
    }
    refusal.into_error(provider)
}

/// An error within a stream that began with 200, in the shape of OpenAI. `code` is a word, or a status with llama.cpp.
pub(super) fn within(provider: &ProviderName, error: &Value) -> ProviderError {
    let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let (code, kind) = (word("code"), word("type"));
    let message = match error {
        Value::String(message) => message,
        _ => word("message"),
    };
    let status = match error.get("code").and_then(Value::as_u64) {
        Some(status) => u16::try_from(status).unwrap_or(500),
        None => match (code, kind) {
            (code, kind) if NO_CREDIT.contains(&code) || NO_CREDIT.contains(&kind) => 402,
            ("rate_limit_exceeded", _) | (_, "rate_limit_error" | "rate_limit_exceeded" | "requests" | "tokens") => 429,
            ("invalid_api_key", _) | (_, "authentication_error" | "permission_error") => 401,
            ("tool_use_failed", _) => {
                let reason = "the model wrote a broken tool call".into();
                return ProviderError::Failed { provider: provider.clone(), reason };
            }
            ("context_length_exceeded" | "invalid_prompt" | "model_not_found", _)
            | (_, "invalid_request_error" | "not_found_error" | "request_too_large") => 400,
            _ => 500,
        },
    };
    let words = if message.is_empty() { code } else { message };
    match ProviderError::from_status(provider.clone(), status, words, wait_in_words(message)) {
        // A status that is no error, sent as an error.
        ProviderError::Protocol { provider, reason } => ProviderError::Transient { provider, reason },
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(status: u16, body: &Value) -> &'static str {
        refused(&"v".into(), Refusal { status, body: body.to_string(), retry_after: None }).kind()
    }

    #[test]
    fn an_empty_account_is_told_from_too_many_requests() {
        assert_eq!(kind(429, &json!({"error": {"code": "insufficient_quota", "type": "insufficient_quota"}})), "quota");
        assert_eq!(kind(429, &json!({"error": {"code": "credit_balance_exhausted"}})), "quota");
        assert_eq!(kind(429, &json!({"error": {"type": "requests", "code": "rate_limit_exceeded"}})), "rate_limited");
        assert_eq!(kind(429, &json!("?")), "rate_limited");
    }

    #[test]
    fn a_broken_tool_call_at_groq_is_the_model_s_fault_and_not_ours() {
        let body = json!({"error": {"code": "tool_use_failed", "failed_generation": "<function=x"}});
        let error = refused(&"groq".into(), Refusal { status: 400, body: body.to_string(), retry_after: None });
        assert!(error.is_retryable() && !error.to_string().contains("function="), "{error}");
    }

    #[test]
    fn an_error_within_a_stream_is_sorted_by_its_code_type_or_status() {
        let of = |error: Value| within(&"v".into(), &error).kind();
        assert_eq!(of(json!({"type": "server_error", "message": "x"})), "transient");
        assert_eq!(of(json!({"code": "rate_limit_exceeded", "message": "x"})), "rate_limited");
        assert_eq!(of(json!({"type": "insufficient_quota", "message": "x"})), "quota");
        assert_eq!(of(json!({"code": "context_length_exceeded", "type": "invalid_request_error"})), "bad_request");
        assert_eq!(of(json!({"code": 503, "type": "unavailable_error", "message": "Loading model"})), "transient");
        assert_eq!(of(json!({"code": 200})), "transient");
        assert_eq!(of(json!("the backend died")), "transient");
        assert_eq!(of(json!(null)), "transient");
    }
}
