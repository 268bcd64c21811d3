//! The objects of OpenAI Realtime: session, items, errors.

use crate::base::chat::{Message, ToolSpec};
use crate::providers::error::{in_short, is_unpaid};
use crate::providers::exchange::wait_in_words;
use crate::providers::format::{AudioFormat, Encoding};
use crate::providers::realtime::protocol::RealtimeFormats;
use crate::providers::realtime::{RealtimeRequest, TurnsBy, json};
use crate::providers::{ProviderError, ProviderName, Settings};
use serde_json::{Map, Value, json};

/// Transcribes the caller where no other model is configured.
const TRANSCRIPTION_MODEL: &str = "gpt-live-transcribe";

fn format(format: AudioFormat) -> Value {
    match format.encoding {
        Encoding::Mulaw => json!({"type": "audio/pcmu"}),
        Encoding::Alaw => json!({"type": "audio/pcma"}),
        Encoding::Pcm16 => json!({"type": "audio/pcm", "rate": format.rate.0}),
    }
}

/// Copies options that are given.
fn copy(settings: &Settings, names: &[&str], into: &mut Map<String, Value>) {
    for name in names {
        if let Some(value) = settings.options.get(*name) {
            into.insert((*name).to_owned(), value.clone());
        }
    }
}

fn turn_detection(settings: &Settings, turns: TurnsBy) -> Value {
    let mut detection = Map::new();
    let kind = match turns {
        TurnsBy::Local => return Value::Null,
        TurnsBy::Vendor => {
            let names = ["threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms"];
            copy(settings, &names, &mut detection);
            "server_vad"
        }
        TurnsBy::VendorSemantic => {
            copy(settings, &["eagerness"], &mut detection);
            "semantic_vad"
        }
    };
    detection.insert("type".into(), kind.into());
    detection.insert("create_response".into(), true.into());
    detection.insert("interrupt_response".into(), true.into());
    Value::Object(detection)
}

/// The whole configuration of a session.
pub(super) fn session(settings: &Settings, request: &RealtimeRequest, formats: RealtimeFormats) -> Value {
    let mut transcription = Map::new();
    let model = settings.option("transcription_model").unwrap_or_else(|| TRANSCRIPTION_MODEL.to_owned());
    transcription.insert("model".into(), model.into());
    let language = request.language.as_deref().unwrap_or(&settings.language);
    // ISO 639-1 without a region.
    if let Some(language) = language.split('-').next().filter(|language| !language.is_empty()) {
        transcription.insert("language".into(), language.into());
    }
    let mut input = Map::new();
    input.insert("format".into(), format(formats.input));
    input.insert("transcription".into(), Value::Object(transcription));
    input.insert("turn_detection".into(), turn_detection(settings, request.turns));
    if let Some(kind) = settings.option("noise_reduction") {
        input.insert("noise_reduction".into(), json!({"type": kind}));
    }
    let mut output = Map::new();
    output.insert("format".into(), format(formats.output));
    let voice = request.voice.as_deref().unwrap_or(&settings.voice);
    if !voice.is_empty() {
        output.insert("voice".into(), voice.into());
    }
    copy(settings, &["speed"], &mut output);
    let mut session = Map::new();
    session.insert("type".into(), "realtime".into());
    session.insert("output_modalities".into(), json!(["audio"]));
    session.insert("instructions".into(), request.instructions.clone().into());
    session.insert("audio".into(), json!({"input": input, "output": output}));
    session.insert("tools".into(), tools(&request.tools));
    session.insert("tool_choice".into(), "auto".into());
    copy(settings, &["max_output_tokens", "truncation"], &mut session);
    if let Some(effort) = settings.option("reasoning_effort") {
        session.insert("reasoning".into(), json!({"effort": effort}));
    }
    Value::Object(session)
}

pub(super) fn tools(tools: &[ToolSpec]) -> Value {
    let tool = |tool: &ToolSpec| json!({"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters});
    tools.iter().map(tool).collect()
}

pub(super) fn caller(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

/// What was said so far.
pub(super) fn items(messages: &[Message]) -> Vec<Value> {
    let mut items = Vec::new();
    for message in messages {
        match message {
            Message::Caller(text) => items.push(caller(text.expose())),
            Message::Agent { text, calls } => {
                if !text.expose().is_empty() {
                    let content = json!([{"type": "output_text", "text": text.expose()}]);
                    items.push(json!({"type": "message", "role": "assistant", "content": content}));
                }
                items.extend(calls.iter().map(|call| {
                    let arguments = Value::Object(call.arguments.expose().clone()).to_string();
                    json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments})
                }));
            }
            Message::ToolResult { call, content, .. } => {
                items.push(json!({"type": "function_call_output", "call_id": call, "output": content.expose()}));
            }
        }
    }
    items
}

/// The vendor's error object by whose fault it is.
pub(super) fn error(provider: ProviderName, error: &Value) -> ProviderError {
    let (kind, code, message) = (json::text(error, "/type"), json::text(error, "/code"), json::text(error, "/message"));
    let reason = match code {
        "" => in_short(message),
        code => format!("{code}: {}", in_short(message)),
    };
    match code {
        code if is_unpaid(code) || is_unpaid(kind) => ProviderError::Quota { provider, reason },
        "invalid_api_key" | "account_deactivated" => ProviderError::Authentication { provider, reason },
        "session_expired" => ProviderError::Transient { provider, reason },
        code if code.contains("rate_limit") => {
            ProviderError::RateLimited { provider, retry_after: wait_in_words(message) }
        }
        _ => match kind {
            "invalid_request_error" => ProviderError::BadRequest { provider, reason },
            "server_error" => ProviderError::Transient { provider, reason },
            _ => ProviderError::Failed { provider, reason },
        },
    }
}
