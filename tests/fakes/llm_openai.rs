//! OpenAI's language models, by both of its interfaces: `POST /v1/responses` and `POST /v1/chat/completions`. Other
//! servers that speak the latter are played by [`Flavour`].

use super::llm_script::{Answer, End, FIRST, QUICK, SLOW, USAGE, answer};
use super::{Reply, Request, Vendor};
use serde_json::{Value, json};
use std::time::Duration;

/// Whose server it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    OpenAi,
    /// Counts in `x_groq`, gives whole tool calls.
    Groq,
    /// Counts on the last chunk, calls the end `eos`.
    Together,
    /// One's own, of those that add nothing: counts where it is asked to.
    Server,
    /// Takes no key, gives whole tool calls under the same index, says `stop` behind them, thinks aloud.
    Ollama,
}

/// OpenAI, or a server that speaks like it.
pub struct OpenAi {
    pub key: &'static str,
    pub flavour: Flavour,
}

impl OpenAi {
    fn of(&self, request: &Request) -> Option<Reply> {
        let rule = |broken: bool, what: &str| {
            if broken {
                request.context.complain(what);
            }
        };
        rule(!request.query.is_empty(), "nothing belongs into the query");
        if self.flavour != Flavour::Ollama && request.credentials("Bearer") != Some(self.key) {
            // Worse than the vendor, which repeats its first and last letters: nobody may be quoted with a key.
            let repeated = request.credentials("Bearer").unwrap_or_default();
            let words = format!("Incorrect API key provided: {repeated}.");
            return Some(error(401, "invalid_request_error", "invalid_api_key", &words));
        }
        if request.method == "POST" {
            rule(request.header("content-type") != Some("application/json"), "the body is JSON and must say so");
            rule(request.json().is_null(), "the body is no JSON");
        }
        None
    }
}

/// The refusals that are asked for by the caller's words.
fn refusal(last: Option<&str>) -> Option<Reply> {
    let last = last?;
    if last.contains("no credit") {
        return Some(error(429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota"));
    }
    if last.contains("too fast") {
        let reply = error(429, "requests", "rate_limit_exceeded", "Rate limit reached");
        return Some(reply.with("retry-after-ms", "1500"));
    }
    last.contains("no such model")
        .then(|| error(404, "invalid_request_error", "model_not_found", "The model does not exist"))
}

fn error(status: u16, kind: &str, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))
}

impl Vendor for OpenAi {
    fn http(&self, request: &Request) -> Reply {
        if let Some(refused) = self.of(request) {
            return refused;
        }
        // Groq's SDK has the first part of the path within its methods, others within the base.
        let path = request.path.strip_prefix("/openai").unwrap_or(&request.path);
        match (request.method.as_str(), path) {
            ("POST", "/v1/chat/completions") => self.chat(request),
            ("POST", "/v1/responses") if self.flavour == Flavour::OpenAi => responses(request),
            ("POST", "/api/generate") if self.flavour == Flavour::Ollama => Reply::json(200, &json!({"done": true})),
            ("GET", path) if path.starts_with("/v1/models") => Reply::json(200, &json!({"id": "model"})),
            _ => {
                request.context.complain(format!("no such resource: {} {}", request.method, request.path));
                error(404, "invalid_request_error", "unknown_url", "Unknown request URL")
            }
        }
    }

    fn refusal(&self, status: u16) -> Value {
        json!({"error": {"message": "the fake says so", "type": "server_error", "code": status.to_string()}})
    }
}

impl OpenAi {
    fn chat(&self, request: &Request) -> Reply {
        let body = request.json();
        let complain = |what: &str| request.context.complain(what);
        if body["stream"] != true {
            complain("an answer that is not streamed comes too late");
        }
        if self.flavour == Flavour::OpenAi {
            if body["stream_options"]["include_obfuscation"] != false {
                complain("padding must be switched off");
            }
            if body.get("max_tokens").is_some() {
                complain("`max_tokens` is refused by models that reason");
            }
        }
        let messages = body["messages"].as_array().cloned().unwrap_or_default();
        let mut open: Vec<String> = Vec::new();
        for message in &messages {
            let role = message["role"].as_str().unwrap_or_default();
            if role == "tool" {
                let id = message["tool_call_id"].as_str().unwrap_or_default();
                match open.iter().position(|open| open == id) {
                    Some(place) => drop(open.remove(place)),
                    None => complain("a tool's message must answer a call before it"),
                }
            } else if !open.is_empty() {
                complain("every tool call must be answered before the next message");
                open.clear();
            }
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            open.extend(calls.filter_map(|call| call["id"].as_str().map(ToOwned::to_owned)));
            if message["content"].is_null() && message.get("tool_calls").is_none() {
                complain("a message without content");
            }
        }
        if !open.is_empty() {
            complain("the last tool call has no answer");
        }
        let last = messages.last();
        let last = last.filter(|m| m["role"] != "tool").map(|m| m["content"].as_str().unwrap_or_default().to_owned());
        if let Some(refused) = refusal(last.as_deref()) {
            return refused;
        }
        let answer = answer(last.as_deref());
        let gap = answer.gap;
        let usage = body["stream_options"]["include_usage"] == true;
        events(gap, chunks(self.flavour, &answer, usage))
    }
}

fn events(gap: Duration, events: Vec<(String, String)>) -> Reply {
    Reply::events(FIRST, if gap.is_zero() { QUICK } else { gap.min(SLOW) }, events)
}

fn chunks(flavour: Flavour, answer: &Answer, count: bool) -> Vec<(String, String)> {
    let chunk = |choices: Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "model", "choices": choices,
            "usage": null})
    };
    let delta = |delta: Value, finish: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]));
    let mut chunks = vec![delta(json!({"role": "assistant", "content": ""}), Value::Null)];
    if flavour == Flavour::Ollama {
        chunks.push(delta(json!({"content": "", "reasoning": "The caller wants something."}), Value::Null));
        chunks.extend(["<thi", "nk>Let me think.</think>\n\n"].map(|t| delta(json!({"content": t}), Value::Null)));
    }
    chunks.extend(answer.words.iter().map(|word| delta(json!({"content": word}), Value::Null)));
    if let Some((name, arguments)) = &answer.call {
        let whole = matches!(flavour, Flavour::Groq | Flavour::Ollama);
        let (first, rest) = if whole { (arguments.as_str(), "") } else { arguments.split_at(arguments.len() / 2) };
        let begin =
            json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": first}});
        chunks.push(delta(json!({"tool_calls": [begin]}), Value::Null));
        if !rest.is_empty() {
            let more = json!({"index": 0, "function": {"arguments": rest}});
            chunks.push(delta(json!({"tool_calls": [more]}), Value::Null));
        }
    }
    let done = [String::new(), "[DONE]".to_owned()];
    let mut texts: Vec<String> = Vec::new();
    let reason = match answer.end {
        End::Overloaded => {
            texts.extend(chunks.iter().map(Value::to_string));
            texts.push(
                json!({"error": {"message": "The server had an error", "type": "server_error", "code": null}})
                    .to_string(),
            );
            return texts.into_iter().map(|data| (String::new(), data)).collect();
        }
        End::Nothing => return chunks.iter().map(|chunk| (String::new(), chunk.to_string())).collect(),
        End::Refused => {
            chunks.push(delta(json!({"refusal": "I can't help with that."}), Value::Null));
            "stop"
        }
        End::Filtered => "content_filter",
        End::Length => "length",
        End::Complete if answer.call.is_some() && flavour != Flavour::Ollama => "tool_calls",
        End::Complete if flavour == Flavour::Together => "eos",
        End::Complete => "stop",
    };
    let (input, cached, output) = USAGE;
    // The one of them without a cache of prompts.
    let cached = if flavour == Flavour::Together { 0 } else { cached };
    let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
        "prompt_tokens_details": {"cached_tokens": cached}});
    let mut last = delta(json!({}), reason.into());
    match flavour {
        Flavour::Groq => last["x_groq"] = json!({"id": "req", "usage": usage}),
        Flavour::Together => last["usage"] = usage.clone(),
        Flavour::OpenAi | Flavour::Server | Flavour::Ollama => {}
    }
    chunks.push(last);
    if count && matches!(flavour, Flavour::OpenAi | Flavour::Server | Flavour::Ollama) {
        let mut counted = chunk(json!([]));
        counted["usage"] = usage;
        chunks.push(counted);
    }
    texts.extend(chunks.iter().map(Value::to_string));
    let events = texts.into_iter().map(|data| (String::new(), data));
    let [_, end] = done;
    events.chain([(String::new(), end)]).collect()
}

fn responses(request: &Request) -> Reply {
    let body = request.json();
    let complain = |what: &str| request.context.complain(what);
    for (field, want) in [("stream", true), ("store", false)] {
        if body[field] != want {
            complain(&format!("`{field}` must be {want}"));
        }
    }
    if body["stream_options"]["include_obfuscation"] != false {
        complain("padding must be switched off");
    }
    if body["tools"].as_array().is_some_and(|tools| tools.iter().any(|tool| tool.get("function").is_some())) {
        complain("tools are flat in this interface");
    }
    let items = body["input"].as_array().cloned().unwrap_or_default();
    let mut open: Vec<String> = Vec::new();
    for item in &items {
        let id = item["call_id"].as_str().unwrap_or_default().to_owned();
        match item["type"].as_str() {
            Some("function_call") => open.push(id),
            Some("function_call_output") => match open.iter().position(|open| *open == id) {
                Some(place) => drop(open.remove(place)),
                None => complain("an output must answer a call before it"),
            },
            _ if !open.is_empty() => {
                complain("every call must be answered before the next message");
                open.clear();
            }
            _ if item["content"].as_str().is_none_or(str::is_empty) => complain("a message without content"),
            _ => {}
        }
    }
    if !open.is_empty() {
        complain("the last call has no output");
    }
    let last = items.last().filter(|item| item.get("content").is_some());
    let last = last.map(|item| item["content"].as_str().unwrap_or_default().to_owned());
    if let Some(refused) = refusal(last.as_deref()) {
        return refused;
    }
    let answer = answer(last.as_deref());
    let gap = answer.gap;
    events(gap, response_events(&answer))
}

fn response_events(answer: &Answer) -> Vec<(String, String)> {
    let mut list: Vec<Value> = vec![
        json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}),
        json!({"type": "response.in_progress", "response": {"id": "resp_1"}}),
    ];
    let mut place = 0;
    if !answer.words.is_empty() {
        list.push(json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "msg_1"}}));
        list.push(
            json!({"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0}),
        );
        list.extend(answer.words.iter().map(|word| {
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": word})
        }));
        list.push(json!({"type": "response.output_text.done", "item_id": "msg_1", "text": answer.words.concat()}));
        place = 1;
    }
    if let Some((name, arguments)) = &answer.call {
        let item = |arguments: &str| json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": arguments});
        list.push(json!({"type": "response.output_item.added", "output_index": place, "item": item("")}));
        let (first, rest) = arguments.split_at(arguments.len() / 2);
        for part in [first, rest] {
            list.push(json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": place, "delta": part}));
        }
        list.push(json!({"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": place, "arguments": arguments}));
        list.push(json!({"type": "response.output_item.done", "output_index": place, "item": item(arguments)}));
    }
    let (input, cached, output) = USAGE;
    let usage = json!({"input_tokens": input, "input_tokens_details": {"cached_tokens": cached}, "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + output});
    let end = |kind: &str, extra: Value| {
        let mut response = json!({"id": "resp_1", "usage": usage});
        for (name, value) in extra.as_object().into_iter().flatten() {
            response[name] = value.clone();
        }
        json!({"type": kind, "response": response})
    };
    match answer.end {
        End::Complete => list.push(end("response.completed", json!({"status": "completed"}))),
        End::Length => {
            list.push(end("response.incomplete", json!({"incomplete_details": {"reason": "max_output_tokens"}})));
        }
        End::Filtered => {
            list.push(end("response.incomplete", json!({"incomplete_details": {"reason": "content_filter"}})));
        }
        End::Refused => {
            list.push(
                json!({"type": "response.refusal.delta", "item_id": "msg_1", "delta": "I can't help with that."}),
            );
            list.push(end("response.completed", json!({"status": "completed"})));
        }
        End::Overloaded => {
            list.push(end(
                "response.failed",
                json!({"error": {"code": "server_error", "message": "The server had an error"}}),
            ));
        }
        End::Nothing => {}
    }
    for (number, event) in list.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    let named = |event: Value| (event["type"].as_str().unwrap_or_default().to_owned(), event.to_string());
    list.into_iter().map(named).collect()
}
