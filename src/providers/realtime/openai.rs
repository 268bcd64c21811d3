//! OpenAI Realtime (`/v1/realtime`, the shape of general availability; openai-python 3.54.0 `types/realtime`).

mod order;
#[cfg(test)]
mod tests;
mod wire;

use super::protocol::{Answered, RealtimeFormats, RealtimeProtocol, RealtimeVendor, Start, ToolResult};
use super::stream::Realtime;
use super::{AnswerId, RealtimeCapabilities, RealtimeRequest, SpeechToSpeech, json};
use crate::base::Pii;
use crate::base::chat::{ToolSpec, Usage};
use crate::providers::catalogue::Offer;
use crate::providers::format::{AudioFormat, cheapest};
use crate::providers::wire::{Closed, Frame, Handshake, Outbox, url};
use crate::providers::{Network, ProviderError, ProviderName, Settings, SettingsError, base64};
use order::Order;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const FORMATS: [AudioFormat; 3] = [AudioFormat::MULAW, AudioFormat::ALAW, AudioFormat::pcm(24_000)];
/// The vendor ends a session after 60 minutes.
const LIFETIME: Duration = Duration::from_secs(55 * 60);
/// Responses and items remembered: an interruption concerns the last ones.
const REMEMBERED: usize = 8;
/// Errors that change nothing: what was asked for had happened already.
const HARMLESS: [&str; 5] = [
    "response_cancel_not_active",
    "conversation_already_has_active_response",
    "input_audio_buffer_commit_empty",
    "item_create_duplicate_item_id",
    "item_delete_item_does_not_exist",
];

const OPTIONS: &[&str] = &[
    "transcription_model",
    "noise_reduction",
    "threshold",
    "prefix_padding_ms",
    "silence_duration_ms",
    "idle_timeout_ms",
    "eagerness",
    "speed",
    "max_output_tokens",
    "reasoning_effort",
    "truncation",
];

/// In the catalogue.
pub(super) const OFFER: Offer<dyn SpeechToSpeech> = Offer {
    vendor: "openai",
    title: "OpenAI Realtime",
    key_variable: "OPENAI_API_KEY",
    url: "https://api.openai.com/v1",
    model: "gpt-realtime-2.1",
    voice: "marin",
    options: OPTIONS,
    build,
};

fn build(settings: &Settings, network: &Network) -> Result<Arc<dyn SpeechToSpeech>, SettingsError> {
    settings.required_key()?;
    settings.only_options(OPTIONS)?;
    let vendor = OpenAi { settings: settings.clone() };
    let capabilities = RealtimeCapabilities {
        formats: FORMATS.to_vec(),
        local_turns: true,
        tools: true,
        truncate: true,
        update: true,
    };
    Ok(Arc::new(Realtime::new(vendor, capabilities, settings, network)))
}

struct OpenAi {
    settings: Settings,
}

impl RealtimeVendor for OpenAi {
    fn format(&self, request: &RealtimeRequest) -> RealtimeFormats {
        let format = cheapest(request.line, &FORMATS).unwrap_or(AudioFormat::MULAW);
        RealtimeFormats { input: format, output: format, packet_ms: 40 }
    }

    fn lifetime(&self) -> Option<Duration> {
        Some(LIFETIME)
    }

    fn reports_speech(&self) -> bool {
        true
    }

    fn connect(&self, start: &Start<'_>) -> Result<Box<dyn RealtimeProtocol>, ProviderError> {
        Ok(Box::new(Connection {
            settings: self.settings.clone(),
            request: start.request.clone(),
            formats: start.formats,
            answer_due: start.answer_due,
            is_ready: false,
            asked: 0,
            asked_void: 0,
            is_wanted: false,
            answers: 0,
            active: None,
            responses: VecDeque::new(),
            items: VecDeque::new(),
            order: Order::default(),
            events: 0,
        }))
    }
}

/// A response of the vendor.
struct Response {
    id: String,
    answer: AnswerId,
    void: bool,
}

struct Connection {
    settings: Settings,
    request: RealtimeRequest,
    formats: RealtimeFormats,
    answer_due: bool,
    is_ready: bool,
    /// Responses asked for that have not begun.
    asked: u32,
    /// Of these, those that are void: the oldest.
    asked_void: u32,
    /// A response is to be asked for once the one under way is done.
    is_wanted: bool,
    answers: u32,
    /// The response under way.
    active: Option<String>,
    responses: VecDeque<Response>,
    /// The spoken item of each answer.
    items: VecDeque<(AnswerId, String, u64)>,
    order: Order,
    events: u64,
}

impl Connection {
    fn provider(&self) -> ProviderName {
        self.settings.name.clone()
    }

    fn ask(&mut self, response: Option<Value>, out: &mut Outbox) {
        if self.active.is_some() || self.asked > 0 {
            self.is_wanted = true;
            return;
        }
        self.asked += 1;
        self.events += 1;
        let mut message = json!({"type": "response.create", "event_id": format!("create_{}", self.events)});
        if let (Some(response), Some(object)) = (response, message.as_object_mut()) {
            object.insert("response".into(), response);
        }
        out.json(&message);
    }

    /// No response is under way any more.
    fn settled(&mut self, out: &mut Outbox) {
        if self.active.is_none() && self.asked == 0 && std::mem::take(&mut self.is_wanted) {
            self.ask(None, out);
        }
    }

    fn of(&self, response: &str) -> Option<&Response> {
        self.responses.iter().find(|known| known.id == response)
    }

    /// The answer an event belongs to, unless it is void or unknown.
    fn answer(&self, event: &Value) -> Option<AnswerId> {
        self.of(json::text(event, "/response_id")).filter(|response| !response.void).map(|response| response.answer)
    }

    fn cancel_response(id: &str, out: &mut Outbox) {
        out.json(&json!({"type": "response.cancel", "response_id": id}));
    }

    fn created(&mut self, id: &str, out: &mut Outbox) {
        self.asked = self.asked.saturating_sub(1);
        let void = self.asked_void > 0;
        self.asked_void = self.asked_void.saturating_sub(1);
        let answer = if void {
            AnswerId(0)
        } else {
            self.answers += 1;
            AnswerId(self.answers)
        };
        if void {
            Self::cancel_response(id, out);
        }
        self.active = Some(id.to_owned());
        self.responses.push_back(Response { id: id.to_owned(), answer, void });
        if self.responses.len() > REMEMBERED {
            self.responses.pop_front();
        }
    }

    fn done(&mut self, event: &Value, out: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let id = json::text(event, "/response/id");
        if self.active.as_deref().is_none_or(|active| active == id) {
            self.active = None;
        }
        if let Some(usage) = event.pointer("/response/usage").filter(|usage| usage.is_object()) {
            events.push(Answered::Used(Usage {
                input_tokens: json::number(usage, "/input_tokens"),
                cached_tokens: json::number(usage, "/input_token_details/cached_tokens"),
                output_tokens: json::number(usage, "/output_tokens"),
            }));
        }
        if let Some(response) = self.of(id).filter(|response| !response.void) {
            events.push(Answered::AudioEnded { answer: response.answer });
        }
        if json::text(event, "/response/status") == "failed" {
            let error = event.pointer("/response/status_details/error").unwrap_or(&Value::Null);
            return Err(wire::error(self.provider(), error));
        }
        self.settled(out);
        Ok(())
    }

    fn failed(&mut self, event: &Value, out: &mut Outbox) -> Result<(), ProviderError> {
        let error = event.get("error").unwrap_or(&Value::Null);
        let code = json::text(error, "/code");
        if json::text(error, "/event_id").starts_with("create_") {
            self.asked = self.asked.saturating_sub(1);
            self.asked_void = self.asked_void.min(self.asked);
            // Its own turn-taking was quicker.
            self.is_wanted |= code == "conversation_already_has_active_response";
        }
        if HARMLESS.contains(&code) || code.starts_with("item_truncate") {
            self.settled(out);
            return Ok(());
        }
        let found = wire::error(self.provider(), error);
        if self.is_ready && matches!(found, ProviderError::BadRequest { .. } | ProviderError::Failed { .. }) {
            // The session goes on; the answer that was refused is missed by its deadline.
            tracing::warn!(provider = %self.settings.name, code, "realtime_request_refused");
            return Ok(());
        }
        Err(found)
    }
}

impl RealtimeProtocol for Connection {
    fn handshake(&self) -> Handshake {
        let key = self.settings.key.as_ref().map(|key| key.expose().as_str()).unwrap_or_default();
        Handshake {
            url: url(&self.settings.url, "/realtime", &[("model", &self.settings.model)], true),
            headers: vec![("authorization", Pii::new(format!("Bearer {key}")))],
        }
    }

    fn opened(&mut self, out: &mut Outbox) {
        out.json(
            &json!({"type": "session.update", "session": wire::session(&self.settings, &self.request, self.formats)}),
        );
        for item in wire::items(self.request.messages.expose()) {
            out.json(&json!({"type": "conversation.item.create", "item": item}));
        }
    }

    fn audio(&mut self, octets: &[u8], out: &mut Outbox) {
        out.audio_in_json(r#"{"type":"input_audio_buffer.append","audio":""#, octets, r#""}"#);
    }

    fn commit(&mut self, out: &mut Outbox) {
        out.json(&json!({"type": "input_audio_buffer.commit"}));
        self.ask(None, out);
    }

    fn cancel(&mut self, out: &mut Outbox) {
        self.is_wanted = false;
        self.asked_void = self.asked;
        let active = self.active.clone();
        for response in &mut self.responses {
            if active.as_deref() == Some(response.id.as_str()) && !response.void {
                Self::cancel_response(&response.id, out);
            }
            response.void = true;
        }
    }

    fn heard(&mut self, answer: AnswerId, heard: Duration, out: &mut Outbox) {
        let Some((_, item, content)) = self.items.iter().find(|(of, ..)| *of == answer) else { return };
        out.json(&if heard.is_zero() {
            json!({"type": "conversation.item.delete", "item_id": item})
        } else {
            let end = heard.as_millis() as u64;
            json!({"type": "conversation.item.truncate", "item_id": item, "content_index": content, "audio_end_ms": end})
        });
    }

    fn tool_result(&mut self, result: &ToolResult<'_>, go_on: bool, out: &mut Outbox) {
        let item = json!({"type": "function_call_output", "call_id": result.call, "output": result.content});
        out.json(&json!({"type": "conversation.item.create", "item": item}));
        if go_on {
            self.ask(None, out);
        }
    }

    fn update(&mut self, instructions: &str, tools: &[ToolSpec], out: &mut Outbox) -> bool {
        let session = json!({"type": "realtime", "instructions": instructions, "tools": wire::tools(tools)});
        out.json(&json!({"type": "session.update", "session": session}));
        true
    }

    fn tell(&mut self, text: &str, out: &mut Outbox) {
        out.json(&json!({"type": "conversation.item.create", "item": wire::caller(text)}));
        self.ask(None, out);
    }

    fn received(&mut self, frame: Frame, out: &mut Outbox, events: &mut Vec<Answered>) -> Result<(), ProviderError> {
        let Some(event) = json::of_frame(&frame) else {
            return Err(ProviderError::Protocol { provider: self.provider(), reason: "a message is no JSON".into() });
        };
        match json::text(&event, "/type") {
            "session.updated" if !self.is_ready => {
                self.is_ready = true;
                events.push(Answered::Ready);
                match &self.request.opening {
                    Some(opening) => {
                        let words = format!("Say exactly this and nothing else: {opening}");
                        self.ask(Some(json!({"instructions": words, "tool_choice": "none"})), out);
                    }
                    None if self.answer_due => self.ask(None, out),
                    None => {}
                }
            }
            "input_audio_buffer.speech_started" => {
                // It cancels by itself (`interrupt_response`).
                self.responses.iter_mut().for_each(|response| response.void = true);
                self.asked_void = self.asked;
                events.push(Answered::SpeechStarted);
            }
            "input_audio_buffer.speech_stopped" => events.push(Answered::SpeechStopped),
            "conversation.item.input_audio_transcription.completed" => {
                self.order.said(json::text(&event, "/item_id"), json::text(&event, "/transcript"), events);
            }
            "conversation.item.input_audio_transcription.failed" => {
                tracing::info!(provider = %self.settings.name, "realtime_transcription_failed");
                self.order.said(json::text(&event, "/item_id"), "", events);
            }
            "input_audio_buffer.committed" => {
                let item = json::text(&event, "/item_id");
                self.order.place(item, json::text(&event, "/previous_item_id"));
                self.order.turn(item, events);
            }
            // `created` in the interface before general availability.
            "conversation.item.added" | "conversation.item.created" => {
                let item = json::text(&event, "/item/id");
                self.order.place(item, json::text(&event, "/previous_item_id"));
                if json::text(&event, "/item/content/0/type") == "input_audio" {
                    self.order.turn(item, events);
                }
            }
            "response.created" => self.created(json::text(&event, "/response/id"), out),
            "response.output_audio.delta" => {
                let Some(answer) = self.answer(&event) else { return Ok(()) };
                let item = json::text(&event, "/item_id");
                if !self.items.iter().any(|(_, known, _)| known == item) {
                    self.items.retain(|(of, ..)| *of != answer);
                    self.items.push_back((answer, item.to_owned(), json::number(&event, "/content_index")));
                    if self.items.len() > REMEMBERED {
                        self.items.pop_front();
                    }
                }
                let Some(octets) = base64::decoded(json::text(&event, "/delta")) else {
                    let reason = "audio is no base64".to_owned();
                    return Err(ProviderError::Protocol { provider: self.provider(), reason });
                };
                events.push(Answered::Audio { answer, octets });
            }
            "response.output_audio_transcript.delta" => {
                if let Some(answer) = self.answer(&event) {
                    let text = Pii::new(json::text(&event, "/delta").to_owned());
                    events.push(Answered::AgentSaid { answer, text });
                }
            }
            "response.output_item.done" => {
                let Some(answer) = self.answer(&event) else { return Ok(()) };
                let item = event.get("item").unwrap_or(&Value::Null);
                if json::text(item, "/type") == "function_call" && json::text(item, "/status") != "incomplete" {
                    let (id, name) = (json::text(item, "/call_id"), json::text(item, "/name"));
                    let given = item.get("arguments").unwrap_or(&Value::Null);
                    events.push(Answered::Call { answer: Some(answer), call: json::call(id, name, given) });
                }
            }
            "response.done" => return self.done(&event, out, events),
            "error" => return self.failed(&event, out),
            _ => {}
        }
        Ok(())
    }

    fn closed(&self, closed: &Closed) -> ProviderError {
        json::closed(&self.settings.name, closed)
    }
}
