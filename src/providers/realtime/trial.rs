//! What the tests of the vendors' protocols share: settings, a request, what was sent.

use super::{RealtimeRequest, TurnsBy, json};
use crate::base::chat::{Message, ToolCall, ToolSpec};
use crate::base::{Pii, SampleRate};
use crate::providers::Settings;
use crate::providers::catalogue::Offer;
use crate::providers::format::AudioFormat;
use crate::providers::wire::Outbox;
use serde_json::{Value, json};
use std::time::Duration;

/// An account with the vendor of this offer.
pub(super) fn settings<P: ?Sized>(offer: &Offer<P>, options: Value) -> Settings {
    Settings {
        name: offer.vendor.into(),
        key: Some(Pii::new("secret".into())),
        url: offer.url.into(),
        model: offer.model.into(),
        voice: offer.voice.into(),
        language: "de-CH".into(),
        options: options.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect(),
        concurrency: 1,
        connect_timeout: Duration::from_secs(1),
        first_timeout: Duration::from_secs(1),
        stall_timeout: Duration::from_secs(1),
    }
}

/// A tool, and a call in which it has run.
pub(super) fn request(turns: TurnsBy) -> RealtimeRequest {
    let call = ToolCall { id: "c1".into(), name: "slots".into(), arguments: Pii::default(), opaque: None };
    RealtimeRequest {
        tools: vec![ToolSpec {
            name: "slots".into(),
            description: "Free times.".into(),
            parameters: json!({"type": "object"}),
        }],
        messages: Pii::new(vec![
            Message::Caller(Pii::new("When?".into())),
            Message::Agent { text: Pii::default(), calls: vec![call] },
            Message::ToolResult {
                call: "c1".into(),
                tool: "slots".into(),
                content: Pii::new("[]".into()),
                failed: false,
            },
            Message::Agent { text: Pii::new("Never.".into()), calls: Vec::new() },
        ]),
        ..RealtimeRequest::new(SampleRate::NARROWBAND, AudioFormat::MULAW, turns, "Be kind.")
    }
}

/// All that the machine has sent, as JSON.
pub(super) fn sent(out: &mut Outbox) -> Vec<Value> {
    std::iter::from_fn(|| out.next_frame()).map(|frame| json::of_frame(&frame).unwrap_or(Value::Null)).collect()
}
