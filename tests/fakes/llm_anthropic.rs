//! Anthropic's Messages interface: `POST /v1/messages`.

use super::llm_script::{Answer, End, FIRST, USAGE, answer};
use super::{Reply, Request, Vendor};
use serde_json::{Value, json};

/// Anthropic.
pub struct Anthropic {
    pub key: &'static str,
}

fn error(status: u16, kind: &str, message: &str) -> Reply {
    Reply::json(status, &body(kind, message))
}

fn body(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
}

impl Vendor for Anthropic {
    fn http(&self, request: &Request) -> Reply {
        let complain = |what: &str| request.context.complain(what);
        let version = request.header("anthropic-version").unwrap_or_default();
        if !["2023-06-01", "2026-10-21"].contains(&version) {
            complain("every request names the version of the interface");
        }
        // The documentation names `x-api-key`; the SDK sends the same key as a bearer's.
        let key = request.header("x-api-key").or_else(|| request.credentials("Bearer"));
        if key != Some(self.key) {
            return error(401, "authentication_error", "invalid x-api-key");
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", path) if path.starts_with("/v1/models/") => {
                return Reply::json(200, &json!({"type": "model", "id": "model"}));
            }
            ("POST", "/v1/messages") => {}
            _ => {
                complain(&format!("no such resource: {} {}", request.method, request.path));
                return error(404, "not_found_error", "Not found");
            }
        }
        let body = request.json();
        if body["stream"] != true || body["max_tokens"].as_u64().is_none() {
            complain("`stream` and `max_tokens` are needed");
        }
        if version == "2026-10-21" && (body.get("temperature").is_some() || body.get("top_p").is_some()) {
            complain("this version has no sampling parameters");
            return error(400, "invalid_request_error", "temperature: Extra inputs are not permitted");
        }
        let messages = body["messages"].as_array().cloned().unwrap_or_default();
        let tools = body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
        if let Err(what) = check(&messages, tools) {
            complain(what);
            return error(400, "invalid_request_error", what);
        }
        let marks = body.to_string().matches("\"cache_control\"").count();
        if marks > 4 {
            complain("more than four marks of the cache");
        }
        let last = messages.last().and_then(|message| message["content"].as_array()).cloned().unwrap_or_default();
        let words = last.last().and_then(|block| block["text"].as_str()).map(ToOwned::to_owned);
        if let Some(words) = &words {
            if words.contains("no credit") {
                return error(400, "invalid_request_error", "Your credit balance is too low to access the API");
            }
            if words.contains("too fast") {
                return error(429, "rate_limit_error", "Too many requests").with("retry-after", "2");
            }
            if words.contains("no such model") {
                return error(404, "not_found_error", "model: no such model");
            }
        }
        let answer = answer(words.as_deref());
        Reply::events(FIRST, answer.gap, events(&answer))
    }

    fn refusal(&self, status: u16) -> Value {
        body(if status == 529 { "overloaded_error" } else { "api_error" }, "the fake says so")
    }
}

/// The rules of a conversation.
fn check(messages: &[Value], tools: bool) -> Result<(), &'static str> {
    let mut asked: Vec<String> = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role != if place % 2 == 0 { "user" } else { "assistant" } {
            return Err("roles must alternate and begin with the user");
        }
        let blocks = message["content"].as_array().cloned().unwrap_or_default();
        if blocks.is_empty() {
            return Err("a message without content");
        }
        let mut words = false;
        for block in &blocks {
            match block["type"].as_str() {
                Some("text") if block["text"].as_str().is_none_or(|text| text.trim().is_empty()) => {
                    return Err("text content blocks must be non-empty");
                }
                Some("text") => words = true,
                Some("tool_result") if words => return Err("tool results must come before words"),
                Some("tool_result") => {
                    let id = block["tool_use_id"].as_str().unwrap_or_default();
                    let place = asked.iter().position(|asked| asked == id).ok_or("a result without its call")?;
                    asked.remove(place);
                }
                Some("tool_use") if !tools => return Err("tools must be declared where calls are spoken of"),
                _ => {}
            }
        }
        if !asked.is_empty() {
            return Err("tool_use ids were found without tool_result blocks immediately after");
        }
        let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
        asked = calls.filter_map(|block| block["id"].as_str().map(ToOwned::to_owned)).collect();
    }
    if messages.last().is_none_or(|message| message["role"] != "user") {
        return Err("the last message must be the user's");
    }
    Ok(())
}

fn events(answer: &Answer) -> Vec<(String, String)> {
    let (input, cached, output) = USAGE;
    let usage = json!({"input_tokens": input - cached - 5, "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": cached, "output_tokens": 1});
    let mut list = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "model",
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}}),
        json!({"type": "ping"}),
    ];
    let mut index = 0;
    if !answer.words.is_empty() {
        list.push(
            json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}),
        );
        list.extend(answer.words.iter().map(|word| {
            json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": word}})
        }));
        list.push(json!({"type": "content_block_stop", "index": index}));
        index += 1;
    }
    if let Some((name, arguments)) = &answer.call {
        let block = json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": {}});
        list.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        let (first, rest) = arguments.split_at(arguments.len() / 2);
        list.extend(["", first, rest].map(|part| {
            json!({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": part}})
        }));
        list.push(json!({"type": "content_block_stop", "index": index}));
    }
    let reason = match answer.end {
        End::Nothing => None,
        End::Overloaded => {
            list.push(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
            None
        }
        End::Length => Some("max_tokens"),
        // Both are one here.
        End::Refused | End::Filtered => Some("refusal"),
        End::Complete if answer.call.is_some() => Some("tool_use"),
        End::Complete => Some("end_turn"),
    };
    if let Some(reason) = reason {
        list.push(json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
            "usage": {"output_tokens": output}}));
        list.push(json!({"type": "message_stop"}));
    }
    let named = |event: Value| (event["type"].as_str().unwrap_or_default().to_owned(), event.to_string());
    list.into_iter().map(named).collect()
}
