//! The only place where an effect of an agent is executed: limits, audit and replay live here.

use super::CallEvent;
use super::classify::classify;
use super::session::Session;
use crate::agent::destination::Target;
use crate::agent::{Effect, Input, Note, RequestId, ToolFailure};
use crate::base::Pii;
use crate::sip::{Refer, Uri};
use crate::tools::ToolRequest;
use crate::turn::{Stage, TurnInput};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;

/// Longest context sent with a transfer: a REFER has to fit into one datagram (RFC 3261 §18.1.1).
const CONTEXT_BYTES: usize = 400;

impl Session {
    /// Does what the agent wants done.
    pub(super) fn execute(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::Speak { utterance, text, interruptible } => {
                self.ledger.mark(Stage::FirstToken, now);
                self.events.send(CallEvent::AgentSays { call: self.call, text: Pii::new(text.clone()) });
                self.playout.speak(utterance, text, interruptible);
                self.announce_playout(now);
            }
            Effect::Listen(listen) => {
                match &listen.digits {
                    Some(digits) => self.digits.arm(digits.max, digits.terminator, digits.between_keys),
                    None => self.digits.disarm(),
                }
                self.turn.handle(now, TurnInput::Listen { expect: listen.expect, no_input: listen.no_input });
            }
            Effect::Classify { request, text, labels } => {
                let (embedder, answers) = (Arc::clone(&self.engines.embedder), self.answers.clone());
                let exemplars = Arc::clone(&self.engines.exemplars);
                tokio::spawn(async move {
                    let ranking = classify(embedder.as_ref(), &exemplars, text.into_exposed(), labels).await;
                    // The call may be over by then.
                    let _ = answers.send(Input::Classified { request, ranking });
                });
            }
            Effect::CallTool { request, tool, arguments, idempotency_key, confirmed } => {
                self.call_tool(now, request, ToolRequest { tool, arguments, idempotency_key, confirmed });
            }
            Effect::Transfer { request, destination, context } => self.transfer(now, request, destination, &context),
            Effect::Hangup { reason, completed } => self.hangup = Some((reason, completed)),
            Effect::Note(note) => self.events.send(self.note(note)),
        }
    }

    fn call_tool(&mut self, now: Instant, request: RequestId, wanted: ToolRequest) {
        let tool = wanted.tool.clone();
        match self.gate.admit(wanted) {
            Ok(admitted) => {
                let (tools, answers) = (Arc::clone(&self.setup.tools), self.answers.clone());
                let (events, call) = (self.events.clone(), self.call);
                let spent = self.tool_time.clone();
                tokio::spawn(async move {
                    let outcome = tools.run(admitted).await;
                    let verdict =
                        outcome.result.as_ref().map_or_else(|failure| failure.kind.clone(), |_| "ok".to_owned());
                    events.send(CallEvent::ToolFinished { call, tool, outcome: verdict, took: outcome.took });
                    let _ = spent.send(outcome.took);
                    let _ = answers.send(Input::ToolFinished { request, outcome: outcome.result });
                });
            }
            Err(denied) => {
                let failure = ToolFailure::from(denied);
                let event = CallEvent::ToolFinished {
                    call: self.call,
                    tool,
                    outcome: failure.kind.clone(),
                    took: std::time::Duration::ZERO,
                };
                self.events.send(event);
                self.conversation.handle(now, Input::ToolFinished { request, outcome: Err(failure) });
            }
        }
    }

    fn transfer(&mut self, now: Instant, request: RequestId, destination: String, context: &Pii<Map<String, Value>>) {
        let target = self.setup.agent.destinations.iter().find(|d| d.id == destination).and_then(|d| match &d.target {
            Target::Extension(number) if self.terms.refer_as_tel => Uri::parse(format!("tel:{number}")).ok(),
            Target::Extension(number) => Some(self.transfer_base.with_user(number)),
            Target::Uri(uri) => Uri::parse(uri.as_str()).ok(),
        });
        let Some(target) = target else {
            let reason = format!("the agent file has no usable destination {destination}");
            self.conversation.handle(now, Input::TransferFinished { request, accepted: false, reason });
            return;
        };
        let mut refer = Refer::blind(target);
        let header = self.terms.context_header.iter();
        refer.headers = header.map(|name| (name.clone(), context_value(name, context.expose()))).collect();
        self.transfer = Some((request, destination));
        self.pending_refer = Some(refer);
    }

    /// Sends the REFER once everything said before it has been heard.
    pub(super) fn refer_when_silent(&mut self) {
        if !self.playout.is_empty() {
            return;
        }
        let Some(refer) = self.pending_refer.take() else { return };
        let (leg, answers) = (self.line.leg, self.answers.clone());
        let request = self.transfer.as_ref().map(|(request, _)| *request);
        self.line.sip.post(move |endpoint, now| {
            if let (Err(error), Some(request)) = (endpoint.refer(now, leg, refer), request) {
                let _ = answers.send(Input::TransferFinished { request, accepted: false, reason: error.to_string() });
            }
        });
    }

    fn note(&self, note: Note) -> CallEvent {
        let call = self.call;
        match note {
            Note::NodeEntered { node } => CallEvent::NodeEntered { call, node },
            Note::SlotFilled { slot, value, corrected } => CallEvent::SlotFilled { call, slot, value, corrected },
            Note::FailureHandled { kind, node } => CallEvent::FailureHandled { call, kind: kind.to_owned(), node },
        }
    }
}

/// The context as one header value: `name=value;…`, percent-encoded, cut at a whole pair; in User-to-User as
/// hexadecimal digits (RFC 7433 §4.1).
fn context_value(header: &str, context: &Map<String, Value>) -> String {
    let pairs = context_pairs(context);
    if !header.eq_ignore_ascii_case("User-to-User") {
        return pairs;
    }
    let digits: String = pairs.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{digits};encoding=hex")
}

fn context_pairs(context: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (name, value) in context {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let pair = format!("{}={}", percent(name), percent(&text));
        if out.len() + pair.len() + 1 > CONTEXT_BYTES {
            break;
        }
        if !out.is_empty() {
            out.push(';');
        }
        out.push_str(&pair);
    }
    out
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~:".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn transfer_context_is_one_safe_header_value_of_bounded_length() {
        let context = json!({"reason": "wants a human\r\nX-Evil: 1", "name": "Anna Berg", "note": "x".repeat(2_000)});
        let context = context.as_object().unwrap();
        let value = context_value("X-Context", context);
        assert_eq!(value, "reason=wants%20a%20human%0D%0AX-Evil:%201;name=Anna%20Berg");
        let value = context_value("User-to-User", json!({"a": "b"}).as_object().unwrap());
        assert_eq!(value, "613d62;encoding=hex");
    }
}
