//! Google's Gemini interface: `POST /v1beta/models/MODEL:streamGenerateContent?alt=sse`.

use super::llm_script::{Answer, End, FIRST, USAGE, answer};
use super::{Reply, Request, Vendor};
use serde_json::{Value, json};

/// Gemini.
pub struct Gemini {
    pub key: &'static str,
}

const SIGNATURE: &str = "c2lnbmF0dXJl";

fn error(status: u16, word: &str, message: &str, details: Value) -> Reply {
    Reply::json(status, &json!({"error": {"code": status, "message": message, "status": word, "details": details}}))
}

impl Vendor for Gemini {
    fn http(&self, request: &Request) -> Reply {
        let complain = |what: &str| request.context.complain(what);
        if request.param("key").is_some() {
            complain("a key in a URL ends up in logs");
        }
        if request.header("x-goog-api-key") != Some(self.key) {
            let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
            return error(400, "INVALID_ARGUMENT", "API key not valid.", details);
        }
        // The SDK speaks `v1` unless told otherwise, which has less.
        let path = request.path.strip_prefix("/v1beta").or_else(|| request.path.strip_prefix("/v1"));
        match (request.method.as_str(), path) {
            ("GET", Some("/models/gemini-3.8-flash")) => return Reply::json(200, &json!({"name": "models/x"})),
            ("POST", Some("/models/gemini-3.8-flash:streamGenerateContent")) => {}
            _ => {
                complain(&format!("no such resource: {} {}", request.method, request.path));
                return error(404, "NOT_FOUND", "no such model", json!([]));
            }
        }
        if request.param("alt") != Some("sse") {
            complain("without `alt=sse` the answer is a JSON array");
        }
        let body = request.json();
        let contents = body["contents"].as_array().cloned().unwrap_or_default();
        if let Err(what) = check(&contents) {
            complain(what);
            return error(400, "INVALID_ARGUMENT", what, json!([]));
        }
        let last = contents.last().and_then(|content| content["parts"].as_array()).cloned().unwrap_or_default();
        let words = last.last().and_then(|part| part["text"].as_str()).map(ToOwned::to_owned);
        if let Some(words) = &words {
            if words.contains("no credit") {
                let details = json!([{"@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}]);
                return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", details);
            }
            if words.contains("too fast") {
                let details = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]);
                return error(429, "RESOURCE_EXHAUSTED", "Too many requests", details);
            }
            if words.contains("no such model") {
                return error(404, "NOT_FOUND", "no such model", json!([]));
            }
        }
        let answer = answer(words.as_deref());
        let events = events(&answer).into_iter().map(|event| (String::new(), event.to_string()));
        Reply::events(FIRST, answer.gap, events.collect::<Vec<_>>())
    }

    fn refusal(&self, status: u16) -> Value {
        json!({"error": {"code": status, "message": "the fake says so", "status": "UNAVAILABLE"}})
    }
}

/// The rules of a conversation.
fn check(contents: &[Value]) -> Result<(), &'static str> {
    if contents.first().is_none_or(|content| content["role"] != "user") {
        return Err("the first content must be the user's");
    }
    let mut asked = 0;
    for content in contents {
        let parts = content["parts"].as_array().cloned().unwrap_or_default();
        if parts.is_empty() {
            return Err("a content without parts");
        }
        let answered = parts.iter().filter(|part| part.get("functionResponse").is_some()).count();
        if answered != asked {
            return Err("as many function responses as calls must follow at once");
        }
        let calls: Vec<&Value> = parts.iter().filter(|part| part.get("functionCall").is_some()).collect();
        asked = calls.len();
        if calls.first().is_some_and(|part| part["thoughtSignature"].as_str().is_none()) {
            return Err("Function call is missing a thought_signature in functionCall parts");
        }
    }
    Ok(())
}

fn events(answer: &Answer) -> Vec<Value> {
    let candidate = |parts: Value| json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}]});
    let mut list: Vec<Value> = vec![candidate(json!([{"text": "The caller wants something.", "thought": true}]))];
    list.extend(answer.words.iter().map(|word| candidate(json!([{"text": word}]))));
    if let Some((name, arguments)) = &answer.call {
        match serde_json::from_str::<Value>(arguments) {
            Ok(args) => {
                let call = json!({"functionCall": {"name": name, "args": args}, "thoughtSignature": SIGNATURE});
                list.push(candidate(json!([call])));
            }
            Err(_) => {
                list.push(json!({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "index": 0}]}));
                return list;
            }
        }
    }
    let reason = match answer.end {
        End::Nothing => return list,
        End::Overloaded => {
            list.push(json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}));
            return list;
        }
        End::Length => "MAX_TOKENS",
        End::Refused => {
            list.push(json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}));
            return list;
        }
        End::Filtered => "SAFETY",
        End::Complete => "STOP",
    };
    let (input, cached, output) = USAGE;
    let mut last = candidate(json!([{"text": ""}]));
    last["candidates"][0]["finishReason"] = reason.into();
    last["usageMetadata"] = json!({"promptTokenCount": input, "cachedContentTokenCount": cached,
        "candidatesTokenCount": output - 2, "thoughtsTokenCount": 2, "totalTokenCount": input + output});
    list.push(last);
    list
}
