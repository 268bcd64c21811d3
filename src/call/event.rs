//! What happens in calls, as one stream that the console, the log, `--json` and tests read.

use super::quality::LineQuality;
use crate::base::{CallId, Pii};
use crate::turn::{Stage, TurnRecord};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::sync::broadcast;

/// Events kept for a slow reader before it loses the oldest.
const BACKLOG: usize = 4_096;

/// One happening.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CallEvent {
    /// An extension's registration changed state.
    Registration {
        /// Its name in the configuration.
        extension: String,
        /// `registering`, `registered`, `failed`, `unregistered`.
        state: &'static str,
        /// Why, where that helps.
        detail: String,
    },
    /// A call was refused before it was answered.
    CallRefused {
        /// Which.
        call: CallId,
        /// SIP status sent.
        code: u16,
        /// Why.
        reason: String,
    },
    /// A call is up.
    CallStarted {
        /// Which.
        call: CallId,
        /// `inbound` or `outbound`.
        direction: &'static str,
        /// The extension or trunk it belongs to.
        peer: String,
        /// The agent that talks.
        agent: String,
        /// The codec of the leg.
        codec: String,
        /// INVITE received → 200 sent (inbound).
        setup: Duration,
    },
    /// Words so far of a caller who still speaks.
    CallerPartial {
        /// Which call.
        call: CallId,
        /// The words.
        text: Pii<String>,
    },
    /// A turn of the caller.
    CallerSaid {
        /// Which call.
        call: CallId,
        /// The words.
        text: Pii<String>,
        /// 0.0–1.0.
        confidence: f32,
    },
    /// The agent starts to say something.
    AgentSays {
        /// Which call.
        call: CallId,
        /// The words.
        text: Pii<String>,
    },
    /// The agent has said it, or was cut off.
    AgentSaid {
        /// Which call.
        call: CallId,
        /// The words that were heard.
        heard: Pii<String>,
        /// False when it was cut off.
        complete: bool,
    },
    /// The caller spoke over the agent, and the agent fell silent.
    BargeIn {
        /// Which call.
        call: CallId,
        /// The caller's first voiced frame → our last voiced packet.
        stopped_after: Duration,
    },
    /// What held the agent was no turn; it went on.
    FalseBargeIn {
        /// Which call.
        call: CallId,
    },
    /// A key was pressed.
    Digit {
        /// Which call.
        call: CallId,
        /// The key.
        key: Pii<char>,
    },
    /// The flow moved on.
    NodeEntered {
        /// Which call.
        call: CallId,
        /// The node.
        node: String,
    },
    /// A slot was filled or corrected.
    SlotFilled {
        /// Which call.
        call: CallId,
        /// The variable.
        slot: String,
        /// Its value.
        value: Pii<String>,
        /// True when it replaced a value the caller called wrong.
        corrected: bool,
    },
    /// A failure met its defined response.
    FailureHandled {
        /// Which call.
        call: CallId,
        /// Its kind.
        kind: String,
        /// Where in the flow.
        node: String,
    },
    /// A tool was run.
    ToolFinished {
        /// Which call.
        call: CallId,
        /// The tool.
        tool: String,
        /// `ok`, or the kind of failure.
        outcome: String,
        /// How long it took.
        took: Duration,
    },
    /// The latency of one answered turn.
    TurnLatency {
        /// Which call.
        call: CallId,
        /// Stage by stage.
        record: TurnRecord,
    },
    /// Before a call of ours is answered.
    CallProgress {
        /// Which.
        call: CallId,
        /// The provisional status: 180 rings, 183 is in progress.
        code: u16,
        /// The callee's side lets us hear something.
        early_media: bool,
    },
    /// A call of ours was not taken.
    CallUnanswered {
        /// Which.
        call: CallId,
        /// Why, in words.
        reason: String,
    },
    /// Another call took the place of one of this call's legs.
    LegReplaced {
        /// Which call.
        call: CallId,
        /// `refer` when the peer asked us to call, `replaces` when the new call came in (RFC 3891).
        by: &'static str,
    },
    /// A transfer began.
    TransferStarted {
        /// Which call.
        call: CallId,
        /// The destination's id.
        destination: String,
    },
    /// A transfer got on: the status that the peer, or the target of our own call, last said.
    TransferProgress {
        /// Which call.
        call: CallId,
        /// The destination's id.
        destination: String,
        /// 100 trying, 180 ringing, 183 early media, 200 answered.
        code: u16,
    },
    /// The peer asked us to call somebody else, in vain.
    TransferRefused {
        /// Which call.
        call: CallId,
        /// Why.
        reason: String,
    },
    /// A transfer ended.
    TransferFinished {
        /// Which call.
        call: CallId,
        /// The destination's id.
        destination: String,
        /// True when the target took the call.
        accepted: bool,
        /// Status and reason.
        reason: String,
    },
    /// A bot outside was reached, was lost, or has something to say about itself.
    Bot {
        /// Which call.
        call: CallId,
        /// `connected`, `reconnected`, `not_reached`, `lost`, `done`, `fallback`, `complaint`.
        state: &'static str,
        /// Why, where that helps.
        detail: String,
    },
    /// An engine was busy or failed.
    EngineTrouble {
        /// Which call.
        call: CallId,
        /// `speech_to_text`, `text_to_speech`, `intents`, `voice`.
        stage: &'static str,
        /// What it said.
        detail: String,
    },
    /// A call moved to another provider of a stage because the one before failed, or to a fresh connection of the same.
    ProviderChanged {
        /// Which call.
        call: CallId,
        /// `speech_to_text`, `speech_to_speech`.
        stage: &'static str,
        /// The provider that failed.
        from: String,
        /// The provider in use.
        to: String,
    },
    /// How a leg sounds: every ten seconds, and when the call ends.
    MediaQuality {
        /// Which call.
        call: CallId,
        /// `near` is the caller's, `far` the one that the call was handed to.
        leg: &'static str,
        /// What was measured.
        quality: Box<LineQuality>,
    },
    /// A call is over.
    CallEnded {
        /// Which.
        call: CallId,
        /// Why.
        reason: String,
        /// Whether the agent says that the caller's task was done.
        completed: bool,
        /// From answer to end.
        duration: Duration,
        /// Packets and frames of the media leg, by name.
        media: Vec<(&'static str, u64)>,
    },
}

impl CallEvent {
    /// The event as one JSON object with its name under `event`. **Exposes** transcripts and keys: for the
    /// operator's own screen or file, not for the log.
    #[must_use]
    pub fn to_exposed_json(&self) -> Value {
        let ms = |d: &Duration| json!((d.as_secs_f64() * 10_000.0).round() / 10.0);
        let (name, call, fields) = match self {
            Self::Registration { extension, state, detail } => {
                ("registration", None, json!({"extension": extension, "state": state, "detail": detail}))
            }
            Self::CallRefused { call, code, reason } => {
                ("call_refused", Some(call), json!({"code": code, "reason": reason}))
            }
            Self::CallStarted { call, direction, peer, agent, codec, setup } => (
                "call_started",
                Some(call),
                json!({"direction": direction, "peer": peer, "agent": agent, "codec": codec, "setup_ms": ms(setup)}),
            ),
            Self::CallerPartial { call, text } => ("caller_partial", Some(call), json!({"text": text.expose()})),
            Self::CallerSaid { call, text, confidence } => (
                "caller_said",
                Some(call),
                json!({"text": text.expose(), "confidence": (f64::from(*confidence) * 100.0).round() / 100.0}),
            ),
            Self::AgentSays { call, text } => ("agent_says", Some(call), json!({"text": text.expose()})),
            Self::AgentSaid { call, heard, complete } => {
                ("agent_said", Some(call), json!({"heard": heard.expose(), "complete": complete}))
            }
            Self::BargeIn { call, stopped_after } => {
                ("barge_in", Some(call), json!({"stopped_after_ms": ms(stopped_after)}))
            }
            Self::FalseBargeIn { call } => ("false_barge_in", Some(call), json!({})),
            Self::Digit { call, key } => ("digit", Some(call), json!({"key": key.expose().to_string()})),
            Self::NodeEntered { call, node } => ("node_entered", Some(call), json!({"node": node})),
            Self::SlotFilled { call, slot, value, corrected } => {
                ("slot_filled", Some(call), json!({"slot": slot, "value": value.expose(), "corrected": corrected}))
            }
            Self::FailureHandled { call, kind, node } => {
                ("failure_handled", Some(call), json!({"kind": kind, "node": node}))
            }
            Self::ToolFinished { call, tool, outcome, took } => {
                ("tool_finished", Some(call), json!({"tool": tool, "outcome": outcome, "took_ms": ms(took)}))
            }
            Self::TurnLatency { call, record } => {
                let stages: Map<String, Value> = record
                    .stages
                    .iter()
                    .filter(|(stage, _)| *stage != Stage::CallerSilent)
                    .map(|(stage, at)| (stage.name().to_owned(), ms(at)))
                    .collect();
                ("turn_latency", Some(call), json!({"turn": record.turn.0, "ms_after_caller_silent": stages}))
            }
            Self::CallProgress { call, code, early_media } => {
                ("call_progress", Some(call), json!({"code": code, "early_media": early_media}))
            }
            Self::CallUnanswered { call, reason } => ("call_unanswered", Some(call), json!({"reason": reason})),
            Self::LegReplaced { call, by } => ("leg_replaced", Some(call), json!({"by": by})),
            Self::TransferStarted { call, destination } => {
                ("transfer_started", Some(call), json!({"destination": destination}))
            }
            Self::TransferProgress { call, destination, code } => {
                ("transfer_progress", Some(call), json!({"destination": destination, "code": code}))
            }
            Self::TransferRefused { call, reason } => ("transfer_refused", Some(call), json!({"reason": reason})),
            Self::TransferFinished { call, destination, accepted, reason } => (
                "transfer_finished",
                Some(call),
                json!({"destination": destination, "accepted": accepted, "reason": reason}),
            ),
            Self::Bot { call, state, detail } => ("bot", Some(call), json!({"state": state, "detail": detail})),
            Self::EngineTrouble { call, stage, detail } => {
                ("engine_trouble", Some(call), json!({"stage": stage, "detail": detail}))
            }
            Self::ProviderChanged { call, stage, from, to } => {
                ("provider_changed", Some(call), json!({"stage": stage, "from": from, "to": to}))
            }
            Self::MediaQuality { call, leg, quality } => {
                let mut fields = quality.to_json();
                fields["leg"] = json!(leg);
                ("media_quality", Some(call), fields)
            }
            Self::CallEnded { call, reason, completed, duration, media } => {
                let media: Map<String, Value> = media.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
                (
                    "call_ended",
                    Some(call),
                    json!({"reason": reason, "completed": completed, "duration_ms": ms(duration), "media": media}),
                )
            }
        };
        let mut object = Map::new();
        object.insert("event".into(), json!(name));
        if let Some(call) = call {
            object.insert("call".into(), json!(call.to_string()));
        }
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        Value::Object(object)
    }
}

/// The stream of all calls' events. Cloning it is cheap; sending never waits.
#[derive(Clone, Debug)]
pub struct EventStream(broadcast::Sender<CallEvent>);

impl Default for EventStream {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl EventStream {
    /// Tells every subscriber.
    pub fn send(&self, event: CallEvent) {
        // No subscriber is no error: a server without a console still works.
        let _ = self.0.send(event);
    }

    /// Every event from here on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<CallEvent> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SrtpSuite, TurnId};
    use crate::media::LegStats;
    use crate::sdp::Codec;

    #[test]
    fn debug_of_an_event_hides_what_was_said_and_json_shows_it() {
        let event =
            CallEvent::CallerSaid { call: CallId(7), text: Pii::new("my number is 555".into()), confidence: 0.87 };
        assert!(!format!("{event:?}").contains("555"));
        assert_eq!(
            event.to_exposed_json(),
            json!({"event": "caller_said", "call": "call-000007", "text": "my number is 555", "confidence": 0.87})
        );
    }

    #[test]
    fn the_quality_of_a_leg_is_told_with_codec_and_suite() {
        let stats =
            LegStats { received: 90, lost: 10, mos: 4.1, jitter: Duration::from_micros(3_200), ..LegStats::default() };
        let suite = Some(SrtpSuite::AeadAes256Gcm);
        let quality = LineQuality { codec: Some(Codec::Opus), suite, stats };
        let json =
            CallEvent::MediaQuality { call: CallId(1), leg: "near", quality: Box::new(quality) }.to_exposed_json();
        assert_eq!((&json["codec"], &json["srtp"]), (&json!("opus"), &json!("AEAD_AES_256_GCM")));
        assert_eq!((&json["loss"], &json["mos"], &json["jitter_ms"]), (&json!(0.1), &json!(4.1), &json!(3.2)));
    }

    #[test]
    fn a_latency_record_becomes_milliseconds_by_stage() {
        let record = TurnRecord {
            turn: TurnId(3),
            stages: vec![(Stage::CallerSilent, Duration::ZERO), (Stage::FirstPacket, Duration::from_micros(412_340))],
        };
        let json = CallEvent::TurnLatency { call: CallId(1), record }.to_exposed_json();
        assert_eq!(json["ms_after_caller_silent"], json!({"first_packet": 412.3}));
    }
}
