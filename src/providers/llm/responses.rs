//! OpenAI's Responses interface. Source: openai-python 3.54.0.
//!
//! Nothing is stored at the vendor (`store: false`): the conversation is told anew with every request, and its stable
//! start is found in the vendor's cache.

use super::calls::{Calls, Fragment};
use super::chat::{bearer, told, written};
use super::fault::{self, FILTERED, object, text};
use super::history::{self, Turn};
use super::parameters::{flag, least_effort, limit, number, output_tokens, table};
use super::protocol::{LlmVendor, Reply};
use super::stream::Streaming;
use super::{Finish, LanguageModel, LlmCapabilities, Prompt, Thought, Usage};
use crate::base::Pii;
use crate::providers::catalogue::Offer;
use crate::providers::exchange::Refusal;
use crate::providers::wire::{Request, query_value, url};
use crate::providers::{ProviderError, ProviderName, Settings, SettingsError};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const OPTIONS: &[&str] = &[
    "temperature",
    "top_p",
    "max_tokens",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "prompt_cache_key",
    "parallel_tool_calls",
    "extra_body",
];

/// OpenAI.
pub(super) const OFFER: Offer<dyn LanguageModel> = Offer {
    vendor: "openai",
    title: "OpenAI, Responses interface",
    key_variable: "OPENAI_API_KEY",
    url: "https://api.openai.com/v1",
    model: "gpt-5.4-mini",
    voice: "",
    options: OPTIONS,
    build: |settings, network| Ok(Arc::new(Streaming::new(Responses::new(settings)?, settings, network))),
};

/// OpenAI by its Responses interface.
#[derive(Debug)]
pub(super) struct Responses {
    name: ProviderName,
    key: Pii<String>,
    url: String,
    model: String,
    output_tokens: u32,
    fixed: Map<String, Value>,
}

impl Responses {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        settings.only_options(OPTIONS)?;
        let mut fixed = Map::new();
        for (name, most) in [("temperature", 2.0), ("top_p", 1.0)] {
            fixed.extend(number(settings, name, most)?.map(|value| (name.to_owned(), value)));
        }
        let effort = settings.option("reasoning_effort").or_else(|| least_effort(&settings.model).map(Into::into));
        let words = [
            ("reasoning", effort.map(|effort| json!({"effort": effort}))),
            ("text", settings.option("verbosity").map(|verbosity| json!({"verbosity": verbosity}))),
            ("service_tier", settings.option("service_tier").map(Into::into)),
            ("prompt_cache_key", settings.option("prompt_cache_key").map(Into::into)),
        ];
        fixed.extend(words.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        fixed.extend(table(settings, "extra_body")?);
        if let Some(parallel) = flag(settings, "parallel_tool_calls")? {
            fixed.insert("parallel_tool_calls".into(), parallel.into());
        }
        Ok(Self {
            name: settings.name.clone(),
            key: settings.required_key()?.clone(),
            url: settings.url.clone(),
            model: settings.model.clone(),
            output_tokens: output_tokens(settings)?,
            fixed,
        })
    }

    fn body(&self, prompt: &Prompt) -> Value {
        let mut body = Map::new();
        body.insert("model".into(), json!(self.model));
        body.insert("store".into(), json!(false));
        if !prompt.instructions.is_empty() {
            body.insert("instructions".into(), json!(prompt.instructions));
        }
        if !prompt.tools.is_empty() {
            let tool = |tool: &super::ToolSpec| {
                let (name, about) = (&tool.name, &tool.description);
                // Without `strict: false` this interface wants every argument to be required.
                json!({"type": "function", "name": name, "description": about, "parameters": tool.parameters,
                    "strict": false})
            };
            body.insert("tools".into(), prompt.tools.iter().map(tool).collect());
        }
        body.insert("input".into(), Value::Array(input(prompt)));
        body.insert("stream".into(), json!(true));
        body.insert("stream_options".into(), json!({"include_obfuscation": false}));
        body.insert("max_output_tokens".into(), json!(limit(prompt.output_tokens_max, self.output_tokens)));
        body.extend(self.fixed.clone());
        Value::Object(body)
    }
}

fn input(prompt: &Prompt) -> Vec<Value> {
    let mut items = Vec::with_capacity(prompt.messages.len());
    for turn in history::turns(&prompt.messages) {
        match turn {
            Turn::Caller(words) => items.push(json!({"role": "user", "content": words})),
            Turn::Agent { text, calls } => {
                if !text.is_empty() {
                    items.push(json!({"role": "assistant", "content": text}));
                }
                items.extend(calls.into_iter().map(|call| {
                    let id = history::portable(&call.id);
                    json!({"type": "function_call", "call_id": id, "name": call.name, "arguments": written(call)})
                }));
            }
            Turn::Results(answers) => items.extend(answers.iter().map(|answer| {
                let id = history::portable(answer.call);
                json!({"type": "function_call_output", "call_id": id, "output": told(answer)})
            })),
        }
    }
    items
}

impl LlmVendor for Responses {
    fn capabilities(&self) -> LlmCapabilities {
        LlmCapabilities { tools: true, prompt_cache: true }
    }

    fn request(&self, prompt: &Prompt) -> Request {
        let body = Pii::new(self.body(prompt).to_string().into());
        let url = url(&self.url, "/responses", &[], false);
        Request { method: "POST", url, headers: bearer(Some(&self.key)), body }
    }

    fn warm(&self) -> Option<Request> {
        let path = format!("/models/{}", query_value(&self.model));
        let url = url(&self.url, &path, &[], false);
        Some(Request { method: "GET", url, headers: bearer(Some(&self.key)), body: Pii::default() })
    }

    fn reply(&self) -> Box<dyn Reply> {
        Box::new(ResponsesReply::new(self.name.clone()))
    }

    fn refused(&self, refusal: Refusal) -> ProviderError {
        fault::refused(&self.name, refusal)
    }
}

/// One answer.
#[derive(Debug)]
struct ResponsesReply {
    provider: ProviderName,
    calls: Calls,
    refusal: bool,
    progress: u64,
    done: bool,
}

impl ResponsesReply {
    fn new(provider: ProviderName) -> Self {
        Self { provider, calls: Calls::default(), refusal: false, progress: 0, done: false }
    }

    /// A tool call begins or is whole: only here the interface tells its id and name.
    fn item(&mut self, event: &Value) -> Result<(), ProviderError> {
        if text(event, "/item/type") != Some("function_call") {
            return Ok(());
        }
        self.progress += 1;
        let index = event.get("output_index").and_then(Value::as_u64);
        let word = |pointer| text(event, pointer).unwrap_or_default();
        let fragment = Fragment { index, id: word("/item/call_id"), name: word("/item/name"), arguments: "" };
        self.calls.add(&self.provider, fragment)?;
        // Empty when the call only begins.
        let arguments = text(event, "/item/arguments").filter(|arguments| !arguments.is_empty());
        if let (Some(index), Some(arguments)) = (index, arguments) {
            self.calls.whole(index, arguments);
        }
        Ok(())
    }

    fn close(&mut self, finish: Finish, event: &Value, thoughts: &mut Vec<Thought>) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let usage = Usage {
            input_tokens: number("/response/usage/input_tokens"),
            cached_tokens: number("/response/usage/input_tokens_details/cached_tokens"),
            output_tokens: number("/response/usage/output_tokens"),
        };
        let finish = match finish {
            _ if self.refusal => Finish::Refused,
            Finish::Complete if !self.calls.is_empty() => Finish::ToolCalls,
            finish => finish,
        };
        if !matches!(finish, Finish::Filtered | Finish::Refused) {
            self.calls.finish(finish == Finish::Length, thoughts);
        }
        thoughts.push(Thought::Finished { finish, usage });
    }

    fn failed(&mut self, error: &Value, event: &Value, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        if text(error, "/code").is_some_and(|code| FILTERED.contains(&code)) {
            self.close(Finish::Filtered, event, thoughts);
            return Ok(());
        }
        Err(fault::within(&self.provider, error))
    }
}

impl Reply for ResponsesReply {
    fn event(&mut self, _name: Option<&str>, data: &str, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        // Servers that imitate this interface may end like the older one.
        if data.trim() == "[DONE]" {
            return Ok(());
        }
        let event = Value::Object(object(&self.provider, data)?);
        let delta = text(&event, "/delta").unwrap_or_default();
        match text(&event, "/type").unwrap_or_default() {
            "response.output_text.delta" if !delta.is_empty() => {
                self.progress += 1;
                thoughts.push(Thought::Text(Pii::new(delta.to_owned())));
            }
            "response.refusal.delta" | "response.refusal.done" => {
                self.progress += 1;
                self.refusal = true;
            }
            "response.output_item.added" | "response.output_item.done" => self.item(&event)?,
            "response.function_call_arguments.delta" => {
                self.progress += 1;
                let index = event.get("output_index").and_then(Value::as_u64);
                self.calls.add(&self.provider, Fragment { index, arguments: delta, ..Fragment::default() })?;
            }
            "response.completed" => self.close(Finish::Complete, &event, thoughts),
            "response.incomplete" => {
                let finish = match text(&event, "/response/incomplete_details/reason") {
                    Some("content_filter") => Finish::Filtered,
                    _ => Finish::Length,
                };
                self.close(finish, &event, thoughts);
            }
            "response.failed" => {
                let error = event.pointer("/response/error").unwrap_or(&Value::Null);
                return self.failed(error, &event, thoughts);
            }
            "response.cancelled" => return Err(fault::ended_early(&self.provider)),
            "error" => {
                // Older servers nest it.
                let error = event.get("error").filter(|error| error.is_object()).unwrap_or(&event);
                return self.failed(error, &event, thoughts);
            }
            _ => {}
        }
        Ok(())
    }

    fn progress(&self) -> u64 {
        self.progress
    }

    fn ended(&mut self, _thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        if self.done { Ok(()) } else { Err(fault::ended_early(&self.provider)) }
    }
}

#[cfg(test)]
mod tests;
