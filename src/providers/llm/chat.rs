//! Chat Completions: OpenAI's older interface, which most other servers speak too, each a little differently
//! ([`Dialect`]). Source: openai-python 3.54.0 and groq-python 1.7.0.

use super::calls::{Calls, Fragment};
use super::fault::{self, FILTERED, object};
use super::history::{self, Answer, Turn};
use super::parameters::{count, flag, limit, number, output_tokens, table};
use super::protocol::{LlmVendor, Reply};
use super::silent::Aloud;
use super::{Finish, LlmCapabilities, Prompt, Thought, ToolCall, Usage};
use crate::base::Pii;
use crate::providers::exchange::Refusal;
use crate::providers::wire::{Header, Request, query_value, url};
use crate::providers::{ProviderError, ProviderName, Settings, SettingsError};
use serde_json::{Map, Value, json};

/// Options of every server that speaks this.
pub(super) const OPTIONS: &[&str] = &[
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "prompt_cache_key",
    "parallel_tool_calls",
    "extra_body",
];

/// What differs from server to server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// The field for the limit of output tokens.
    pub limit_field: &'static str,
    /// `stream_options`; `None` where the server refuses or ignores it and counts anyway.
    pub stream_options: Option<fn() -> Value>,
    /// The effort to ask for where none is configured.
    pub effort: fn(&str) -> Option<&'static str>,
    /// What wakes the server up.
    pub warm: Warm,
    /// The server caches the start of prompts.
    pub prompt_cache: bool,
}

/// How a connection is made ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Warm {
    /// `GET /models/MODEL`.
    Model,
    /// `GET /models`, where a single model cannot be asked for.
    Models,
    /// `POST /api/generate` beside the `/v1` of the base, which loads the model into memory (Ollama).
    Load,
}

/// OpenAI itself.
pub(super) const OPENAI: Dialect = Dialect {
    limit_field: "max_completion_tokens",
    stream_options: Some(|| json!({"include_usage": true, "include_obfuscation": false})),
    effort: super::parameters::least_effort,
    warm: Warm::Model,
    prompt_cache: true,
};

/// A server that speaks Chat Completions.
#[derive(Debug)]
pub(super) struct Chat {
    name: ProviderName,
    key: Option<Pii<String>>,
    url: String,
    model: String,
    dialect: Dialect,
    output_tokens: u32,
    /// What every request ends with.
    fixed: Map<String, Value>,
}

impl Chat {
    pub(super) fn new(settings: &Settings, dialect: Dialect) -> Result<Self, SettingsError> {
        settings.only_options(OPTIONS)?;
        if settings.model.is_empty() {
            return Err(settings.error("it needs a model: give model = \"…\""));
        }
        let mut fixed = Map::new();
        for (name, most) in [("temperature", 2.0), ("top_p", 1.0)] {
            fixed.extend(number(settings, name, most)?.map(|value| (name.to_owned(), value)));
        }
        fixed.extend(count(settings, "seed")?.map(|seed| ("seed".to_owned(), json!(seed))));
        let effort = settings.option("reasoning_effort").or_else(|| (dialect.effort)(&settings.model).map(Into::into));
        let words = [
            ("reasoning_effort", effort),
            ("verbosity", settings.option("verbosity")),
            ("service_tier", settings.option("service_tier")),
            ("prompt_cache_key", settings.option("prompt_cache_key")),
        ];
        fixed.extend(words.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
        fixed.extend(table(settings, "extra_body")?);
        if let Some(parallel) = flag(settings, "parallel_tool_calls")? {
            fixed.insert("parallel_tool_calls".into(), parallel.into());
        }
        Ok(Self {
            name: settings.name.clone(),
            key: settings.key.clone(),
            url: settings.url.clone(),
            model: settings.model.clone(),
            dialect,
            output_tokens: output_tokens(settings)?,
            fixed,
        })
    }

    fn headers(&self) -> Vec<Header> {
        bearer(self.key.as_ref())
    }

    fn body(&self, prompt: &Prompt) -> Value {
        let mut body = Map::new();
        body.insert("model".into(), json!(self.model));
        if !prompt.tools.is_empty() {
            let tool = |tool: &super::ToolSpec| {
                let (name, about) = (&tool.name, &tool.description);
                json!({"type": "function", "function": {"name": name, "description": about, "parameters": tool.parameters}})
            };
            body.insert("tools".into(), prompt.tools.iter().map(tool).collect());
        }
        body.insert("messages".into(), Value::Array(messages(prompt)));
        body.insert("stream".into(), json!(true));
        if let Some(options) = self.dialect.stream_options {
            body.insert("stream_options".into(), options());
        }
        body.insert(self.dialect.limit_field.into(), json!(limit(prompt.output_tokens_max, self.output_tokens)));
        let mut fixed = self.fixed.clone();
        if prompt.tools.is_empty() {
            // Refused by OpenAI where there are no tools.
            fixed.remove("parallel_tool_calls");
        }
        body.extend(fixed);
        Value::Object(body)
    }
}

/// `Authorization: Bearer` and the type of the body.
pub(super) fn bearer(key: Option<&Pii<String>>) -> Vec<Header> {
    let mut headers = vec![("content-type", Pii::new("application/json".to_owned()))];
    headers.extend(key.map(|key| ("authorization", Pii::new(format!("Bearer {}", key.expose())))));
    headers
}

fn messages(prompt: &Prompt) -> Vec<Value> {
    let mut messages = Vec::with_capacity(prompt.messages.len() + 1);
    if !prompt.instructions.is_empty() {
        messages.push(json!({"role": "system", "content": prompt.instructions}));
    }
    for turn in history::turns(&prompt.messages) {
        match turn {
            Turn::Caller(words) => messages.push(json!({"role": "user", "content": words})),
            Turn::Agent { text, calls } if calls.is_empty() => {
                messages.push(json!({"role": "assistant", "content": text}));
            }
            Turn::Agent { text, calls } => {
                let content = if text.is_empty() { Value::Null } else { text.into() };
                let call = |call: &&ToolCall| {
                    let function = json!({"name": call.name, "arguments": written(call)});
                    json!({"id": history::portable(&call.id), "type": "function", "function": function})
                };
                let calls: Vec<Value> = calls.iter().map(call).collect();
                messages.push(json!({"role": "assistant", "content": content, "tool_calls": calls}));
            }
            Turn::Results(answers) => messages.extend(answers.iter().map(|answer| {
                json!({"role": "tool", "tool_call_id": history::portable(answer.call), "content": told(answer)})
            })),
        }
    }
    messages
}

/// The arguments of a call as JSON text.
pub(super) fn written(call: &ToolCall) -> String {
    Value::Object(call.arguments.expose().clone()).to_string()
}

/// A tool's answer where the vendor has no field for failure.
pub(super) fn told(answer: &Answer<'_>) -> String {
    if answer.failed { json!({"error": answer.content}).to_string() } else { answer.content.to_owned() }
}

impl LlmVendor for Chat {
    fn capabilities(&self) -> LlmCapabilities {
        LlmCapabilities { tools: true, prompt_cache: self.dialect.prompt_cache }
    }

    fn request(&self, prompt: &Prompt) -> Request {
        let body = Pii::new(self.body(prompt).to_string().into());
        let url = url(&self.url, "/chat/completions", &[], false);
        Request { method: "POST", url, headers: self.headers(), body }
    }

    fn warm(&self) -> Option<Request> {
        let headers = self.headers();
        let get = |path: &str| Request {
            method: "GET",
            url: url(&self.url, path, &[], false),
            headers: headers.clone(),
            body: Pii::default(),
        };
        Some(match self.dialect.warm {
            Warm::Model => get(&format!("/models/{}", query_value(&self.model))),
            Warm::Models => get("/models"),
            Warm::Load => {
                let base = self.url.trim_end_matches('/').trim_end_matches("/v1");
                let body = json!({"model": self.model, "stream": false}).to_string();
                let url = format!("{base}/api/generate");
                Request { method: "POST", url, headers, body: Pii::new(body.into()) }
            }
        })
    }

    fn reply(&self) -> Box<dyn Reply> {
        Box::new(ChatReply::new(self.name.clone()))
    }

    fn refused(&self, refusal: Refusal) -> ProviderError {
        fault::refused(&self.name, refusal)
    }
}

/// One answer.
#[derive(Debug)]
pub(super) struct ChatReply {
    provider: ProviderName,
    aloud: Aloud,
    calls: Calls,
    /// Words of the model's own refusal came.
    refusal: bool,
    finish: Option<Finish>,
    usage: Usage,
    progress: u64,
    done: bool,
}

impl ChatReply {
    pub(super) fn new(provider: ProviderName) -> Self {
        Self {
            provider,
            aloud: Aloud::default(),
            calls: Calls::default(),
            refusal: false,
            finish: None,
            usage: Usage::default(),
            progress: 0,
            done: false,
        }
    }

    fn choice(&mut self, choice: &Value, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        let delta = choice.get("delta").unwrap_or(&Value::Null);
        if let Some(text) = delta.get("content").and_then(Value::as_str).filter(|text| !text.is_empty()) {
            let words = self.aloud.push(text);
            self.say(words, thoughts);
        }
        if delta.get("refusal").and_then(Value::as_str).is_some_and(|words| !words.is_empty()) {
            self.refusal = true;
            self.progress += 1;
        }
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            let word = |pointer| fault::text(call, pointer).unwrap_or_default();
            // Ollama's older versions give the arguments as an object.
            let object = call.pointer("/function/arguments").filter(|value| value.is_object()).map(Value::to_string);
            let arguments = object.as_deref().unwrap_or_else(|| word("/function/arguments"));
            let index = call.get("index").and_then(Value::as_u64);
            let fragment = Fragment { index, id: word("/id"), name: word("/function/name"), arguments };
            self.calls.add(&self.provider, fragment)?;
            self.progress += 1;
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(match reason {
                "length" | "model_length" => Finish::Length,
                "content_filter" => Finish::Filtered,
                "refusal" => Finish::Refused,
                "tool_calls" | "function_call" => Finish::ToolCalls,
                // `stop`, `eos` and whatever else a server calls the end.
                _ => Finish::Complete,
            });
        }
        Ok(())
    }

    fn say(&mut self, words: String, thoughts: &mut Vec<Thought>) {
        if !words.is_empty() {
            self.progress += 1;
            thoughts.push(Thought::Text(Pii::new(words)));
        }
    }

    fn count(&mut self, usage: &Value) {
        let number = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
        let counted = Usage {
            input_tokens: number("/prompt_tokens").unwrap_or_default(),
            cached_tokens: number("/prompt_tokens_details/cached_tokens").unwrap_or_default(),
            output_tokens: number("/completion_tokens").unwrap_or_default(),
        };
        // Some servers count along: the last count holds.
        if counted != Usage::default() {
            self.usage = counted;
        }
    }

    fn close(&mut self, thoughts: &mut Vec<Thought>) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let words = self.aloud.finish();
        self.say(words, thoughts);
        let finish = match self.finish {
            _ if self.refusal => Finish::Refused,
            Some(finish @ (Finish::Length | Finish::Filtered | Finish::Refused)) => finish,
            // Some servers say `stop` after tool calls, some `tool_calls` without any.
            _ if self.calls.is_empty() => Finish::Complete,
            _ => Finish::ToolCalls,
        };
        if !matches!(finish, Finish::Filtered | Finish::Refused) {
            self.calls.finish(finish == Finish::Length, thoughts);
        }
        thoughts.push(Thought::Finished { finish, usage: self.usage });
    }
}

impl Reply for ChatReply {
    fn event(&mut self, _name: Option<&str>, data: &str, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        if data.trim() == "[DONE]" {
            // A server that never says why it ended, but that it did.
            if self.finish.is_some() || self.progress > 0 {
                self.close(thoughts);
            }
            return Ok(());
        }
        let chunk = Value::Object(object(&self.provider, data)?);
        let errors = [chunk.get("error"), chunk.pointer("/x_groq/error")];
        if let Some(error) = errors.into_iter().flatten().find(|error| !error.is_null()) {
            if fault::text(error, "/code").is_some_and(|code| FILTERED.contains(&code)) {
                self.finish = Some(Finish::Filtered);
                self.close(thoughts);
                return Ok(());
            }
            return Err(fault::within(&self.provider, error));
        }
        if let Some(choice) = chunk.pointer("/choices/0") {
            self.choice(choice, thoughts)?;
        }
        for usage in [chunk.get("usage"), chunk.pointer("/x_groq/usage")].into_iter().flatten() {
            self.count(usage);
        }
        Ok(())
    }

    fn progress(&self) -> u64 {
        self.progress
    }

    fn ended(&mut self, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        if self.finish.is_none() && !self.done {
            return Err(fault::ended_early(&self.provider));
        }
        self.close(thoughts);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
