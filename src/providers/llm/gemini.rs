//! Google's Gemini interface, `v1beta`. Source: google-genai 3.4.0.

use super::fault::{self, object, text};
use super::history::{self, Answer, Turn};
use super::parameters::{limit, number, output_tokens, table};
use super::protocol::{LlmVendor, Reply};
use super::stream::Streaming;
use super::{Finish, LanguageModel, LlmCapabilities, Prompt, Thought, ToolCall, Usage};
use crate::base::Pii;
use crate::providers::catalogue::Offer;
use crate::providers::exchange::{Refusal, retry_after};
use crate::providers::wire::{Header, Request, query_value, url};
use crate::providers::{ProviderError, ProviderName, Settings, SettingsError};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const OPTIONS: &[&str] =
    &["temperature", "top_p", "max_tokens", "thinking_level", "thinking_budget", "safety_settings", "extra_body"];
/// How [`ToolCall::opaque`] begins when it holds a `thoughtSignature`.
const SIGNATURE: &str = "gemini-signature:";
/// Stands for the signature of a call that another vendor's model made before a failover; Gemini 3 refuses a step whose
/// first call has none.
const FOREIGN: &str = "skip_thought_signature_validator";
/// How an id begins that was made here, where the vendor gave none; it is not shown to the vendor.
const OWN_ID: &str = "gemini_call_";
/// Calls of one answer.
const CALLS: usize = 32;

/// Google.
pub(super) const OFFER: Offer<dyn LanguageModel> = Offer {
    vendor: "gemini",
    title: "Google Gemini",
    key_variable: "GEMINI_API_KEY",
    url: "https://generativelanguage.googleapis.com/v1beta",
    model: "gemini-3.8-flash",
    voice: "",
    options: OPTIONS,
    build: |settings, network| Ok(Arc::new(Streaming::new(Gemini::new(settings)?, settings, network))),
};

/// Gemini.
#[derive(Debug)]
pub(super) struct Gemini {
    name: ProviderName,
    key: Pii<String>,
    url: String,
    model: String,
    output_tokens: u32,
    generation: Map<String, Value>,
    fixed: Map<String, Value>,
}

impl Gemini {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        settings.only_options(OPTIONS)?;
        let mut generation = Map::new();
        for (option, field, most) in [("temperature", "temperature", 2.0), ("top_p", "topP", 1.0)] {
            generation.extend(number(settings, option, most)?.map(|value| (field.to_owned(), value)));
        }
        if let Some(thinking) = thinking(settings)? {
            generation.insert("thinkingConfig".into(), thinking);
        }
        let mut fixed = Map::new();
        fixed.extend(settings.options.get("safety_settings").map(|value| ("safetySettings".to_owned(), value.clone())));
        fixed.extend(table(settings, "extra_body")?);
        Ok(Self {
            name: settings.name.clone(),
            key: settings.required_key()?.clone(),
            url: settings.url.clone(),
            model: settings.model.trim_start_matches("models/").to_owned(),
            output_tokens: output_tokens(settings)?,
            generation,
            fixed,
        })
    }

    fn headers(&self) -> Vec<Header> {
        vec![("content-type", Pii::new("application/json".to_owned())), ("x-goog-api-key", self.key.clone())]
    }

    fn body(&self, prompt: &Prompt) -> Value {
        let mut body = Map::new();
        if !prompt.instructions.is_empty() {
            body.insert("systemInstruction".into(), json!({"parts": [{"text": prompt.instructions}]}));
        }
        if !prompt.tools.is_empty() {
            let tool = |tool: &super::ToolSpec| {
                let (name, about) = (&tool.name, &tool.description);
                json!({"name": name, "description": about, "parametersJsonSchema": tool.parameters})
            };
            let tools: Vec<Value> = prompt.tools.iter().map(tool).collect();
            body.insert("tools".into(), json!([{"functionDeclarations": tools}]));
        }
        body.insert("contents".into(), Value::Array(self.contents(prompt)));
        let mut generation = self.generation.clone();
        generation.insert("maxOutputTokens".into(), json!(limit(prompt.output_tokens_max, self.output_tokens)));
        body.insert("generationConfig".into(), Value::Object(generation));
        body.extend(self.fixed.clone());
        Value::Object(body)
    }

    fn contents(&self, prompt: &Prompt) -> Vec<Value> {
        let signed = !self.model.starts_with("gemini-2") && !self.model.starts_with("gemini-1");
        let mut contents: Vec<(&str, Vec<Value>)> = Vec::with_capacity(prompt.messages.len());
        for turn in history::turns(&prompt.messages) {
            let (role, parts) = match turn {
                Turn::Caller(words) => ("user", vec![json!({"text": words})]),
                Turn::Agent { text, calls } => {
                    let text = (!text.is_empty()).then(|| json!({"text": text}));
                    let call = |(place, call): (usize, &&ToolCall)| called(call, signed && place == 0);
                    ("model", text.into_iter().chain(calls.iter().enumerate().map(call)).collect())
                }
                Turn::Results(answers) => ("user", answers.iter().map(answered).collect()),
            };
            match contents.last_mut() {
                Some((last, before)) if *last == role => before.extend(parts),
                _ => contents.push((role, parts)),
            }
        }
        contents.into_iter().map(|(role, parts)| json!({"role": role, "parts": parts})).collect()
    }
}

/// As little thinking as the model allows, since a caller waits, unless it is configured.
fn thinking(settings: &Settings) -> Result<Option<Value>, SettingsError> {
    let level = settings.option("thinking_level");
    let budget = settings.options.get("thinking_budget");
    Ok(match (level, budget) {
        (Some(_), Some(_)) => return Err(settings.error("give thinking_level or thinking_budget, not both")),
        (Some(level), None) => Some(json!({"thinkingLevel": level})),
        (None, Some(budget)) if budget.is_i64() => Some(json!({"thinkingBudget": budget})),
        (None, Some(_)) => return Err(settings.error("option `thinking_budget` must be a whole number")),
        (None, None) if !settings.model.contains("-flash") => None,
        (None, None) if settings.model.contains("gemini-2.5") => Some(json!({"thinkingBudget": 0})),
        (None, None) if settings.model.contains("gemini-3") => Some(json!({"thinkingLevel": "minimal"})),
        (None, None) => None,
    })
}

/// A call as a part. `first` of its step must be signed.
fn called(call: &ToolCall, first: bool) -> Value {
    let mut function = Map::new();
    if !call.id.starts_with(OWN_ID) {
        function.insert("id".into(), history::portable(&call.id).into());
    }
    function.insert("name".into(), json!(call.name));
    function.insert("args".into(), Value::Object(call.arguments.expose().clone()));
    let mut part = Map::from_iter([("functionCall".to_owned(), Value::Object(function))]);
    let signature = call.opaque.as_deref().and_then(|opaque| opaque.strip_prefix(SIGNATURE));
    if let Some(signature) = signature.or_else(|| first.then_some(FOREIGN)) {
        part.insert("thoughtSignature".into(), signature.into());
    }
    Value::Object(part)
}

fn answered(answer: &Answer<'_>) -> Value {
    let mut function = Map::new();
    if !answer.call.starts_with(OWN_ID) {
        function.insert("id".into(), history::portable(answer.call).into());
    }
    function.insert("name".into(), answer.tool.into());
    let content: Value = serde_json::from_str(answer.content).unwrap_or_else(|_| answer.content.into());
    let field = if answer.failed { "error" } else { "output" };
    function.insert("response".into(), json!({field: content}));
    json!({"functionResponse": function})
}

impl LlmVendor for Gemini {
    fn capabilities(&self) -> LlmCapabilities {
        LlmCapabilities { tools: true, prompt_cache: true }
    }

    fn request(&self, prompt: &Prompt) -> Request {
        let path = format!("/models/{}:streamGenerateContent", query_value(&self.model));
        let body = Pii::new(self.body(prompt).to_string().into());
        Request { method: "POST", url: url(&self.url, &path, &[("alt", "sse")], false), headers: self.headers(), body }
    }

    fn warm(&self) -> Option<Request> {
        let url = url(&self.url, &format!("/models/{}", query_value(&self.model)), &[], false);
        Some(Request { method: "GET", url, headers: self.headers(), body: Pii::default() })
    }

    fn reply(&self) -> Box<dyn Reply> {
        Box::new(GeminiReply::new(self.name.clone()))
    }

    fn refused(&self, refusal: Refusal) -> ProviderError {
        let body: Value = serde_json::from_str(&refusal.body).unwrap_or_default();
        // Some gateways wrap the error into an array.
        let error = body.pointer("/error").or_else(|| body.pointer("/0/error")).unwrap_or(&Value::Null);
        failed(&self.name, error, refusal.status, &refusal)
    }
}

/// The error of a Google interface: a status in words, and details that say more (`google.rpc.Status`).
fn failed(provider: &ProviderName, error: &Value, status: u16, refusal: &Refusal) -> ProviderError {
    let provider = provider.clone();
    let details = || error.get("details").and_then(Value::as_array).into_iter().flatten();
    let reason = text(error, "/message").map_or_else(|| refusal.message(), crate::providers::error::in_short);
    // A wrong key is a bad argument here, with status 400.
    if details().any(|detail| text(detail, "/reason") == Some("API_KEY_INVALID")) {
        return ProviderError::Authentication { provider, reason };
    }
    let daily = |violation: &Value| text(violation, "/quotaId").is_some_and(|id| id.contains("PerDay"));
    let used_up = |detail: &Value| {
        detail.get("violations").and_then(Value::as_array).is_some_and(|violations| violations.iter().any(daily))
    };
    if status == 429 && details().any(used_up) {
        return ProviderError::Quota { provider, reason };
    }
    let wait = details().find_map(|detail| text(detail, "/retryDelay")?.strip_suffix('s').and_then(retry_after));
    ProviderError::from_status(provider, status, &reason, refusal.retry_after.or(wait))
}

/// One answer.
#[derive(Debug)]
struct GeminiReply {
    provider: ProviderName,
    calls: Vec<ToolCall>,
    usage: Usage,
    progress: u64,
    done: bool,
}

impl GeminiReply {
    fn new(provider: ProviderName) -> Self {
        Self { provider, calls: Vec::new(), usage: Usage::default(), progress: 0, done: false }
    }

    fn part(&mut self, part: &Value, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        let word = |pointer| text(part, pointer).unwrap_or_default();
        let thought = part.get("thought").and_then(Value::as_bool) == Some(true);
        if !thought && !word("/text").is_empty() {
            self.progress += 1;
            thoughts.push(Thought::Text(Pii::new(word("/text").to_owned())));
        }
        let Some(call) = part.get("functionCall") else { return Ok(()) };
        self.progress += 1;
        if self.calls.len() == CALLS {
            let reason = "more tool calls than anybody can want".into();
            return Err(ProviderError::Protocol { provider: self.provider.clone(), reason });
        }
        let id = match text(call, "/id") {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => format!("{OWN_ID}{}", self.calls.len()),
        };
        let name = text(call, "/name").unwrap_or_default().to_owned();
        let opaque = text(part, "/thoughtSignature").map(|signature| format!("{SIGNATURE}{signature}"));
        let call = match call.get("args") {
            None | Some(Value::Null) => ToolCall { id, name, arguments: Pii::default(), opaque },
            Some(Value::Object(arguments)) => ToolCall { id, name, arguments: Pii::new(arguments.clone()), opaque },
            Some(other) => ToolCall { opaque, ..ToolCall::malformed(id, name, other.to_string()) },
        };
        self.calls.push(call);
        Ok(())
    }

    fn close(&mut self, finish: Finish, thoughts: &mut Vec<Thought>) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let finish = if finish == Finish::Complete && !self.calls.is_empty() { Finish::ToolCalls } else { finish };
        if !matches!(finish, Finish::Filtered | Finish::Refused) {
            // Calls come whole, even before a limit.
            thoughts.extend(self.calls.drain(..).map(Thought::Call));
        }
        thoughts.push(Thought::Finished { finish, usage: self.usage });
    }

    /// Ends the answer for the vendor's reason.
    fn finish(&mut self, reason: &str, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        let provider = self.provider.clone();
        let finish = match reason {
            "MAX_TOKENS" => Finish::Length,
            "SAFETY"
            | "RECITATION"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "LANGUAGE"
            | "MODEL_ARMOR"
            | "ESCALATION"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => Finish::Filtered,
            "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "MALFORMED_RESPONSE" | "TOO_MANY_TOOL_CALLS" => {
                let reason = format!("the model wrote a broken tool call ({reason})");
                return Err(ProviderError::Failed { provider, reason });
            }
            "MISSING_THOUGHT_SIGNATURE" => {
                let reason = "it misses a signature in the conversation".into();
                return Err(ProviderError::Protocol { provider, reason });
            }
            "PUP_LIMITED_DISABLED" => {
                let reason = "the account is limited by the vendor".into();
                return Err(ProviderError::Authentication { provider, reason });
            }
            // `STOP`, `OTHER` and what may come.
            _ => Finish::Complete,
        };
        self.close(finish, thoughts);
        Ok(())
    }
}

impl Reply for GeminiReply {
    fn event(&mut self, _name: Option<&str>, data: &str, thoughts: &mut Vec<Thought>) -> Result<(), ProviderError> {
        let event = Value::Object(object(&self.provider, data)?);
        if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
            let status = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
            let refusal = Refusal { status: 500, body: String::new(), retry_after: None };
            return Err(failed(&self.provider, error, status.unwrap_or(500), &refusal));
        }
        let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        if event.get("usageMetadata").is_some() {
            self.usage = Usage {
                input_tokens: number("/usageMetadata/promptTokenCount"),
                cached_tokens: number("/usageMetadata/cachedContentTokenCount"),
                output_tokens: number("/usageMetadata/candidatesTokenCount")
                    + number("/usageMetadata/thoughtsTokenCount"),
            };
        }
        let parts = event.pointer("/candidates/0/content/parts").and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            self.part(part, thoughts)?;
        }
        if text(&event, "/promptFeedback/blockReason").is_some_and(|reason| reason != "BLOCKED_REASON_UNSPECIFIED") {
            self.close(Finish::Filtered, thoughts);
        }
        match text(&event, "/candidates/0/finishReason") {
            None | Some("FINISH_REASON_UNSPECIFIED") => Ok(()),
            Some(_) if self.done => Ok(()),
            Some(reason) => self.finish(reason, thoughts),
        }
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
