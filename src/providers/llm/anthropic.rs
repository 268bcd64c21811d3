//! Anthropic's Messages interface. Source: anthropic-python 2.12.0 and the vendor's guide to version 2026-10-21.
//!
//! Its cache is told where to end: behind the tools, behind the instructions, and behind the last message, where the
//! next turn of the call finds it again (of four places, three).

use super::calls::{Calls, Fragment};
use super::fault::{self, object, text};
use super::history::{self, Turn};
use super::parameters::{flag, limit, number, output_tokens, table};
use super::protocol::{LlmVendor, Reply};
use super::stream::Streaming;
use super::{Finish, LanguageModel, LlmCapabilities, Prompt, Thought, ToolCall, Usage};
use crate::base::Pii;
use crate::providers::catalogue::Offer;
use crate::providers::exchange::Refusal;
use crate::providers::wire::{Header, Request, query_value, url};
use crate::providers::{ProviderError, ProviderName, Settings, SettingsError};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const OPTIONS: &[&str] = &[
    "temperature",
    "top_p",
    "max_tokens",
    "thinking",
    "effort",
    "service_tier",
    "speed",
    "cache",
    "parallel_tool_calls",
    "auth",
    "anthropic_version",
    "extra_body",
];
/// The version of the interface that is spoken here. It knows no sampling parameters.
const VERSION: &str = "2026-10-21";
/// The one before, which older models take `temperature` and `top_p` in.
const SAMPLING_VERSION: &str = "2023-06-01";
/// How [`ToolCall::opaque`] begins when it holds the thinking that led to the call.
const THINKING: &str = "anthropic-thinking:";
/// Octets of thinking that are kept to be shown again.
const THINKING_BYTES: usize = 64 * 1024;

/// Anthropic.
pub(super) const OFFER: Offer<dyn LanguageModel> = Offer {
    vendor: "anthropic",
    title: "Anthropic",
    key_variable: "ANTHROPIC_API_KEY",
    url: "https://api.anthropic.com/v1",
    model: "claude-haiku-4-5",
    voice: "",
    options: OPTIONS,
    build: |settings, network| Ok(Arc::new(Streaming::new(Anthropic::new(settings)?, settings, network))),
};

/// Anthropic.
#[derive(Debug)]
pub(super) struct Anthropic {
    name: ProviderName,
    /// The header with the key.
    auth: Header,
    url: String,
    model: String,
    version: String,
    output_tokens: u32,
    /// `cache_control`; `None` for no caching.
    cache: Option<Value>,
    parallel: Option<bool>,
    fixed: Map<String, Value>,
}

impl Anthropic {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        settings.only_options(OPTIONS)?;
        let cache = match settings.option("cache").as_deref() {
            None | Some("5m") => Some(json!({"type": "ephemeral"})),
            Some("1h") => Some(json!({"type": "ephemeral", "ttl": "1h"})),
            Some("off") => None,
            Some(_) => return Err(settings.error("option `cache` must be \"5m\", \"1h\" or \"off\"")),
        };
        let key = settings.required_key()?;
        let auth = match settings.option("auth").as_deref() {
            None | Some("x-api-key") => ("x-api-key", key.clone()),
            Some("bearer") => ("authorization", Pii::new(format!("Bearer {}", key.expose()))),
            Some(_) => return Err(settings.error("option `auth` must be \"x-api-key\" or \"bearer\"")),
        };
        let mut fixed = Map::new();
        for (name, most) in [("temperature", 1.0), ("top_p", 1.0)] {
            fixed.extend(number(settings, name, most)?.map(|value| (name.to_owned(), value)));
        }
        let version = match settings.option("anthropic_version") {
            Some(version) if version != SAMPLING_VERSION && !fixed.is_empty() => {
                let reason = format!("temperature and top_p need anthropic_version = \"{SAMPLING_VERSION}\"");
                return Err(settings.error(reason));
            }
            Some(version) => version,
            None if fixed.is_empty() => VERSION.into(),
            None => SAMPLING_VERSION.into(),
        };
        let thinking = settings.options.get("thinking").map(|thinking| match thinking {
            Value::String(kind) => json!({"type": kind}),
            table => table.clone(),
        });
        let words = [
            ("thinking", thinking),
            ("output_config", settings.option("effort").map(|effort| json!({"effort": effort}))),
            ("service_tier", settings.option("service_tier").map(Into::into)),
            ("speed", settings.option("speed").map(Into::into)),
        ];
        fixed.extend(words.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        fixed.extend(table(settings, "extra_body")?);
        Ok(Self {
            name: settings.name.clone(),
            auth,
            url: settings.url.clone(),
            model: settings.model.clone(),
            version,
            output_tokens: output_tokens(settings)?,
            cache,
            parallel: flag(settings, "parallel_tool_calls")?,
            fixed,
        })
    }

    fn headers(&self) -> Vec<Header> {
        vec![
            ("content-type", Pii::new("application/json".to_owned())),
            self.auth.clone(),
            ("anthropic-version", Pii::new(self.version.clone())),
        ]
    }

    /// Ends the cached part of the prompt behind this block.
    fn mark(&self, block: Option<&mut Value>) {
        if let (Some(cache), Some(Value::Object(block))) = (&self.cache, block) {
            block.insert("cache_control".into(), cache.clone());
        }
    }

    fn body(&self, prompt: &Prompt) -> Value {
        let turns = history::turns(&prompt.messages);
        let mut body = Map::new();
        body.insert("model".into(), json!(self.model));
        body.insert("max_tokens".into(), json!(limit(prompt.output_tokens_max, self.output_tokens)));
        let (tools, choice) = self.tools(prompt, &turns);
        if !tools.is_empty() {
            body.insert("tools".into(), Value::Array(tools));
        }
        body.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
        if !prompt.instructions.is_empty() {
            let mut system = json!({"type": "text", "text": prompt.instructions});
            self.mark(Some(&mut system));
            body.insert("system".into(), json!([system]));
        }
        let mut messages = messages(&turns);
        let last = messages.last_mut().and_then(|message| message.get_mut("content"));
        self.mark(last.and_then(Value::as_array_mut).and_then(|blocks| blocks.last_mut()));
        body.insert("messages".into(), Value::Array(messages));
        body.insert("stream".into(), json!(true));
        body.extend(self.fixed.clone());
        Value::Object(body)
    }

    /// The tools and how they may be chosen. A conversation that speaks of tools needs some declared, even when none may
    /// be called any more.
    fn tools(&self, prompt: &Prompt, turns: &[Turn<'_>]) -> (Vec<Value>, Option<Value>) {
        if prompt.tools.is_empty() {
            let gone = |name: &&str| json!({"name": name, "input_schema": {"type": "object"}});
            let gone: Vec<Value> = history::tools_named(turns).iter().map(gone).collect();
            let choice = (!gone.is_empty()).then(|| json!({"type": "none"}));
            return (gone, choice);
        }
        let tool = |tool: &super::ToolSpec| json!({"name": tool.name, "description": tool.description, "input_schema": tool.parameters});
        let mut tools: Vec<Value> = prompt.tools.iter().map(tool).collect();
        self.mark(tools.last_mut());
        let choice = self.parallel.map(|parallel| json!({"type": "auto", "disable_parallel_tool_use": !parallel}));
        (tools, choice)
    }
}

/// Messages of strictly alternating roles; the results of tools stand before words.
fn messages(turns: &[Turn<'_>]) -> Vec<Value> {
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::with_capacity(turns.len());
    for turn in turns {
        let (role, blocks) = match turn {
            Turn::Caller(words) => ("user", vec![json!({"type": "text", "text": words})]),
            Turn::Agent { text, calls } => ("assistant", spoken(text, calls)),
            Turn::Results(answers) => {
                let block = |answer: &history::Answer<'_>| {
                    let id = history::portable(answer.call);
                    let mut block = json!({"type": "tool_result", "tool_use_id": id, "content": answer.content});
                    if answer.failed {
                        block["is_error"] = true.into();
                    }
                    block
                };
                ("user", answers.iter().map(block).collect())
            }
        };
        match messages.last_mut() {
            Some((last, before)) if *last == role => before.extend(blocks),
            _ => messages.push((role, blocks)),
        }
    }
    messages.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

fn spoken(text: &str, calls: &[&ToolCall]) -> Vec<Value> {
    let thinking = calls.iter().find_map(|call| call.opaque.as_deref()?.strip_prefix(THINKING));
    let mut blocks: Vec<Value> = thinking.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    if !text.is_empty() {
        blocks.push(json!({"type": "text", "text": text}));
    }
    blocks.extend(calls.iter().map(|call| {
        let input = Value::Object(call.arguments.expose().clone());
        json!({"type": "tool_use", "id": history::portable(&call.id), "name": call.name, "input": input})
    }));
    blocks
}

impl LlmVendor for Anthropic {
    fn capabilities(&self) -> LlmCapabilities {
        LlmCapabilities { tools: true, prompt_cache: self.cache.is_some() }
    }

    fn request(&self, prompt: &Prompt) -> Request {
        let body = Pii::new(self.body(prompt).to_string().into());
        Request { method: "POST", url: url(&self.url, "/messages", &[], false), headers: self.headers(), body }
    }

    fn warm(&self) -> Option<Request> {
        let url = url(&self.url, &format!("/models/{}", query_value(&self.model)), &[], false);
        Some(Request { method: "GET", url, headers: self.headers(), body: Pii::default() })
    }

    fn reply(&self) -> Box<dyn Reply> {
        Box::new(MessagesReply::new(self.name.clone()))
    }

    fn refused(&self, refusal: Refusal) -> ProviderError {
        let body: Value = serde_json::from_str(&refusal.body).unwrap_or_default();
        let spent = text(&body, "/error/details/error_code") == Some("enforced_spend_limit_reached")
            || text(&body, "/error/type") == Some("billing_error")
            || text(&body, "/error/message").is_some_and(|words| words.contains("credit balance is too low"));
        if spent {
            return ProviderError::Quota { provider: self.name.clone(), reason: refusal.message() };
        }
        refusal.into_error(self.name.clone())
    }
}

/// One answer.
#[derive(Debug)]
struct MessagesReply {
    provider: ProviderName,
    calls: Calls,
    /// Blocks of thinking as they are to be shown again, and whether the last one still grows.
    thinking: Vec<Value>,
    thinking_bytes: usize,
    finish: Option<Finish>,
    usage: Usage,
    progress: u64,
    done: bool,
}

impl MessagesReply {
    fn new(provider: ProviderName) -> Self {
        Self {
            provider,
            calls: Calls::default(),
            thinking: Vec::new(),
            thinking_bytes: 0,
            finish: None,
            usage: Usage::default(),
            progress: 0,
            done: false,
        }
    }

    fn block_starts(&mut self, event: &Value, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        let block = event.get("content_block").unwrap_or(&Value::Null);
        let word = |pointer| text(block, pointer).unwrap_or_default();
        match word("/type") {
            "tool_use" => {
                self.progress += 1;
                let index = event.get("index").and_then(Value::as_u64);
                let fragment = Fragment { index, id: word("/id"), name: word("/name"), arguments: "" };
                self.calls.add(&self.provider, fragment)?;
            }
            "text" => self.say(word("/text"), thoughts),
            "thinking" | "redacted_thinking" => self.thinking.push(block.clone()),
            _ => {}
        }
        Ok(())
    }

    fn block_grows(&mut self, event: &Value, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        let word = |pointer| text(event, pointer).unwrap_or_default();
        match word("/delta/type") {
            "text_delta" => self.say(word("/delta/text"), thoughts),
            "input_json_delta" => {
                self.progress += 1;
                let index = event.get("index").and_then(Value::as_u64);
                let fragment = Fragment { index, arguments: word("/delta/partial_json"), ..Fragment::default() };
                self.calls.add(&self.provider, fragment)?;
            }
            "thinking_delta" => self.think("thinking", word("/delta/thinking")),
            "signature_delta" => self.think("signature", word("/delta/signature")),
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, words: &str, thoughts: &mut Vec<Thought>) {
        if !words.is_empty() {
            self.progress += 1;
            thoughts.push(Thought::Text(Pii::new(words.to_owned())));
        }
    }

    fn think(&mut self, field: &str, words: &str) {
        self.thinking_bytes += words.len();
        if self.thinking_bytes > THINKING_BYTES {
            // Half a thought would be refused.
            self.thinking.clear();
            return;
        }
        if let Some(Value::Object(block)) = self.thinking.last_mut() {
            let before = block.get(field).and_then(Value::as_str).unwrap_or_default();
            let grown = format!("{before}{words}");
            block.insert(field.to_owned(), grown.into());
        }
    }

    fn count(&mut self, usage: Option<&Value>) {
        let number = |name: &str| usage.and_then(|usage| usage.get(name)).and_then(Value::as_u64);
        let read = number("cache_read_input_tokens");
        if let Some(input) = number("input_tokens") {
            let (read, written) = (read.unwrap_or_default(), number("cache_creation_input_tokens").unwrap_or_default());
            self.usage.input_tokens = self.usage.input_tokens.max(input + read + written);
            self.usage.cached_tokens = self.usage.cached_tokens.max(read);
        }
        if let Some(output) = number("output_tokens") {
            self.usage.output_tokens = output;
        }
    }

    fn close(&mut self, thoughts: &mut Vec<Thought>) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let finish = match self.finish {
            Some(Finish::Complete) | None if !self.calls.is_empty() => Finish::ToolCalls,
            finish => finish.unwrap_or(Finish::Complete),
        };
        if finish != Finish::Refused {
            if !self.thinking.is_empty() {
                let thinking = Value::Array(std::mem::take(&mut self.thinking));
                self.calls.mark(format!("{THINKING}{thinking}"));
            }
            self.calls.finish(finish == Finish::Length, thoughts);
        }
        thoughts.push(Thought::Finished { finish, usage: self.usage });
    }

    fn failed(&self, error: &Value) -> ProviderError {
        let message = text(error, "/message").unwrap_or_default();
        let status = match text(error, "/type").unwrap_or_default() {
            "invalid_request_error" => 400,
            "authentication_error" => 401,
            "billing_error" => 402,
            "permission_error" => 403,
            "not_found_error" => 404,
            "request_too_large" => 413,
            "rate_limit_error" => 429,
            "overloaded_error" => 529,
            _ => 500,
        };
        ProviderError::from_status(self.provider.clone(), status, message, None)
    }
}

impl Reply for MessagesReply {
    fn event(&mut self, _name: Option<&str>, data: &str, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        let event = Value::Object(object(&self.provider, data)?);
        match text(&event, "/type").unwrap_or_default() {
            "message_start" => self.count(event.pointer("/message/usage")),
            "content_block_start" => self.block_starts(&event, thoughts)?,
            "content_block_delta" => self.block_grows(&event, thoughts)?,
            "message_delta" => {
                self.count(event.get("usage"));
                if let Some(reason) = text(&event, "/delta/stop_reason") {
                    self.finish = Some(match reason {
                        "tool_use" => Finish::ToolCalls,
                        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
                        "refusal" => Finish::Refused,
                        // `end_turn`, `stop_sequence`, `pause_turn` and what may come.
                        _ => Finish::Complete,
                    });
                }
            }
            "message_stop" => self.close(thoughts),
            "error" => return Err(self.failed(event.get("error").unwrap_or(&Value::Null))),
            _ => {}
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
